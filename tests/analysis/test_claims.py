"""Claims: each verdict on both sides, what its words say, what is refused."""

import numpy as np
import pytest

from chainsight.analysis.claims import Claim, Relation, Series, judge

QUESTIONS = [f"bars/test/{n}" for n in range(200)]


def series(rates: list[float], questions: list[str] = QUESTIONS) -> Series:
    """Per seed the first `rate` of the questions are right."""
    count = len(questions)
    return {
        seed: {key: float(n < rate * count) for n, key in enumerate(questions)}
        for seed, rate in enumerate(rates)
    }


def claim(relation: Relation = "above") -> Claim:
    return Claim("order", "both", "direct", relation)


BASE = series([0.5] * 5)


def test_a_clear_difference_is_reproduced() -> None:
    found = judge(claim(), series([0.6, 0.62, 0.64, 0.66, 0.68]), BASE)
    assert found.difference == pytest.approx(0.14)
    assert found.per_seed == pytest.approx((0.1, 0.12, 0.14, 0.16, 0.18))
    assert found.seeds == (0, 1, 2, 3, 4)
    assert (found.num_agreeing, found.num_questions) == (5, 200)
    assert found.reproduced == "yes"
    assert found.words.startswith("both is 14.0 points above direct (95 % interval +")
    assert found.words.endswith("over 200 questions; 5 of 5 seeds on that side. Reproduced: above.")


def test_no_difference_is_on_no_side() -> None:
    found = judge(claim(), BASE, BASE)
    assert found.words.startswith("both is level with direct (95 % interval")
    assert "over 200 questions; 5 seeds. Open" in found.words


def test_seeds_that_disagree_leave_it_open() -> None:
    found = judge(claim(), series([0.4, 0.7, 0.45, 0.65, 0.5]), BASE)
    assert found.difference > 0
    assert found.num_agreeing == 2
    assert found.reproduced == "open"
    assert "Open: neither shown to be above" in found.words


def test_the_opposite_is_not_reproduced() -> None:
    found = judge(claim(), BASE, series([0.6, 0.62, 0.64, 0.66, 0.68]))
    assert found.reproduced == "no"
    assert "14.0 points below" in found.words
    assert "Not reproduced" in found.words


@pytest.mark.parametrize(
    ("relation", "rate", "outcome"),
    [
        ("far_above", 0.75, "yes"),
        ("far_above", 0.60, "open"),
        ("far_above", 0.52, "no"),
        ("not_below", 0.50, "yes"),
        ("not_below", 0.48, "open"),
        ("not_below", 0.40, "no"),
    ],
)
def test_margins_count_with_the_whole_interval(
    relation: Relation, rate: float, outcome: str
) -> None:
    assert judge(claim(relation), series([rate] * 5), BASE).reproduced == outcome


def test_one_seed_says_what_it_cannot_say() -> None:
    found = judge(claim(), series([0.7]), BASE)
    assert found.seeds == (0,)
    assert "one seed: the interval is about the questions alone" in found.words
    assert "so few" in judge(claim(), series([0.7] * 3), BASE).words


def test_a_benchmark_counts_as_much_as_a_bigger_one() -> None:
    small, big = [f"a/{n}" for n in range(20)], [f"b/{n}" for n in range(200)]
    better = {0: series([1.0], small)[0] | series([0.0], big)[0]}
    than = {0: series([0.0], small)[0] | series([0.5], big)[0]}
    assert judge(claim(), better, than).difference == pytest.approx((1 - 0.5) / 2)


def test_pairs_need_seeds_and_questions_in_common() -> None:
    with pytest.raises(ValueError, match="none in common; run both with the same seeds"):
        judge(claim(), {7: BASE[0]}, BASE)
    with pytest.raises(ValueError, match="'both' with seed 1 was asked other questions"):
        judge(claim(), {0: BASE[0], 1: {"bars/test/0": 1.0}}, BASE)


def test_false_claims_are_rarely_called_reproduced() -> None:
    """Settings that are equal but for what seeds and questions do: at most 2.5 % of 80."""
    random = np.random.default_rng(5)

    def study() -> Series:
        ease = random.uniform(0.1, 0.9, 60)
        rates = [np.clip(ease + random.normal(0, 0.04), 0, 1) for _ in range(5)]
        return {
            seed: dict(zip(QUESTIONS, (random.random(60) < rate).astype(float), strict=False))
            for seed, rate in enumerate(rates)
        }

    verdicts = [judge(claim(), study(), study()).reproduced for _ in range(80)]
    assert verdicts.count("yes") <= 2 + 4  # 3 standard errors
    assert verdicts.count("open") > 70
