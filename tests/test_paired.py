"""The statistics against independent references: scipy's exact test, the normal's coverage."""

import math
import random

import pytest

from chainsight import paired
from chainsight.paired import bounds, exact_p_value, p_value, resampled_means, which_test


def test_mcnemars_test_equals_the_binomial_tail() -> None:
    from scipy.stats import binomtest

    rng = random.Random(0)
    for _ in range(40):
        differences = [float(rng.choice((-1, 0, 1))) for _ in range(rng.randrange(1, 60))]
        wins, either = differences.count(1.0), sum(d != 0 for d in differences)
        expected = binomtest(wins, either, 0.5, "greater").pvalue if either else 1.0
        assert p_value([differences]) == pytest.approx(expected, abs=1e-12)


def test_mcnemars_test_takes_thousands_of_questions() -> None:
    """2 ** 1024 is no float: the tail is one of integers."""
    from scipy.stats import binomtest

    for wins, losses in ((2600, 2500), (900, 1300), (5000, 0)):
        expected = binomtest(wins, wins + losses, 0.5, "greater").pvalue
        assert exact_p_value(wins, losses) == pytest.approx(expected, rel=1e-9)


def test_soft_scores_follow_agresti_and_min() -> None:
    """By hand for counts (wins 5, losses 1, n 20) at a margin of 0.1: z = (4/22 - 0.1) / se."""
    differences = [1.0] * 5 + [-1.0] + [0.0] * 14
    error = math.sqrt((5.5 + 1.5) - 16 / 22) / 22
    expected = 0.5 * math.erfc((4 / 22 - 0.1) / error / math.sqrt(2))
    assert p_value([differences], 0.1) == pytest.approx(expected, abs=1e-12)


def test_soft_scores_weigh_by_size() -> None:
    """Many small gains do not outweigh few large losses, though most questions are won."""
    differences = [0.1] * 30 + [-1.0] * 5
    assert sum(differences) < 0
    assert p_value([differences]) > 0.5


def test_several_benchmarks_weigh_alike() -> None:
    """A small benchmark lost outweighs a big one won by less: McNemar's pooled test says p < 1e-9.

    By hand: means 40/1002 and -15/22, their variances as Agresti and Min's, halves of each.
    """
    big, small = [1.0] * 40 + [0.0] * 960, [-1.0] * 15 + [0.0] * 5
    assert paired.mean_of_means([big, small]) == pytest.approx((0.04 - 0.75) / 2)
    variances = [(41 - 1600 / 1002) / 1002**2, (16 - 225 / 22) / 22**2]
    z = (40 / 1002 - 15 / 22) / 2 / (math.sqrt(sum(variances)) / 2)
    assert p_value([big, small]) == pytest.approx(0.5 * math.erfc(z / math.sqrt(2)), abs=1e-12)
    assert p_value([big, small]) > 0.99
    assert exact_p_value(40, 15) < 0.001


def test_each_case_has_its_test() -> None:
    whole, soft = [1.0, 0.0, -1.0], [0.5, 0.0, -1.0]
    assert which_test([whole]) == "mcnemar"
    assert which_test([whole], 0.1) == "agresti-min"
    assert which_test([soft]) == "agresti-min"
    assert which_test([whole, whole]) == "stratified"


@pytest.mark.parametrize(
    ("margin", "size", "sizes"),
    [
        (0.0, 1.0, (150,)),
        (0.0, 0.5, (150,)),
        (0.05, 1.0, (150,)),
        (-0.05, 1.0, (150,)),
        (0.0, 1.0, (120, 40)),
        (0.0, 0.5, (100, 30, 20)),
        (-0.05, 1.0, (120, 40)),
    ],
)
def test_a_useless_gain_passes_at_most_as_often_as_promised(
    margin: float, size: float, sizes: tuple[int, ...]
) -> None:
    """1,500 comparisons whose true gain is exactly the margin: at most 5 % pass, and some do."""
    rng = random.Random(1)
    passed = 0
    up = margin / size
    for _ in range(1500):
        groups = [
            rng.choices((size, -size, 0.0), (0.15 + up, 0.15, 0.7 - up), k=count) for count in sizes
        ]
        passed += p_value(groups, margin) <= 0.05
    assert 0.015 < passed / 1500 < 0.062


def test_equal_questions_give_equal_bounds() -> None:
    values = [1.0, 0.0, -1.0, 1.0, 0.5] * 10
    assert resampled_means(values, "bars") == resampled_means(values, "bars")
    assert resampled_means(values, "bars") != resampled_means(values, "chartqa")


def test_the_bootstrap_covers_as_often_as_the_normal() -> None:
    """200 samples of a known mean: each one-sided 95 % bound holds in about 95 % of them.

    The standard error of the share is 1.5 points; the percentile bootstrap of 60 values is known to
    be short by less than one more.
    """
    rng = random.Random(2)
    below = above = 0
    for number in range(200):
        sample = [rng.gauss(0.3, 1.0) for _ in range(60)]
        low, high = bounds([resampled_means(sample, f"{number}")], 0.95)
        below += low < 0.3
        above += high > 0.3
    assert below / 200 == pytest.approx(0.95, abs=0.04)
    assert above / 200 == pytest.approx(0.95, abs=0.04)


def test_the_bootstraps_width_is_the_normals() -> None:
    """Of 500 values in two strata: mean ± 1.645 standard errors, to a twentieth of the width."""
    rng = random.Random(3)
    groups = [[float(rng.choice((-1, 0, 0, 1, 1))) for _ in range(n)] for n in (400, 100)]
    low, high = bounds([resampled_means(g, str(i)) for i, g in enumerate(groups)], 0.95)
    mean = paired.mean_of_means(groups)
    variances = [sum((x - sum(g) / len(g)) ** 2 for x in g) / len(g) / len(g) for g in groups]
    error = math.sqrt(sum(variances)) / 2
    assert low == pytest.approx(mean - 1.645 * error, abs=0.16 * error)
    assert high == pytest.approx(mean + 1.645 * error, abs=0.16 * error)


def test_no_difference_has_no_width() -> None:
    assert bounds([resampled_means([0.0] * 9, "x")], 0.95) == (0.0, 0.0)
