"""Gains with intervals, on both sides of what is significant."""

import pytest

from chainsight.records import Score
from chainsight.report.changes import Change, change, changes, interval

ONE = {str(n): "a" for n in range(100)}


def scored(*right: int) -> dict[str, float]:
    return {str(n): float(n in right) for n in range(100)}


def compared(ours: dict[str, float], theirs: dict[str, float]) -> Change:
    found = change(("new", "old"), "cot", ours, theirs, ONE)
    assert found is not None
    return found


def test_a_gain_of_all_that_differ_is_significant() -> None:
    found = compared(scored(*range(20)), scored())
    assert (found.gain, found.num_won, found.num_lost, found.num_examples) == (0.2, 20, 0, 100)
    assert 0 < found.low < 0.2 < found.high
    assert found.p_value == pytest.approx(2 * 0.5**20)
    assert found.words == "gain"


def test_the_same_the_other_way_round_is_a_loss() -> None:
    found = compared(scored(), scored(*range(20)))
    assert (found.gain, found.words) == (-0.2, "loss")
    assert found.p_value == pytest.approx(2 * 0.5**20)


def test_the_same_answers_are_no_gain() -> None:
    found = compared(scored(1, 2), scored(1, 2))
    assert (found.gain, found.low, found.high, found.p_value) == (0, 0, 0, 1)
    assert found.words == "not significant"


@pytest.mark.parametrize(("won", "words"), [(5, "not significant"), (6, "gain")])
def test_interval_and_test_must_agree(won: int, words: str) -> None:
    """Five won and none lost: the bootstrap is clear of zero, McNemar's p is 0.0625."""
    found = compared(scored(*range(won)), scored())
    assert found.low > 0
    assert found.words == words


def test_only_what_both_answered_is_compared() -> None:
    found = change(("new", "old"), "cot", {"1": 1.0, "2": 1.0}, {"2": 0.0, "3": 1.0}, ONE)
    assert found is not None
    assert (found.num_examples, found.gain) == (1, 1)
    assert change(("new", "old"), "cot", {"1": 1.0}, {"2": 1.0}, ONE) is None


def test_a_mode_that_a_model_was_not_asked_in_is_left_out() -> None:
    known = {("new", "cot"): scored(1), ("old", "cot"): scored(), ("new", "direct"): scored(1)}
    found = changes(known, [("new", "old")], ("direct", "cot"), ONE)
    assert [one.mode for one in found] == ["cot"]


def score(value: float, count: int, error: float) -> Score:
    return Score("m", "a", "cot", "exact_match", value, count, error, {})


@pytest.mark.parametrize(
    ("value", "error", "low", "high"),
    [(0.0, 0.0, 0.0, 0.0370), (1.0, 0.0, 0.9630, 1.0), (0.5, 0.05, 0.4038, 0.5962)],
)
def test_wilsons_interval(value: float, error: float, low: float, high: float) -> None:
    """Against the published formula at 0, 50 and 100 of 100."""
    assert interval(score(value, 100, error)) == pytest.approx((low, high), abs=1e-4)
