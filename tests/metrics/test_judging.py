from dataclasses import replace

import pytest

from chainsight.errors import RecordError
from chainsight.metrics.judging import is_correct, lenient, score, vote
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


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        ("14", "14"),
        ("14.0", "14"),
        ("1,400", "1400"),
        ("1/2", "0.5"),
        ("14 %", "14 %"),  # no number: a percentage is no count
        ("The Cat.", "cat"),
        ("3/5", "0.6"),
        ("  ", ""),
    ],
)
def test_answers_vote_by_value_or_words(said: str, counted: str) -> None:
    assert vote(CHART, said) == counted


def test_an_option_votes_by_its_letter_however_it_is_named() -> None:
    assert {vote(VISTA, said) for said in ("B", "(b)", "3/5", "B. 3/5")} == {"B"}
    assert vote(VISTA, "0.7") == "0.7"  # names no option: a vote of its own


def test_what_relaxed_accuracy_takes_for_right_are_still_two_answers() -> None:
    assert score(CHART, "2015") == score(CHART, "2016") == 1.0
    assert vote(CHART, "2015") != vote(CHART, "2016")
