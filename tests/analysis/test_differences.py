"""Differences between models, against figures by hand and the gate's own bootstrap."""

from collections.abc import Callable

import pytest

from chainsight import paired
from chainsight.analysis.differences import by_model, chance, differences, measured, pairs
from chainsight.records import Prediction
from chainsight.scoring import ALL

Answers = Callable[..., list[Prediction]]


def test_a_difference_has_its_counts_interval_and_chance(answers: Answers) -> None:
    """12 won and 2 lost of 20: McNemar's exact chance is 2 (1 + 14 + 91) / 2**14."""
    policy = answers("policy", "cot", [0.0] * 12 + [1.0] * 8)
    aligned = answers("aligned", "cot", [1.0] * 12 + [0.0] * 2 + [1.0] * 6)
    (found,) = differences(by_model([*policy, *aligned]))
    assert (found.better, found.than, found.mode, found.dataset) == (
        "aligned", "policy", "cot", "bars",
    )  # fmt: skip
    assert (found.num_questions, found.num_won, found.num_lost) == (20, 12, 2)
    assert found.gain.value == pytest.approx(0.5)
    assert 0.1 < found.gain.low < 0.5 < found.gain.high < 0.9
    assert found.p_value == pytest.approx(2 * 106 / 2**14)


def test_the_mean_of_datasets_comes_first(answers: Answers) -> None:
    rows = [
        *answers("policy", "cot", [0.0] * 30, "a"),
        *answers("policy", "cot", [1.0] * 10, "b"),
        *answers("aligned", "cot", [1.0] * 30, "a"),
        *answers("aligned", "cot", [0.0] * 10, "b"),
    ]
    found = differences(by_model(rows))
    assert [(one.dataset, one.gain.value) for one in found] == [(ALL, 0), ("a", 1), ("b", -1)]
    assert found[0].num_questions == 40


def test_only_questions_in_common_count(answers: Answers) -> None:
    rows = [*answers("policy", "cot", [0.0] * 5), *answers("aligned", "cot", [1.0] * 9)]
    assert differences(by_model(rows))[0].num_questions == 5


def test_models_are_compared_with_those_before_them() -> None:
    assert pairs(["base", "policy", "aligned"]) == [
        ("policy", "base"), ("aligned", "policy"), ("aligned", "base"),
    ]  # fmt: skip
    assert pairs(["policy", "aligned", "champion"]) == [
        ("aligned", "policy"), ("aligned", "champion"),
    ]  # fmt: skip
    assert pairs(["model"]) == []


def test_the_bootstrap_is_the_gates() -> None:
    groups = {"b": [1.0, 0.0, 0.0, -1.0] * 9, "a": [0.5, 0.0, 0.25] * 5}
    means = [paired.resampled_means(groups[name], seed=name) for name in "ab"]
    _, found, _, _, _ = measured(list(groups.values()), list(groups))
    assert (found.low, found.high) == paired.bounds(means, 0.975)


def test_chance_is_two_sided_and_at_most_certain() -> None:
    assert chance([[1.0, 1.0, 1.0, -1.0]]) == chance([[-1.0, -1.0, -1.0, 1.0]]) == 10 / 16
    assert chance([[0.0, 0.0]]) == 1
