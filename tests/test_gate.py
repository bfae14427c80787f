"""The gate is a pure function: numbers on both sides of each branch."""

import math
import random

import pytest

from chainsight.config import GateSection
from chainsight.gate import Decision, Results, paired_p_value
from chainsight.stages.register import decide

GATE = GateSection()


def results(
    wins: int = 0, losses: int = 0, ties: int = 0, *, candidate: bool, fingerprint: str = "f"
) -> Results:
    """Scores of the candidate or the champion in a comparison with these counts."""
    own, other = (1.0, 0.0) if candidate else (0.0, 1.0)
    values = [own] * wins + [other] * losses + [1.0] * ties
    scores = {f"q{i}": value for i, value in enumerate(values)}
    return Results(fingerprint, scores, "new" if candidate else "old")


def judge(wins: int, losses: int, ties: int, gate: GateSection = GATE) -> Decision:
    ours = results(wins, losses, ties, candidate=True)
    theirs = results(wins, losses, ties, candidate=False)
    return decide(ours, theirs, gate)


def test_the_first_candidate_passes() -> None:
    decision = decide(results(3, 1, candidate=True), None, GATE)
    assert decision.passed
    assert decision.champion_value is None
    assert decision.candidate_value == 0.75
    assert decision.reason == "passed: no champion yet; cot 75.00 % on 4 questions"


def test_five_wins_pass_and_four_do_not() -> None:
    """The exact sign test gives 1/32 and 1/16; the level is 1/20."""
    five, four = judge(5, 0, 95), judge(4, 0, 96)
    assert (five.passed, five.p_value) == (True, 1 / 32)
    assert (four.passed, four.p_value) == (False, 1 / 16)
    assert four.gain == pytest.approx(0.04)
    assert (five.wins, five.losses, five.num_examples) == (5, 0, 100)


def test_losses_weigh_against_wins() -> None:
    """Of 12 differing questions 10 won: (1 + 12 + 66) / 4096 = 0.0193; 9 won: 0.0730."""
    assert judge(10, 2, 0).p_value == pytest.approx(79 / 4096)
    assert judge(10, 2, 0).passed
    assert judge(9, 3, 0).p_value == pytest.approx(299 / 4096)
    assert not judge(9, 3, 0).passed


def test_a_tie_is_refused() -> None:
    decision = judge(0, 0, 20)
    assert not decision.passed
    assert (decision.gain, decision.p_value) == (0.0, 1.0)


def test_the_refusal_has_every_figure() -> None:
    assert judge(4, 1, 95).reason == (
        "refused: cot 99.00 % against the champion's 96.00 % on 100 questions, a gain of "
        "+3.00 points (4 won, 1 lost, p = 0.1875); required: more than +0.00 points with "
        "p at most 0.05"
    )


def test_the_required_gain_is_required() -> None:
    """60 won and 10 lost of 200 are a gain of 25 points, far above 10 but not above 20."""
    assert judge(60, 10, 130, GateSection(min_gain=0.10)).passed
    assert not judge(60, 10, 130, GateSection(min_gain=0.20)).passed
    assert not judge(60, 10, 130, GateSection(min_gain=0.25)).passed


def test_a_negative_gain_may_be_allowed() -> None:
    assert judge(2, 2, 196, GateSection(min_gain=-0.05)).passed
    assert not judge(2, 12, 186, GateSection(min_gain=-0.05)).passed
    assert not judge(2, 2, 6, GateSection(min_gain=-0.05)).passed  # too few to be sure


def test_the_gain_itself_must_exceed_the_required_one() -> None:
    """One lost of 20 is exactly the allowed -5 points; the adjusted test alone would pass it."""
    gate = GateSection(min_gain=-0.05, confidence=0.5)
    decision = judge(0, 1, 19, gate)
    assert decision.p_value is not None
    assert decision.p_value < 0.5
    assert not decision.passed
    assert judge(0, 1, 20, gate).passed


def test_confidence_moves_the_level() -> None:
    assert not judge(4, 0, 96, GateSection(confidence=0.95)).passed
    assert judge(4, 0, 96, GateSection(confidence=0.93)).passed


def test_another_benchmark_is_refused_with_both_fingerprints() -> None:
    decision = decide(
        results(5, candidate=True, fingerprint="aaa"),
        results(5, candidate=False, fingerprint="bbb"),
        GATE,
    )
    assert not decision.passed
    assert "aaa" in decision.reason
    assert "bbb" in decision.reason
    assert decision.p_value is None


def test_the_champion_itself_is_refused() -> None:
    same = Results("f", {"q": 1.0}, "digest")
    decision = decide(same, same, GATE)
    assert not decision.passed
    assert "already registered" in decision.reason


def test_other_questions_are_refused() -> None:
    decision = decide(
        Results("f", {"a": 1.0, "b": 1.0}, "new"), Results("f", {"b": 0.0, "c": 0.0}, "old"), GATE
    )
    assert not decision.passed
    assert "only 1 questions in common" in decision.reason


def test_the_sign_test_equals_the_binomial_tail() -> None:
    from scipy.stats import binomtest

    rng = random.Random(0)
    for _ in range(20):
        differences = [float(rng.choice((-1, 0, 1))) for _ in range(rng.randrange(1, 60))]
        wins, either = differences.count(1.0), sum(d != 0 for d in differences)
        expected = binomtest(wins, either, 0.5, "greater").pvalue if either else 1.0
        assert paired_p_value(differences, 0.0) == pytest.approx(expected, abs=1e-12)


def test_soft_scores_follow_agresti_and_min() -> None:
    """By hand for counts (wins 5, losses 1, n 20) at a margin of 0.1: z = (4/22 - 0.1) / se."""
    differences = [1.0] * 5 + [-1.0] + [0.0] * 14
    error = math.sqrt((5.5 + 1.5) - 16 / 22) / 22
    expected = 0.5 * math.erfc((4 / 22 - 0.1) / error / math.sqrt(2))
    assert paired_p_value(differences, 0.1) == pytest.approx(expected, abs=1e-12)


def test_soft_scores_weigh_by_size() -> None:
    """Many small gains do not outweigh few large losses, though most questions are won."""
    differences = [0.1] * 30 + [-1.0] * 5
    assert sum(differences) < 0
    assert paired_p_value(differences, 0.0) > 0.5


@pytest.mark.parametrize(("min_gain", "soft"), [(0.0, False), (0.0, True), (0.05, False)])
def test_a_useless_gain_passes_at_most_as_often_as_promised(min_gain: float, soft: bool) -> None:
    """2,000 comparisons whose true gain is exactly `min_gain`: at most 5 % pass, and some do."""
    rng = random.Random(1)
    passed = 0
    for _ in range(2000):
        size = 0.5 if soft else 1.0
        draws = rng.choices((size, -size, 0.0), (0.15 + min_gain, 0.15, 0.7 - min_gain), k=150)
        passed += paired_p_value(draws, min_gain) <= 0.05
    assert 0.015 < passed / 2000 < 0.06
