"""The gate: is a candidate better than the champion? Pure functions on row-level results."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from chainsight.config import GateSection


@dataclass(frozen=True)
class Results:
    """A model's results on a benchmark, question by question, in the gate's mode."""

    fingerprint: str
    """Of the benchmark: `scoring.benchmark_fingerprint`."""
    scores: Mapping[str, float]
    """Example id to score, 0 to 1."""
    digest: str = ""
    """Of the model's files."""


@dataclass(frozen=True)
class Decision:
    """What the gate found. Values are 0 to 1; those of a comparison are None without one."""

    passed: bool
    reason: str
    candidate_value: float
    champion_value: float | None = None
    gain: float | None = None
    p_value: float | None = None
    """Chance of such a gain if the true one were `min_gain` (one-sided)."""
    num_examples: int = 0
    wins: int = 0
    """Questions on which the candidate scores higher."""
    losses: int = 0


def decide(candidate: Results, champion: Results | None, policy: GateSection) -> Decision:
    """Whether the candidate may challenge: better than the champion on the same questions.

    The gain is the mean of the paired differences. It must exceed `min_gain`, and a one-sided
    paired test (`paired_p_value`) must say so at `confidence`.
    """
    value = _mean(candidate.scores)
    count = len(candidate.scores)
    if champion is None:
        reason = f"passed: no champion yet; {policy.mode} {_percent(value)} on {count} questions"
        return Decision(True, reason, value, num_examples=count)
    obstacle = _obstacle(candidate, champion)
    if obstacle:
        return Decision(False, f"refused: {obstacle}", value, num_examples=count)
    differences = [score - champion.scores[key] for key, score in candidate.scores.items()]
    gain = math.fsum(differences) / count
    p_value = paired_p_value(differences, policy.min_gain)
    before = _mean(champion.scores)
    wins = sum(difference > 0 for difference in differences)
    losses = sum(difference < 0 for difference in differences)
    passed = gain > policy.min_gain and p_value <= _level(policy)
    verdict = "passed" if passed else "refused"
    reason = (
        f"{verdict}: {policy.mode} {_percent(value)} against the champion's {_percent(before)} on "
        f"{count} questions, a gain of {100 * gain:+.2f} points ({wins} won, {losses} lost, "
        f"p = {p_value:.4f}); required: more than {100 * policy.min_gain:+.2f} points with "
        f"p at most {_level(policy):.4g}"
    )
    return Decision(passed, reason, value, before, gain, p_value, count, wins, losses)


def _level(policy: GateSection) -> float:
    return round(1 - policy.confidence, 12)  # 1 - 0.95 is 0.050000000000000044


def _obstacle(candidate: Results, champion: Results) -> str | None:
    """Why the two cannot be compared, or None."""
    if candidate.digest and candidate.digest == champion.digest:
        return f"already registered: its files are the champion's (digest {candidate.digest[:16]})"
    if candidate.fingerprint != champion.fingerprint:
        return (
            f"other benchmark: fingerprint {candidate.fingerprint} against the champion's "
            f"{champion.fingerprint}; evaluate the champion on the same questions by adding "
            "models: {champion: 'models:/NAME@champion'} to the section evaluate"
        )
    if not candidate.scores or set(candidate.scores) != set(champion.scores):
        shared = len(set(candidate.scores) & set(champion.scores))
        return (
            f"only {shared} questions in common: the candidate answered {len(candidate.scores)}, "
            f"the champion {len(champion.scores)}"
        )
    return None


def paired_p_value(differences: list[float], min_gain: float) -> float:
    """One-sided p-value of "the mean difference is at most `min_gain`".

    Right-or-wrong scores and `min_gain` 0: the exact sign test over the questions that differ
    (McNemar's exact test). Else Agresti and Min's Wald test for matched pairs (Statistics in
    Medicine 24:729, 2005), which adds one won and one lost half-question so that few differing
    questions do not look certain.
    """
    wins = sum(difference > 0 for difference in differences)
    losses = sum(difference < 0 for difference in differences)
    if min_gain == 0 and all(difference in (-1.0, 0.0, 1.0) for difference in differences):
        either = wins + losses
        return sum(math.comb(either, k) for k in range(wins, either + 1)) / float(2**either)
    count = len(differences) + 2
    total = math.fsum(differences)
    squares = math.fsum(difference**2 for difference in differences) + 1
    error = math.sqrt(squares - total**2 / count) / count
    return 0.5 * math.erfc((total / count - min_gain) / error / math.sqrt(2))


def _mean(scores: Mapping[str, float]) -> float:
    return math.fsum(scores.values()) / len(scores) if scores else 0.0


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"
