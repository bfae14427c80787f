"""Intervals of paired differences, over questions and over training seeds, and of shares. Pure.

Shapes: s seeds, q questions, k different columns of differences, r resamples.

A difference of two settings varies for two reasons: which questions were asked, and which seed the
training had. Both are resampled, crossed (Owen, Annals of Applied Statistics 1:386, 2007): each
resample draws seeds and questions with replacement and takes all cells of the two. Such a bootstrap
has the right shape and the wrong width: it counts the noise of single cells three times, and of few
seeds it sees too little spread. So its deviations are stretched to the unbiased variance of two
crossed random factors, with Student's t by Satterthwaite's degrees of freedom. Questions of several
benchmarks are resampled each in its own; what is estimated is the plain mean of their means.

One seed: the paired bootstrap over questions, which says nothing about another training run.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from chainsight.paired import RESAMPLES

Array = NDArray[np.float64]
LEVEL = 0.95
"""Confidence of every interval, two-sided."""
PSEUDO = ((1.0, 0.5), (-1.0, 0.5), (0.0, 1.0))
"""Differences and how many questions of each are added before resampling, so that few differing
questions do not look certain: Agresti and Min's, as in `paired.p_value`. The estimate is without
them."""
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
CELLS = 2**22
"""Of resamples by columns held at once: 32 MiB."""


@dataclass(frozen=True)
class Interval:
    """A figure and the bounds of its interval."""

    value: float
    low: float
    high: float


def interval(groups: Sequence[Array], resamples: int = RESAMPLES) -> Interval:
    """The mean of the groups' means, with its interval.

    Args:
        groups: differences (s, q), one array a benchmark; seeds are the same in all.
        resamples: how many are drawn.
    """
    value = float(np.mean([group.mean() for group in groups]))
    deviations = _deviations(groups, resamples)
    if len(groups[0]) > 1:
        deviations *= _half_width(groups) / (Z * deviations.std())
    low, high = np.quantile(deviations, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(value, max(-1.0, value + float(low)), min(1.0, value + float(high)))


def seed_means(groups: Sequence[Array]) -> Array:
    """Each seed's mean of the groups' means, (s,)."""
    return np.asarray(np.mean([group.mean(axis=1) for group in groups], axis=0))


def _deviations(groups: Sequence[Array], resamples: int) -> Array:
    """Of resampled means from what they are resampled from, (r,). Equal values, equal resamples."""
    random = np.random.default_rng(0)
    num_seeds = len(groups[0])
    seeds_rs = random.multinomial(num_seeds, [1 / num_seeds] * num_seeds, resamples) / num_seeds
    means_rs: Array = np.mean([_resampled(one, random, resamples) for one in groups], axis=0)
    deviations_r: Array = (seeds_rs * means_rs).sum(axis=1)
    return deviations_r


def _resampled(group: Array, random: np.random.Generator, resamples: int) -> Array:
    """Seeds' means over resampled questions, less the mean of all, (r, s).

    Questions with equal differences are drawn together, which is the same and takes less time.
    """
    columns_sk, counts = np.unique(group, axis=1, return_counts=True)
    pseudo_sk = np.array([[value] * len(group) for value, _ in PSEUDO]).T
    columns_sk = np.hstack([columns_sk, pseudo_sk])
    shares = np.array([*counts, *(count for _, count in PSEUDO)])
    shares /= shares.sum()
    columns_sk -= (columns_sk @ shares).mean()
    at_once = max(1, CELLS // len(shares))
    drawn = [
        random.multinomial(group.shape[1], shares, min(at_once, resamples - start)) @ columns_sk.T
        for start in range(0, resamples, at_once)
    ]
    means_rs: Array = np.concatenate(drawn) / group.shape[1]
    return means_rs


def _half_width(groups: Sequence[Array]) -> float:
    """Student's t times the standard error of two crossed random factors, from mean squares.

    Seeds' means vary by the seeds and the cells, questions' means by the questions and the cells;
    the cells, counted twice, are taken off once. Never less than the one or the other alone.
    """
    num_seeds, share = len(groups[0]), 1 / len(groups)
    of_seeds = float(seed_means(groups).var(ddof=1)) / num_seeds
    of_questions = share**2 * sum(_of_questions(group) for group in groups)
    of_cells = share**2 * sum(_of_cells(group) for group in groups)
    variance = max(of_seeds + of_questions - of_cells, of_seeds, of_questions)
    rest = sum(group.shape[1] + 1 for group in groups) - 1
    terms = (of_seeds, num_seeds - 1), (of_questions, rest), (of_cells, rest * (num_seeds - 1))
    freedom = variance**2 / sum(term**2 / free for term, free in terms)  # Satterthwaite's
    return t_quantile(max(1.0, freedom)) * math.sqrt(variance)


def _of_questions(group: Array) -> float:
    """Variance of the mean that a new draw of questions gives, with `PSEUDO`."""
    means_q, count = group.mean(axis=0), group.shape[1] + sum(count for _, count in PSEUDO)
    squares = float((means_q**2).sum()) + sum(value**2 * count for value, count in PSEUDO)
    return float((squares - means_q.sum() ** 2 / count) / count**2)


def _of_cells(group: Array) -> float:
    """Variance of the mean by what neither the seed nor the question explains."""
    left = group - group.mean(axis=0) - group.mean(axis=1, keepdims=True) + group.mean()
    num_seeds, num_questions = group.shape
    freedom = (num_seeds - 1) * max(1, num_questions - 1)
    return float((left**2).sum() / freedom / group.size)


def t_quantile(freedom: float) -> float:
    """Bound that Student's t with so many degrees of freedom keeps to with `LEVEL`, two-sided.

    t = sqrt(freedom) tan(angle) makes its density a power of the cosine.
    """
    freedom = min(freedom, 10_000.0)
    angles = np.linspace(0, math.pi / 2, 20_001)
    density = np.cos(angles) ** (freedom - 1)
    mass = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return math.sqrt(freedom) * math.tan(float(np.interp(LEVEL * mass[-1], mass, angles)))


def wilson(share: float, count: float) -> Interval:
    """Wilson's interval of a share of `count`, which holds at 0 and 1, too."""
    middle = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z / (1 + Z**2 / count) * math.sqrt(share * (1 - share) / count + (Z / count) ** 2 / 4)
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def accuracy(value: float, standard_error: float, num_questions: int) -> Interval:
    """Wilson's interval of a mean score, 0 to 1.

    With as many questions as would give its standard error, were they right or wrong: for a
    single benchmark of such questions they are all but one; a value of 0 or 1 has all.
    """
    spread = value * (1 - value)
    known = standard_error and spread
    return wilson(value, spread / standard_error**2 if known else num_questions)
