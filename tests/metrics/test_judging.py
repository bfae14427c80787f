from dataclasses import replace

import pytest

from chainsight.errors import RecordError
from chainsight.metrics.judging import is_correct, lenient, score
from chainsight.records import Example

CHART = Example("c-1", "chartqa", "train", "When?", ("2016",), "relaxed_accuracy", (b"",))
VISTA = replace(
    CHART,
    metric="mathvista",
    references=("3/5",),
    choices=("3/11", "3/5"),
    metric_params={"question_type": "multi_choice", "answer_type": "text", "precision": ""},
)


def test_a_reward_decides_what_is_learned_and_the_metric_what_is_published() -> None:
    strict = replace(CHART, reward="relaxed_accuracy_exact_years")
    assert score(strict, "2015") == score(CHART, "2015") == 1.0
    assert is_correct(CHART, "2015")
    assert not is_correct(strict, "2015")
    assert is_correct(strict, "2016")


def test_the_lenient_score_decides_nothing() -> None:
    assert lenient(CHART, "The answer is 2016") == 1.0
    assert score(CHART, "The answer is 2016") == 0.0
    assert not is_correct(CHART, "The answer is 2016")


def test_the_rows_own_parameters_reach_its_metric_but_not_its_reward() -> None:
    assert score(VISTA, "B") == 1.0
    assert is_correct(replace(VISTA, reward="normalized_match"), "3/5")


def test_an_answer_that_was_not_given_is_wrong_even_where_a_definition_takes_the_nearest() -> None:
    assert score(VISTA, " ") == lenient(VISTA, "") == 0.0
    assert not is_correct(VISTA, "")
    assert score(replace(CHART, references=("",)), "") == 1.0


def test_an_unknown_metric_or_a_reference_that_fits_none_names_the_example() -> None:
    with pytest.raises(RecordError, match="c-1: no metric 'bleu'; there are anls"):
        score(replace(CHART, metric="bleu"), "5")
    with pytest.raises(RecordError, match="c-1: multiple_choice: the question has no choices"):
        score(replace(CHART, metric="multiple_choice"), "5")
