"""Our figures: one result a seed, and their mean with its interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from chainsight.analysis.intervals import accuracy, t_quantile


class Place(NamedTuple):
    """What was asked, and how."""

    mode: str
    dataset: str


@dataclass(frozen=True)
class Result:
    """A score, 0 to 1, over all questions of one dataset."""

    value: float
    standard_error: float
    num_examples: int
    metric: str


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval, 0 to 1."""

    value: float
    low: float
    high: float
    num_seeds: int
    """1: the interval is over the questions (Wilson's). Several: over the seeds (Student's t)."""
    num_examples: int


def estimate(results: Sequence[Result]) -> Estimate:
    """One benchmark's results, a seed each."""
    values = [result.value for result in results]
    count = min(result.num_examples for result in results)
    if len(values) == 1:
        return over_questions(values[0], results[0].standard_error, count)
    return over_seeds(values, count)


def over_questions(value: float, standard_error: float, num_examples: int) -> Estimate:
    """One seed's score: Wilson's interval."""
    found = accuracy(value, standard_error, num_examples)
    return Estimate(value, found.low, found.high, 1, num_examples)


def over_seeds(values: Sequence[float], num_examples: int) -> Estimate:
    """The mean of several seeds: Student's interval, which is wide for few of them."""
    count = len(values)
    mean = math.fsum(values) / count
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    half = t_quantile(count - 1) * math.sqrt(variance / count)
    return Estimate(mean, max(0.0, mean - half), min(1.0, mean + half), count, num_examples)


def mean_of(settled: Sequence[Sequence[Result]]) -> Estimate:
    """The plain mean over benchmarks; `settled` has of each the seeds' results, in one order."""
    rows = list(zip(*settled, strict=True))
    count = sum(column[0].num_examples for column in settled)
    means = [math.fsum(result.value for result in row) / len(row) for row in rows]
    if len(means) > 1:
        return over_seeds(means, count)
    error = math.sqrt(math.fsum(result.standard_error**2 for result in rows[0])) / len(rows[0])
    return over_questions(means[0], error, count)
