"""Intervals against known effects, Student's table and the gate's bootstrap."""

import math

import numpy as np
import pytest

from chainsight import paired
from chainsight.analysis.intervals import Array, accuracy, interval, t_quantile, wilson

TRUTH = 0.05


def differences(
    random: np.random.Generator, seeds: int, questions: int, of_seeds: float, of_questions: float
) -> Array:
    """-1, 0 or 1, their expectation exactly `TRUTH` plus a seed's and a question's effect."""
    mean = TRUTH + random.normal(0, of_seeds, seeds)[:, None]
    mean = mean + random.uniform(-1, 1, questions) * of_questions * math.sqrt(3)
    won = random.random((seeds, questions))
    return np.where(won < 0.3 + mean / 2, 1.0, np.where(won > 0.7 + mean / 2, -1.0, 0.0))


@pytest.mark.parametrize(
    ("seeds", "of_seeds", "of_questions"),
    [(5, 0.0, 0.0), (5, 0.06, 0.0), (5, 0.0, 0.25), (5, 0.04, 0.2), (3, 0.04, 0.2), (1, 0.0, 0.2)],
)
def test_the_interval_covers_the_truth_as_often_as_it_says(
    seeds: int, of_seeds: float, of_questions: float
) -> None:
    """Of 200 studies 190 should; 181 to 199 are 3 standard errors about it."""
    random = np.random.default_rng(7)
    found = [
        interval([differences(random, seeds, 100, of_seeds, of_questions)], resamples=300)
        for _ in range(200)
    ]
    covered = sum(one.low <= TRUTH <= one.high for one in found)
    assert 181 <= covered <= 199
    assert sum(one.low > TRUTH for one in found) <= 0.025 * 200 + 7


def test_few_seeds_that_differ_widen_the_interval() -> None:
    """Seeds' means -0.3, 0 and 0.3 on 100 questions each: a plain bootstrap ends at +-0.3 at most,
    Student's t at 4.3 standard errors of 0.173."""
    group = np.repeat([[-0.3], [0.0], [0.3]], 100, axis=1)
    found = interval([group])
    assert found.value == pytest.approx(0.0)
    assert found.high == pytest.approx(4.303 * math.sqrt(0.03), rel=0.15)


def test_one_seed_is_the_paired_bootstrap_over_questions() -> None:
    random = np.random.default_rng(0)
    groups = [random.choice([-1.0, 0.0, 1.0], (1, n), p=[0.1, 0.7, 0.2]) for n in (300, 150)]
    found = interval(groups)
    means = [
        paired.resampled_means(group[0].tolist(), seed=str(n)) for n, group in enumerate(groups)
    ]
    low, high = paired.bounds(means, 0.975)
    assert found.value == pytest.approx(
        paired.mean_of_means([group[0].tolist() for group in groups])
    )
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.006)


def test_benchmarks_weigh_alike_whatever_their_size() -> None:
    won, lost = np.ones((2, 10)), -np.ones((2, 1000))
    assert interval([won, lost]).value == 0


def test_equal_answers_to_few_questions_are_no_certainty() -> None:
    """Rule of three: of 40 questions without a difference up to 7.5 % may differ."""
    few, many = interval([np.zeros((1, 40))]), interval([np.zeros((1, 4000))])
    assert few.value == 0
    assert 0.02 < few.high < 0.075
    assert many.high < 0.001
    assert interval([np.ones((3, 5))]).low < 0.9


def test_soft_scores_of_many_questions_are_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    group = np.random.default_rng(1).normal(0.1, 0.2, (2, 50))
    whole = interval([group])
    monkeypatch.setattr("chainsight.analysis.intervals.CELLS", 53 * 100)
    assert interval([group]) == whole


def test_students_quantiles_are_those_of_the_table() -> None:
    from scipy.stats import t

    for freedom in (1, 1.5, 2, 4, 7.3, 30, 1000, 1e9):
        assert t_quantile(freedom) == pytest.approx(t.ppf(0.975, freedom), rel=1e-3)


def test_shares_have_wilsons_interval() -> None:
    from scipy.stats import binomtest

    for won, count in ((0, 10), (3, 12), (40, 41)):
        expected = binomtest(won, count).proportion_ci(0.95, "wilson")
        found = wilson(won / count, count)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(
    ("value", "error", "low", "high"),
    [(0.0, 0.0, 0.0, 0.0370), (1.0, 0.0, 0.9630, 1.0), (0.5, 0.05, 0.4038, 0.5962)],
)
def test_accuracies_have_wilsons_interval(
    value: float, error: float, low: float, high: float
) -> None:
    """Against the published formula at 0, 50 and 100 of 100."""
    found = accuracy(value, error, 100)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)
