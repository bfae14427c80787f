"""Agreement of direct and reasoned answers, and flips, counted by hand."""

from collections.abc import Callable

import pytest

from chainsight.analysis.agreement import agreements, flips
from chainsight.analysis.differences import by_model
from chainsight.records import Prediction

Answers = Callable[..., list[Prediction]]


def said(model: str, mode: str, answers: list[tuple[str, float]]) -> list[Prediction]:
    return [
        Prediction(model, f"bars/{n}", mode, "?", text, text, "marker", score, 3)
        for n, (text, score) in enumerate(answers)
    ]


def test_every_question_is_in_one_cell() -> None:
    direct = [("7", 1), ("7", 1), ("3", 0), ("4 bars", 0), ("4", 0), ("", 0)]
    reasoned = [("7", 1), ("3", 0), ("7", 1), ("4  Bars", 0), ("5", 0), ("", 0)]
    (found,) = agreements(by_model([*said("a", "direct", direct), *said("a", "cot", reasoned)]))
    assert (found.both, found.only_direct, found.only_reasoned) == (1, 1, 1)
    assert (found.same_wrong, found.other_wrong, found.neither) == (1, 2, 3)
    assert found.num_questions == 6
    assert found.gain.value == pytest.approx(0)
    assert found.p_value == 1


def test_reasoned_less_direct_is_tested_on_the_questions_that_differ(answers: Answers) -> None:
    rows = [*answers("a", "direct", [0.0] * 9 + [1.0]), *answers("a", "cot", [1.0] * 9 + [0.0])]
    (found,) = agreements(by_model(rows))
    assert found.gain.value == pytest.approx(0.8)
    assert found.p_value == pytest.approx(2 * 11 / 2**10)


def test_a_model_asked_in_one_mode_has_no_agreement(answers: Answers) -> None:
    assert agreements(by_model(answers("a", "cot", [1.0]))) == []


def test_flips_are_listed_won_and_lost(answers: Answers) -> None:
    rows = [
        *answers("policy", "cot", [1.0, 0.0, 1.0, 0.0, 0.0]),
        *answers("aligned", "cot", [1.0, 1.0, 0.0, 0.0, 0.7]),
    ]
    (found,) = flips(by_model(rows))
    assert (found.both_right, found.both_wrong) == (1, 1)
    assert found.won == ("bars/1", "bars/4")
    assert found.lost == ("bars/2",)
