"""Curves: means of benchmarks' means, gains paired with greedy, names of metrics."""

import pytest

from chainsight.analysis.curves import curves, flat, grouped, sizes
from chainsight.records import Verified


def rows(dataset, number, greedy, scores, rewards):
    def one(index, score, reward):
        name = f"{dataset}/test/{number}"
        return Verified(
            name, index, "", "7", "marker", score, 1, reward, 0.0, ("",), (reward,), "7"
        )

    drawn = zip(scores, rewards, strict=True)
    return [one(-1, greedy, 0.0), *(one(k, *pair) for k, pair in enumerate(drawn))]


def test_sizes_are_powers_of_two_and_all():
    assert sizes(8) == (1, 2, 4, 8)
    assert sizes(6) == (1, 2, 4, 6)


def test_a_curve_is_the_mean_of_the_benchmarks_means():
    """Three questions of one, one of the other: they count alike."""
    made = [
        *(row for k in range(3) for row in rows("a", k, 0.0, (1.0, 0.0), (2.0, 1.0))),
        *rows("b", 0, 1.0, (1.0, 0.0), (1.0, 2.0)),
    ]
    groups = grouped(made)
    assert {name: len(own) for name, own in groups.items()} == {"a": 3, "b": 1}
    found = {(point.method, point.n): point for point in curves(groups)}
    assert found["greedy", 2].value == 0.5
    assert found["best", 2].value == 0.5  # right in a, wrong in b
    assert found["best", 2].gain == 0.0
    assert found["best", 1].value == found["single", 2].value == 0.5
    assert found["oracle", 2].gain == 0.5


def test_a_clear_gain_has_an_interval_clear_of_zero_and_an_even_one_has_not():
    better = [row for k in range(60) for row in rows("a", k, float(k % 3 > 0), (1, 0), (2, 1))]
    (best,) = [p for p in curves(grouped(better)) if (p.method, p.n) == ("best", 2)]
    assert best.gain == pytest.approx(20 / 60)
    assert 0.15 < best.low < best.gain < best.high < 0.5
    even = [row for k in range(60) for row in rows("a", k, float(k % 2), ((k + 1) % 2, 0), (2, 1))]
    (best,) = [p for p in curves(grouped(even)) if (p.method, p.n) == ("best", 2)]
    assert best.low < 0 < best.high


def test_the_metrics_of_one_n_name_gain_and_bounds():
    made = [row for k in range(4) for row in rows("a", k, 0.0, (1.0, 0.0), (2.0, 1.0))]
    values = flat(curves(grouped(made), ("greedy", "best"), ns=(2,)))
    assert set(values) == {
        "greedy/accuracy", "best/accuracy", "best/gain", "best/gain_low", "best/gain_high"
    }  # fmt: skip
    assert values["best/gain"] == 1.0
