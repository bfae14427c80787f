"""The gate: is a candidate better than the champion? Pure functions on row-level results.

docs/gate.md says what is checked and why. The evidence is of one kind throughout: a gain must be
proven, a loss counts when it is both larger than allowed and no chance (one-sided paired tests at
the policy's confidence).
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from chainsight import paired
from chainsight.config import GateSection
from chainsight.decision import (
    TESTS,
    UNPARSED,
    Check,
    Decision,
    Figures,
    Results,
    Row,
    dataset_of,
)

__all__ = ["UNPARSED", "Check", "Decision", "Figures", "Results", "Row", "dataset_of", "decide"]


def decide(candidate: Results, champion: Results | None, policy: GateSection) -> Decision:
    """Whether the candidate may challenge: better than the champion on the same questions.

    Without a champion only the absolute bounds count. Results that cannot be compared, or hold a
    score that is none, are refused.
    """
    decision = _decide(candidate, champion, policy)
    return replace(decision, champion_digest=champion.digest if champion else "")


def _decide(candidate: Results, champion: Results | None, policy: GateSection) -> Decision:
    obstacle = _obstacle(candidate, champion, policy)
    if obstacle:
        return Decision(
            passed=False,
            reason=f"refused: {obstacle}",
            mode=policy.mode,
            num_examples=len(candidate.rows),
        )
    groups = _by_dataset(candidate.rows, champion.rows if champion else None)
    if champion is None:
        return _first(groups, policy)
    return _compared(groups, policy)


# --- what keeps two results from being compared ----------------------------------------------


def _obstacle(candidate: Results, champion: Results | None, policy: GateSection) -> str | None:
    """Why there is nothing to decide, or None."""
    bad = _unusable("candidate", candidate, policy)
    if champion is None:
        return bad
    return (
        _itself(candidate, champion)
        or _other_benchmark(candidate, champion)
        or bad
        or _unusable("champion", champion, policy)
        or _other_questions(candidate, champion)
    )


def _itself(candidate: Results, champion: Results) -> str | None:
    if not candidate.digest or candidate.digest != champion.digest:
        return None
    return (
        "already registered: the candidate is the champion itself "
        f"(digest {candidate.digest[:16]}), and a model is not compared with itself"
    )


def _other_benchmark(candidate: Results, champion: Results) -> str | None:
    if candidate.fingerprint == champion.fingerprint:
        return None
    return (
        f"other benchmark: fingerprint {candidate.fingerprint} against the champion's "
        f"{champion.fingerprint}; evaluate the champion on the same questions by adding "
        "models: {champion: 'models:/NAME@champion'} to the section evaluate"
    )


def _unusable(who: str, results: Results, policy: GateSection) -> str | None:
    if not results.rows:
        return (
            f"missing results: the {who} was not asked in the mode {policy.mode}; add it to "
            "evaluate.modes or change register.gate.mode"
        )
    for key, row in results.rows.items():
        if not 0 <= row.score <= 1:  # NaN is neither
            return (
                f"bad score: the {who}'s answer to {key} scores {row.score}, no number from 0 to "
                "1; mend the metric and evaluate again"
            )
    return None


def _other_questions(candidate: Results, champion: Results) -> str | None:
    ours, theirs = set(candidate.rows), set(champion.rows)
    if ours == theirs:
        return None
    lost = {dataset_of(key) for key in theirs} - {dataset_of(key) for key in ours}
    if lost:
        what = (
            f"missing benchmark: there is no answer of the candidate on {', '.join(sorted(lost))}"
        )
    else:
        what = f"other questions: only {len(ours & theirs)} are in common"
    return (
        f"{what}; the candidate answered {len(ours)}, the champion {len(theirs)}: evaluate both "
        "on the same"
    )


# --- measuring -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Group:
    """One benchmark's rows, ordered by example id; the champion's are empty without one."""

    name: str
    candidate: tuple[Row, ...]
    champion: tuple[Row, ...]

    def mean(self, rows: tuple[Row, ...], value: Callable[[Row], float]) -> float:
        return math.fsum(value(row) for row in rows) / len(rows)

    def differences(self, value: Callable[[Row], float]) -> list[float]:
        pairs = zip(self.candidate, self.champion, strict=True)
        return [value(ours) - value(theirs) for ours, theirs in pairs]


def _score(row: Row) -> float:
    return row.score


def _is_unparsed(row: Row) -> float:
    return float(row.status in UNPARSED)


def _tokens(row: Row) -> float:
    return float(row.num_tokens)


def _by_dataset(ours: Mapping[str, Row], theirs: Mapping[str, Row] | None) -> list[_Group]:
    keys: dict[str, list[str]] = defaultdict(list)
    for key in sorted(ours):
        keys[ours[key].dataset].append(key)
    return [
        _Group(
            name,
            tuple(ours[key] for key in found),
            tuple(theirs[key] for key in found) if theirs is not None else (),
        )
        for name, found in sorted(keys.items())
    ]


def _own_figures(groups: list[_Group]) -> dict[str, Any]:
    """The candidate's own figures: plain means over the benchmarks."""

    def over(value: Callable[[Row], float]) -> float:
        return _plain([group.mean(group.candidate, value) for group in groups])

    return {
        "num_examples": sum(len(group.candidate) for group in groups),
        "candidate_value": over(_score),
        "unparsed_rate": over(_is_unparsed),
        "mean_tokens": over(_tokens),
    }


def _paired_figures(groups: list[_Group], policy: GateSection, margin: float) -> dict[str, Any]:
    """Both models' figures and their comparison."""

    def over(value: Callable[[Row], float]) -> float:
        return _plain([group.mean(group.champion, value) for group in groups])

    gains = [group.differences(_score) for group in groups]
    rises = [group.differences(_is_unparsed) for group in groups]
    every = [difference for gain in gains for difference in gain]
    means = [
        paired.resampled_means(gain, seed=group.name)
        for group, gain in zip(groups, gains, strict=True)
    ]
    low, high = paired.bounds(means, policy.confidence)
    return _own_figures(groups) | {
        "champion_value": over(_score),
        "gain": paired.mean_of_means(gains),
        "gain_low": low,
        "gain_high": high,
        "p_value": paired.p_value(gains, margin),
        "p_loss": paired.p_value([[-difference for difference in gain] for gain in gains]),
        "wins": sum(difference > 0 for difference in every),
        "losses": sum(difference < 0 for difference in every),
        "champion_unparsed_rate": over(_is_unparsed),
        "unparsed_rise": paired.mean_of_means(rises),
        "p_unparsed": paired.p_value(rises),
        "champion_mean_tokens": over(_tokens),
    }


def _plain(values: list[float]) -> float:
    return math.fsum(values) / len(values)


# --- judging ---------------------------------------------------------------------------------


def _first(groups: list[_Group], policy: GateSection) -> Decision:
    figures = _own_figures(groups)
    value, rate = figures["candidate_value"], figures["unparsed_rate"]
    found = f"no champion yet; {policy.mode} {_percent(value)} on {_questions(figures, groups)}"
    checks = (
        Check("gain", True, found),
        Check(
            "unparsed answers",
            rate <= policy.max_unparsed_rate,
            f"{_percent(rate)} of the answers; allowed: at most "
            f"{_percent(policy.max_unparsed_rate)}",
        ),
        Check("length", True, f"{figures['mean_tokens']:.1f} tokens an answer; no champion yet"),
    )
    benchmarks = {group.name: Figures(**_own_figures([group])) for group in groups}
    return _decision(checks, figures, benchmarks, policy, test="")


def _compared(groups: list[_Group], policy: GateSection) -> Decision:
    figures = _paired_figures(groups, policy, policy.min_gain)
    benchmarks = {group.name: Figures(**_paired_figures([group], policy, 0.0)) for group in groups}
    test = paired.which_test([group.differences(_score) for group in groups], policy.min_gain)
    checks = (
        _gain(figures, groups, policy, test),
        *(_loss(name, found, policy) for name, found in benchmarks.items()),
        _unparsed(figures, policy),
        _length(figures, policy),
    )
    return _decision(checks, figures, benchmarks, policy, test)


def _decision(
    checks: tuple[Check, ...],
    figures: dict[str, Any],
    benchmarks: dict[str, Figures],
    policy: GateSection,
    test: str,
) -> Decision:
    unmet = [check for check in checks if not check.met]
    if unmet:
        reason = "refused: " + "; ".join(f"{check.name}: {check.words}" for check in unmet)
    else:
        reason = f"passed: {checks[0].words}"
    return Decision(
        passed=not unmet,
        reason=reason,
        mode=policy.mode,
        test=test,
        checks=checks,
        benchmarks=benchmarks,
        **figures,
    )


def _gain(figures: dict[str, Any], groups: list[_Group], policy: GateSection, test: str) -> Check:
    gain, low, high, p = (figures[key] for key in ("gain", "gain_low", "gain_high", "p_value"))
    allowed = paired.level(policy.confidence)
    required = _points(policy.min_gain)
    met = gain > policy.min_gain and p <= allowed and low > policy.min_gain
    return Check(
        "gain",
        met,
        f"{policy.mode} {_percent(figures['candidate_value'])} against the champion's "
        f"{_percent(figures['champion_value'])} on {_questions(figures, groups)}, a gain of "
        f"{_points(gain)} points ({figures['wins']} won, {figures['losses']} lost, "
        f"{_chance(p)} by {TESTS[test]}, bootstrap {_points(low)} to {_points(high)}); required: "
        f"more than {required} points with p at most {allowed:.4g} and the bootstrap's lower "
        f"bound above {required}",
    )


def _loss(name: str, figures: Figures, policy: GateSection) -> Check:
    """A benchmark may not get worse: refused is a loss that is too large and no chance."""
    assert figures.gain is not None
    assert figures.p_loss is not None
    too_large = -figures.gain > policy.max_loss
    return Check(
        f"loss on {name}",
        not (too_large and figures.p_loss <= paired.level(policy.confidence)),
        f"{_percent(figures.candidate_value)} against {_percent(figures.champion_value)}, "
        f"{_points(figures.gain)} points ({figures.wins} won, {figures.losses} lost, "
        f"{_chance(figures.p_loss)} for a loss); allowed: a loss of at most "
        f"{100 * policy.max_loss:.2f} points, or one that may be chance "
        f"(p above {paired.level(policy.confidence):.4g})",
    )


def _unparsed(figures: dict[str, Any], policy: GateSection) -> Check:
    rate, rise, p = (figures[key] for key in ("unparsed_rate", "unparsed_rise", "p_unparsed"))
    allowed = paired.level(policy.confidence)
    risen = rise > policy.max_unparsed_rise and p <= allowed
    return Check(
        "unparsed answers",
        rate <= policy.max_unparsed_rate and not risen,
        f"{_percent(rate)} of the answers against the champion's "
        f"{_percent(figures['champion_unparsed_rate'])}, "
        f"{_points(rise)} points ({_chance(p)} for a rise); allowed: at most "
        f"{_percent(policy.max_unparsed_rate)}, and a rise of at most "
        f"{100 * policy.max_unparsed_rise:.2f} points or one that may be chance "
        f"(p above {allowed:.4g})",
    )


def _length(figures: dict[str, Any], policy: GateSection) -> Check:
    """A ratio of means over all questions: its noise is far below any sensible bound."""
    ours, theirs = figures["mean_tokens"], figures["champion_mean_tokens"]
    ratio = ours / max(theirs, 1.0)  # a champion that says nothing counts as one token
    return Check(
        "length",
        ratio <= policy.max_length_ratio,
        f"{ours:.1f} tokens an answer against the champion's {theirs:.1f}, {ratio:.2f} times as "
        f"long; allowed: at most {policy.max_length_ratio:.2f} times",
    )


def _questions(figures: dict[str, Any], groups: list[_Group]) -> str:
    count = f"{figures['num_examples']} questions"
    return count if len(groups) == 1 else f"{count} of {len(groups)} benchmarks (each counts alike)"


def _percent(value: float | None) -> str:
    assert value is not None
    return f"{100 * value:.2f} %"


def _points(value: float) -> str:
    return f"{100 * value:+.2f}"


def _chance(p: float) -> str:
    return f"p = {p:.4f}" if p >= 0.0001 else "p < 0.0001"
