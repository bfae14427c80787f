"""Calibration against definitions, and against the chances that answers were drawn with."""

import math
from dataclasses import replace

import numpy as np
import pytest

from chainsight.analysis.calibration import (
    AGREEMENT,
    SIGNALS,
    Judged,
    calibration,
    calibrations,
    judged,
    logistic_fit,
    majorities,
    reliability,
)
from chainsight.records import Verified


def verified(question: int, index: int, reward: float, right: bool, vote: str = "") -> Verified:
    vote = vote or ("7" if right else f"{index}")
    return Verified(
        f"bars/{question}", index, "", vote, "marker", float(right), 4, reward, 0.0, (), (), vote
    )


def drawn(num_questions: int, slope: float, seed: int = 0) -> Judged:
    """Eight answers a question; the chance to be right is sigmoid(slope * value)."""
    random = np.random.default_rng(seed)
    value = random.normal(0, 1, 8 * num_questions)
    right = random.random(len(value)) < 1 / (1 + np.exp(-slope * value))
    return Judged(np.repeat(np.arange(num_questions), 8), value, right)


def test_areas_are_what_their_definitions_say() -> None:
    """Pair by pair, and threshold by threshold, as scikit-learn has them (compared once)."""
    found = drawn(40, 1.0)
    found = replace(found, value_n=np.round(found.value_n, 1))  # with ties
    made = calibration("reward", found)
    right, wrong = found.value_n[found.right_n], found.value_n[~found.right_n]
    won = np.mean([np.sign(one - wrong) / 2 + 0.5 for one in right])
    assert made.auroc.value == pytest.approx(won)
    precision = np.mean([found.right_n[found.value_n >= one].mean() for one in right])
    assert made.auprc.value == pytest.approx(precision)
    assert made.auroc.low < made.auroc.value < made.auroc.high
    assert made.base_rate == found.right_n.mean()


def test_areas_by_hand() -> None:
    """Right at 3 and 1, wrong at 2 and 1: of four pairs 2 won, 1 tied; precisions 1 and 2/4."""
    numbers, right = np.array([0, 0, 1, 1]), np.array([True, False, True, False])
    made = calibration("reward", Judged(numbers, np.array([3.0, 2.0, 1.0, 1.0]), right))
    assert made.auroc.value == pytest.approx(2.5 / 4)
    assert made.auprc.value == pytest.approx((1 + 2 / 4) / 2)
    assert made.within is not None
    assert made.within.value == pytest.approx((1 + 0.5) / 2)
    assert made.num_mixed == 2


def test_easy_questions_alone_rank_nothing_within_a_question() -> None:
    """A signal that knows only which question is easy: high over all, chance within."""
    random = np.random.default_rng(0)
    ease = random.normal(0, 2, 60)
    number = np.repeat(np.arange(60), 8)
    right = random.random(480) < 1 / (1 + np.exp(-ease[number]))
    made = calibration("reward", Judged(number, ease[number], right))
    assert made.auroc.low > 0.7
    assert made.within is not None
    assert made.within.value == 0.5


def test_answers_to_one_question_are_resampled_together() -> None:
    """Eight copies of each answer tell no more than one."""
    single = drawn(10, 1.0)
    number, value, right = single.question_n[::8], single.value_n[::8], single.right_n[::8]
    one = calibration("reward", Judged(number, value, right))
    copied = Judged(np.repeat(number, 8), np.repeat(value, 8), np.repeat(right, 8))
    assert calibration("reward", copied).auroc == one.auroc


def test_the_fit_finds_the_chances_that_answers_were_drawn_with() -> None:
    found = drawn(2000, 1.5)
    chance = logistic_fit(found.value_n, found.right_n)
    for value in (-2.0, 0.0, 1.0):
        expected = 1 / (1 + math.exp(-1.5 * value))
        assert float(chance(np.array([value]))[0]) == pytest.approx(expected, abs=0.03)


def test_a_signal_that_separates_all_has_a_finite_fit() -> None:
    chance = logistic_fit(np.array([-1.0, -2.0, 1.0, 2.0]), np.array([False, False, True, True]))
    assert chance(np.array([2.0]))[0] > 0.95


def test_exact_chances_have_the_error_of_chance_and_others_more() -> None:
    """The fit is linear: chances that fall again beyond a value cannot be met."""
    made = reliability(drawn(200, 1.5))
    assert sum(one.count for one in made.bins) == 800
    assert len(made.bins) == 8
    assert made.error < 2 * made.chance_error
    assert all(one.right.low - 0.05 < one.predicted < one.right.high + 0.05 for one in made.bins)
    number = np.repeat(np.arange(200), 8)
    value = np.linspace(-3, 3, 1600)[np.random.default_rng(0).permutation(1600)]
    bent = reliability(Judged(number, value, np.abs(value) < 1))
    assert bent.error > 4 * bent.chance_error


def test_what_is_fitted_is_not_what_is_shown() -> None:
    found = drawn(20, 1.0)
    shown = sum(one.count for one in reliability(found).bins)
    assert shown == 80


def test_samples_without_an_answer_and_the_greedy_one_do_not_count() -> None:
    question = [
        verified(0, -1, 9.0, True),
        verified(0, 0, 1.0, True),
        verified(0, 1, 2.0, False),
        replace(verified(0, 2, 3.0, False), vote=""),
    ]
    found = judged([question], SIGNALS["reward"])
    assert found.value_n.tolist() == [1.0, 2.0]
    assert found.right_n.tolist() == [True, False]


def test_agreement_is_the_share_of_the_most_frequent_answer() -> None:
    votes = [("7", True), ("3", False), ("7", True), ("4", False)]
    question = [verified(0, k, 0.0, right, vote) for k, (vote, right) in enumerate(votes)]
    found = majorities([question, [replace(one, vote="") for one in question]])
    assert (found.value_n.tolist(), found.right_n.tolist()) == ([0.5], [True])


def test_every_signal_is_measured_where_answers_differ() -> None:
    random = np.random.default_rng(0)
    questions = [
        [verified(q, k, random.normal(), bool(random.random() < 0.5)) for k in range(4)]
        for q in range(20)
    ]
    assert [one.signal for one in calibrations(questions)] == [*SIGNALS, AGREEMENT]
    assert calibrations([[verified(0, 0, 1.0, True)]]) == []
    assert calibrations([]) == []
