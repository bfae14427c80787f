"""Accuracy against the number of samples, with bootstrap bands, paired by question with greedy.

Letters in shapes: Q questions, C columns (a method at an n), R resamples. Several benchmarks count
alike, as in `paired`: the mean of their means.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from chainsight import paired
from chainsight.analysis import voting
from chainsight.analysis.voting import METHODS, Method, Question

CONFIDENCE = 0.95
"""Of the intervals, two-sided."""


@dataclass(frozen=True)
class Point:
    """A method with `n` samples: its accuracy, and how far it is above greedy; both 0 to 1."""

    method: Method
    n: int
    value: float
    low: float
    high: float
    gain: float
    gain_low: float
    gain_high: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def sizes(num_candidates: int) -> tuple[int, ...]:
    """1, 2, 4, ... and the number itself."""
    powers = {1 << k for k in range(num_candidates.bit_length())}
    return tuple(sorted({n for n in powers if n <= num_candidates} | {num_candidates}))


def curves(
    groups: Mapping[str, Sequence[Question]],
    methods: Sequence[Method] = METHODS,
    max_words: int = 90,
) -> list[Point]:
    """A point for each method and n, over the questions of each benchmark.

    All columns are resampled alike, so that two curves of one call can be compared.
    """
    questions = [question for own in groups.values() for question in own]
    ns = sizes(min(len(voting.samples(question)) for question in questions))
    columns = [(method, n) for method in methods for n in ns]
    scores = [_table(own, methods, ns, max_words) for own in groups.values()]
    base = [np.array([[voting.greedy(one).score] for one in own]) for own in groups.values()]
    gains = [own - first for own, first in zip(scores, base, strict=True)]
    return [
        Point(*column, *own, *gain)
        for column, own, gain in zip(columns, _figures(scores), _figures(gains), strict=True)
    ]


def _table(
    questions: Sequence[Question], methods: Sequence[Method], ns: Sequence[int], max_words: int
) -> np.ndarray:
    """Expected scores [Q, C]."""
    return np.array(
        [
            [score for method in methods for score in voting.values(method, one, ns, max_words)]
            for one in questions
        ]
    )


def _figures(groups: Sequence[np.ndarray]) -> list[tuple[float, float, float]]:
    """Mean of means with its interval, of each column of the groups' tables [Q, C]."""
    means = np.mean([own.mean(0) for own in groups], 0)  # [C]
    resampled = np.mean([_resampled(k, own) for k, own in enumerate(groups)], 0)  # [R, C]
    tail = 1 - (1 - CONFIDENCE) / 2
    return [
        (float(mean), *paired.bounds([column.tolist()], tail))
        for mean, column in zip(means, resampled.T, strict=True)
    ]


def _resampled(number: int, table: np.ndarray) -> np.ndarray:
    """Means [R, C] over questions drawn with replacement, the same ones for all columns."""
    count = len(table)
    drawn = np.random.default_rng(number).multinomial(
        count, np.full(count, 1 / count), size=paired.RESAMPLES
    )
    found: np.ndarray = drawn @ table / count
    return found
