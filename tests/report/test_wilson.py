"""Intervals of accuracies."""

import pytest

from chainsight.records import Score
from chainsight.report.wilson import interval


def score(value: float, count: int, error: float) -> Score:
    return Score("m", "a", "cot", "exact_match", value, count, error, {})


@pytest.mark.parametrize(
    ("value", "error", "low", "high"),
    [(0.0, 0.0, 0.0, 0.0370), (1.0, 0.0, 0.9630, 1.0), (0.5, 0.05, 0.4038, 0.5962)],
)
def test_wilsons_interval(value: float, error: float, low: float, high: float) -> None:
    """Against the published formula at 0, 50 and 100 of 100."""
    assert interval(score(value, 100, error)) == pytest.approx((low, high), abs=1e-4)
