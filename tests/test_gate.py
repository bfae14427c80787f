"""The gate is a pure function: the constructed cases, and numbers on both sides of each bound."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pytest

from chainsight.config import GateSection
from chainsight.errors import RecordError
from chainsight.gate import Decision, Figures, Results, Row, dataset_of, decide

GATE = GateSection()


def results(
    scores: Mapping[str, Sequence[float]],
    digest: str,
    *,
    fingerprint: str = "f",
    unparsed: int = 0,
    status: str = "no_marker",
    num_tokens: int = 40,
) -> Results:
    """Scores by benchmark; the first `unparsed` answers of each have a bad status."""
    rows = {
        f"{name}/test/{i:05d}": Row(name, score, status if i < unparsed else "marker", num_tokens)
        for name, values in scores.items()
        for i, score in enumerate(values)
    }
    return Results(fingerprint, rows, digest)


def right(count: int, total: int, *, last: bool = False) -> list[float]:
    """`count` right answers among `total`, at the beginning or at the end."""
    values = [1.0] * count + [0.0] * (total - count)
    return values[::-1] if last else values


# --- the twelve constructed cases ------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    candidate: Results
    champion: Results | None
    passed: bool
    reason: str
    """Must occur in the decision's reason."""


OLD = results({"bars": right(50, 100), "chartqa": right(60, 200)}, "old")
NEW = results({"bars": right(70, 100), "chartqa": right(90, 200)}, "new")
CASES = {
    "clear gain": Case(NEW, OLD, True, "a gain of +17.50 points (50 won, 0 lost, p < 0.0001"),
    "gain within noise": Case(
        results({"bars": [0.0, *right(51, 99)], "chartqa": right(61, 200)}, "new"),
        OLD,
        False,
        "gain: cot 40.75 % against the champion's 40.00 % on 300 questions of 2 benchmarks",
    ),
    "loss on one benchmark": Case(
        results({"bars": right(90, 100), "chartqa": right(45, 200)}, "new"),
        OLD,
        False,
        "loss on chartqa: 22.50 % against 30.00 %, -7.50 points (0 won, 15 lost, p < 0.0001",
    ),
    "fingerprint differs": Case(
        replace(NEW, fingerprint="g"), OLD, False, "fingerprint g against the champion's f"
    ),
    "no champion": Case(NEW, None, True, "no champion yet; cot 57.50 % on 300 questions"),
    "itself": Case(replace(OLD), OLD, False, "the candidate is the champion itself (digest old)"),
    "fewer examples": Case(
        results({"bars": right(70, 90), "chartqa": right(90, 200)}, "new"),
        OLD,
        False,
        "only 290 are in common; the candidate answered 290, the champion 300",
    ),
    "unparsed answers up": Case(
        results({"bars": right(70, 100), "chartqa": right(90, 200)}, "new", unparsed=12),
        OLD,
        False,
        "unparsed answers: 9.00 % of the answers against the champion's 0.00 %, +9.00 points",
    ),
    "length doubled": Case(
        results({"bars": right(70, 100), "chartqa": right(90, 200)}, "new", num_tokens=80),
        OLD,
        False,
        "length: 80.0 tokens an answer against the champion's 40.0, 2.00 times as long",
    ),
    "tie": Case(replace(OLD, digest="new"), OLD, False, "a gain of +0.00 points (0 won, 0 lost"),
    "missing metric": Case(
        results({"bars": right(70, 100)}, "new"),
        OLD,
        False,
        "missing benchmark: there is no answer of the candidate on chartqa",
    ),
    "NaN": Case(
        results({"bars": [math.nan, *right(70, 99)], "chartqa": right(90, 200)}, "new"),
        OLD,
        False,
        "the candidate's answer to bars/test/00000 scores nan, no number from 0 to 1",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_constructed_case_has_its_verdict_and_reason(name: str) -> None:
    case = CASES[name]
    decision = decide(case.candidate, case.champion, GATE)
    assert decision.passed == case.passed
    assert decision.reason.startswith("passed: " if case.passed else "refused: ")
    assert case.reason in decision.reason
    assert decision.verdict.startswith("Passed." if case.passed else "Refused.")
    assert ("NOT MET" in decision.verdict) == (not case.passed and bool(decision.checks))


@pytest.mark.parametrize("name", CASES)
def test_a_decision_survives_json(name: str) -> None:
    decision = decide(CASES[name].candidate, CASES[name].champion, GATE)
    text = decision.to_json()
    assert "NaN" not in text
    assert Decision.from_json(text) == decision
    beside = json.dumps({**json.loads(text), "version": 3})
    assert Decision.from_json(beside) == decision


def test_only_what_decided_is_the_reason() -> None:
    """Every other check of a refused candidate is met, so that each case tests its own bound."""
    for name in ("loss on one benchmark", "unparsed answers up", "length doubled"):
        decision = decide(CASES[name].candidate, CASES[name].champion, GATE)
        assert [check.met for check in decision.checks].count(False) == 1, name


def test_the_verdict_has_every_figure() -> None:
    ours, theirs = results({"bars": right(10, 12)}, "new"), results({"bars": right(7, 12)}, "old")
    assert decide(ours, theirs, GATE).verdict == (
        "Refused.\n"
        "\n"
        "- gain, NOT MET: cot 83.33 % against the champion's 58.33 % on 12 questions, a gain of "
        "+25.00 points (3 won, 0 lost, p = 0.1250 by McNemar's exact test, bootstrap +8.33 to "
        "+41.67); required: more than +0.00 points with p at most 0.05 and the bootstrap's lower "
        "bound above +0.00.\n"
        "- loss on bars, met: 83.33 % against 58.33 %, +25.00 points (3 won, 0 lost, p = 1.0000 "
        "for a loss); allowed: a loss of at most 2.00 points, or one that may be chance (p above "
        "0.05).\n"
        "- unparsed answers, met: 0.00 % of the answers against the champion's 0.00 %, +0.00 "
        "points (p = 1.0000 for a rise); allowed: at most 20.00 %, and a rise of at most 2.00 "
        "points or one that may be chance (p above 0.05).\n"
        "- length, met: 40.0 tokens an answer against the champion's 40.0, 1.00 times as long; "
        "allowed: at most 1.50 times."
    )


def test_the_verdict_of_an_obstacle_is_a_sentence() -> None:
    verdict = decide(NEW, replace(OLD, fingerprint="g"), GATE).verdict
    assert verdict.startswith("Refused. Other benchmark: fingerprint f against")
    assert verdict.endswith(".")


def test_the_figures_of_each_benchmark_are_kept() -> None:
    decision = decide(NEW, OLD, GATE)
    assert set(decision.benchmarks) == {"bars", "chartqa"}
    bars = decision.benchmarks["bars"]
    assert isinstance(bars, Figures)
    assert (bars.num_examples, bars.wins, bars.losses) == (100, 20, 0)
    assert bars.gain == pytest.approx(0.2)
    assert decision.benchmarks["chartqa"].gain == pytest.approx(0.15)
    assert decision.gain == pytest.approx((0.2 + 0.15) / 2)  # each benchmark counts alike
    assert decision.test == "stratified"
    assert (decision.mean_tokens, decision.champion_mean_tokens) == (40.0, 40.0)
    assert decision.gain_low is not None
    assert decision.gain_high is not None
    assert 0.13 < decision.gain_low < 0.175 < decision.gain_high < 0.22


def test_the_order_of_the_rows_changes_nothing() -> None:
    turned = replace(NEW, rows=dict(reversed(NEW.rows.items())))
    assert decide(turned, OLD, GATE) == decide(NEW, OLD, GATE)


# --- both sides of each bound ----------------------------------------------------------------


def judge(wins: int, losses: int, ties: int, gate: GateSection = GATE) -> Decision:
    ours = results({"bars": [1.0] * wins + [0.0] * losses + [1.0] * ties}, "new")
    theirs = results({"bars": [0.0] * wins + [1.0] * losses + [1.0] * ties}, "old")
    return decide(ours, theirs, gate)


def test_five_wins_pass_and_four_do_not() -> None:
    """McNemar's exact test gives 1/32 and 1/16; the level is 1/20."""
    five, four = judge(5, 0, 95), judge(4, 0, 96)
    assert (five.passed, five.p_value, five.test) == (True, 1 / 32, "mcnemar")
    assert (four.passed, four.p_value) == (False, 1 / 16)
    assert four.gain == pytest.approx(0.04)
    assert (five.wins, five.losses, five.num_examples) == (5, 0, 100)


def test_losses_weigh_against_wins() -> None:
    """Of 12 differing questions 10 won: (1 + 12 + 66) / 4096 = 0.0193; 9 won: 0.0730."""
    assert judge(10, 2, 0).p_value == pytest.approx(79 / 4096)
    assert judge(10, 2, 0).passed
    assert judge(9, 3, 0).p_value == pytest.approx(299 / 4096)
    assert not judge(9, 3, 0).passed


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
    gate = GateSection(min_gain=-0.05, confidence=0.5, max_loss=0.05)
    decision = judge(0, 1, 19, gate)
    assert decision.p_value is not None
    assert decision.p_value < 0.5
    assert not decision.passed
    assert judge(0, 1, 20, gate).passed


def test_the_bootstrap_must_agree() -> None:
    """Many small gains, 8 heavy losses: the normal test is sure, the resamples are not.

    One in 16 of them holds 13 losses: 487 x 0.0266 - 13 < 0.
    """
    theirs = results({"bars": [0.5] * 492 + [1.0] * 8}, "old")
    for gain, passed in ((0.0266, False), (0.0268, True)):
        ours = results({"bars": [0.5 + gain] * 492 + [0.0] * 8}, "new")
        decision = decide(ours, theirs, GATE)
        assert decision.p_value is not None
        assert decision.p_value < 0.05
        assert decision.passed == passed


def test_confidence_moves_the_level() -> None:
    assert not judge(4, 0, 96, GateSection(confidence=0.95)).passed
    assert judge(4, 0, 96, GateSection(confidence=0.93)).passed


def on_two(lost: int, gate: GateSection = GATE) -> Decision:
    """A large gain on one benchmark, `lost` of 200 on the other."""
    ours = results({"a": right(90, 100), "b": right(100 - lost, 200)}, "new")
    return decide(ours, results({"a": right(40, 100), "b": right(100, 200)}, "old"), gate)


def test_a_loss_counts_when_it_is_large_and_no_chance() -> None:
    """Of 200: 5 lost are 2.5 points with p = 1/32; 4 are the allowed 2 points."""
    assert on_two(4).passed
    assert not on_two(5).passed
    assert on_two(5, GateSection(max_loss=0.025)).passed
    assert on_two(5, GateSection(confidence=0.97)).passed  # then 1/32 may be chance


def test_a_large_loss_that_may_be_chance_is_let_pass() -> None:
    """4 of 20 lost are 20 points, but p = 1/16: a small benchmark alone proves nothing."""
    champion = results({"a": right(40, 100), "b": right(10, 20)}, "old")
    four = decide(results({"a": right(90, 100), "b": right(6, 20)}, "new"), champion, GATE)
    five = decide(results({"a": right(90, 100), "b": right(5, 20)}, "new"), champion, GATE)
    assert four.passed
    assert not five.passed


def unparsed(ours: int, theirs: int, gate: GateSection = GATE, status: str = "empty") -> Decision:
    better, worse = {"bars": right(150, 200)}, {"bars": right(100, 200)}
    return decide(
        results(better, "new", unparsed=ours, status=status),
        results(worse, "old", unparsed=theirs),
        gate,
    )


def test_the_share_of_unparsed_answers_is_bounded() -> None:
    loose = GateSection(max_unparsed_rise=1.0)
    assert unparsed(40, 0, loose).passed
    assert not unparsed(41, 0, loose).passed
    assert unparsed(41, 0, GateSection(max_unparsed_rise=1.0, max_unparsed_rate=0.21)).passed


def test_a_rise_of_unparsed_answers_counts_when_it_is_large_and_no_chance() -> None:
    """Of 200: 4 more are the allowed 2 points, 5 more have p = 1/32."""
    assert unparsed(14, 10).passed
    assert not unparsed(15, 10).passed
    assert unparsed(15, 10, GateSection(max_unparsed_rise=0.025)).passed
    assert unparsed(15, 10, GateSection(confidence=0.97)).passed
    assert unparsed(0, 30).passed


@pytest.mark.parametrize(
    ("status", "passed"),
    [
        ("marker", True),
        ("plain", True),
        ("fallback", True),
        ("no_marker", False),
        ("truncated", False),
        ("empty", False),
    ],
)
def test_what_nobody_can_read_is_unparsed(status: str, passed: bool) -> None:
    assert unparsed(30, 0, status=status).passed == passed


def test_the_length_is_bounded() -> None:
    def longer(ours: int, theirs: int) -> bool:
        new = results({"bars": right(70, 100)}, "new", num_tokens=ours)
        return decide(new, results({"bars": right(50, 100)}, "old", num_tokens=theirs), GATE).passed

    assert longer(60, 40)
    assert not longer(61, 40)
    assert longer(5, 40)
    assert longer(1, 0)  # nothing counts as one token
    assert not longer(2, 0)


def test_without_a_champion_the_absolute_bound_holds() -> None:
    fine = results({"bars": right(1, 100)}, "new", unparsed=20, num_tokens=5000)
    assert decide(fine, None, GATE).passed
    garbled = results({"bars": right(1, 100)}, "new", unparsed=21)
    decision = decide(garbled, None, GATE)
    assert not decision.passed
    assert decision.reason == (
        "refused: unparsed answers: 21.00 % of the answers; allowed: at most 20.00 %"
    )
    assert decision.candidate_value == 0.01
    assert decision.champion_value is None


# --- what cannot be compared -----------------------------------------------------------------


def test_an_unknown_digest_is_not_the_champions() -> None:
    assert decide(replace(NEW, digest=""), replace(OLD, digest=""), GATE).passed


def test_itself_is_said_before_anything_else() -> None:
    """Evaluated anew on other questions it still is the champion."""
    assert "the champion itself" in decide(replace(NEW, digest="old"), OLD, GATE).reason


@pytest.mark.parametrize("who", ["candidate", "champion"])
@pytest.mark.parametrize("score", [math.nan, math.inf, -0.1, 1.1])
def test_a_score_that_is_none_is_refused(who: str, score: float) -> None:
    rows = NEW.rows | {"bars/test/00007": Row("bars", score, "marker", 3)}
    pair = {"candidate": NEW, "champion": OLD} | {who: replace(NEW, rows=rows, digest=who)}
    decision = decide(pair["candidate"], pair["champion"], GATE)
    assert not decision.passed
    assert f"the {who}'s answer to bars/test/00007 scores {score}" in decision.reason
    assert decision.candidate_value is None


@pytest.mark.parametrize("who", ["candidate", "champion"])
def test_a_mode_that_was_not_asked_is_refused(who: str) -> None:
    pair = {"candidate": NEW, "champion": OLD}
    pair[who] = replace(pair[who], rows={})
    decision = decide(pair["candidate"], pair["champion"], GATE)
    assert not decision.passed
    assert f"the {who} was not asked in the mode cot; add it to evaluate.modes" in decision.reason


def test_more_questions_than_the_champions_are_refused() -> None:
    more = results({"bars": right(70, 101), "chartqa": right(90, 200)}, "new")
    assert "only 300 are in common" in decide(more, OLD, GATE).reason


def test_a_decision_that_is_none_is_refused() -> None:
    with pytest.raises(RecordError, match="not a decision of the gate: passed"):
        Decision.from_json('{"reason": "x"}')


def test_an_id_begins_with_its_benchmark() -> None:
    assert dataset_of("chartqa/test/12") == "chartqa"
    assert dataset_of("q7") == "all"
