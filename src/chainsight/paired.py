"""Paired statistics: two models on the same questions, one difference a question. Pure.

Differences come in groups, a group a benchmark. The gain over several is the plain mean of the
groups' means, as `scoring.headline` counts: a big benchmark does not swamp a small one. Test and
bootstrap are about that same number.
"""

import math
from collections.abc import Sequence
from random import Random
from typing import Literal

Groups = Sequence[Sequence[float]]
"""Differences, candidate less champion, by benchmark."""
Test = Literal["mcnemar", "agresti-min", "stratified"]

RESAMPLES = 2000
"""Of the bootstrap: a 5 % tail is met to half a percentage point; 10,000 questions take 2 s."""


def mean_of_means(groups: Groups) -> float:
    """The groups' means, each with the same weight."""
    return math.fsum(math.fsum(group) / len(group) for group in groups) / len(groups)


def which_test(groups: Groups, margin: float = 0.0) -> Test:
    """Which test `p_value` uses for these differences."""
    if len(groups) > 1:
        return "stratified"
    whole = all(difference in (-1.0, 0.0, 1.0) for difference in groups[0])
    return "mcnemar" if whole and margin == 0 else "agresti-min"


def p_value(groups: Groups, margin: float = 0.0) -> float:
    """One-sided p-value of "the true mean of means is at most `margin`".

    One benchmark, right-or-wrong scores, margin 0: McNemar's exact test, the sign test over the
    questions that differ. Other scores or margins: Agresti and Min's Wald test for matched pairs
    (Statistics in Medicine 24:729, 2005), which adds one won and one lost half-question so that
    few differing questions do not look certain. Several benchmarks: the same estimate and variance
    in each, added as independent strata, since the pooled questions of McNemar's test would weigh
    benchmarks by their size.
    """
    if which_test(groups, margin) == "mcnemar":
        wins = sum(difference > 0 for difference in groups[0])
        return exact_p_value(wins, sum(difference < 0 for difference in groups[0]))
    estimates = [_adjusted(group) for group in groups]
    mean = math.fsum(mean for mean, _ in estimates) / len(groups)
    error = math.sqrt(math.fsum(variance for _, variance in estimates)) / len(groups)
    return 0.5 * math.erfc((mean - margin) / error / math.sqrt(2))


def exact_p_value(wins: int, losses: int) -> float:
    """McNemar's exact test, one-sided: chance of at least `wins` of the questions that differ."""
    either = wins + losses
    term, tail = 1, 0  # term: the ways to win `won` of `either`
    for won in range(either, wins - 1, -1):
        tail += term
        term = term * won // (either - won + 1)
    return tail / (1 << either)  # of integers, which no power of two overflows


def _adjusted(group: Sequence[float]) -> tuple[float, float]:
    """Agresti and Min's mean of the differences, and its variance."""
    count = len(group) + 2
    total = math.fsum(group)
    squares = math.fsum(difference**2 for difference in group) + 1
    return total / count, (squares - total**2 / count) / count**2


def resampled_means(group: Sequence[float], seed: str) -> list[float]:
    """The means of bootstrap resamples of one group; equal seeds and values, equal means."""
    random, count = Random(seed), len(group)  # noqa: S311 - no secret
    return [math.fsum(random.choices(group, k=count)) / count for _ in range(RESAMPLES)]


def bounds(means: Sequence[Sequence[float]], confidence: float) -> tuple[float, float]:
    """Lower and upper bootstrap bound of the mean of means, each with one-sided `confidence`.

    `means` are the groups' `resampled_means`, one group's independent of another's.
    """
    overall = sorted(math.fsum(one) / len(means) for one in zip(*means, strict=True))
    cut = int(level(confidence) * len(overall))
    return overall[cut], overall[-1 - cut]


def level(confidence: float) -> float:
    """The largest p-value that the confidence allows."""
    return round(1 - confidence, 12)  # 1 - 0.95 is 0.050000000000000044
