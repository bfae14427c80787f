"""Accuracy against the number of samples, with intervals of the gain over the greedy answer.

Paired by question. Several benchmarks count alike: the plain mean of their means.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from chainsight.analysis import voting
from chainsight.analysis.intervals import Interval, interval
from chainsight.analysis.voting import METHODS, PAPER, Method, Question, Scale
from chainsight.decision import dataset_of
from chainsight.records import Verified

Groups = Mapping[str, Sequence[Question]]
"""Questions by benchmark."""


@dataclass(frozen=True)
class Point:
    """A method with `n` samples: its accuracy, 0 to 1, and how far it is above the greedy answer of
    the model that drew them."""

    method: Method
    n: int
    value: float
    gain: float
    low: float
    """Bounds of the gain."""
    high: float


def grouped(rows: Iterable[Verified]) -> dict[str, list[Question]]:
    """The questions of each benchmark; the answers to a question stand together in `rows`."""
    found: dict[str, list[Question]] = {}
    for example_id, own in groupby(rows, key=lambda one: one.example_id):
        found.setdefault(dataset_of(example_id), []).append(list(own))
    return found


def sizes(num_candidates: int) -> tuple[int, ...]:
    """1, 2, 4, ... and the number itself."""
    powers = {1 << k for k in range(num_candidates.bit_length())}
    return tuple(sorted(powers | {num_candidates}))


def curves(
    groups: Groups,
    methods: Sequence[Method] = METHODS,
    scale: Scale = PAPER,
    ns: Sequence[int] | None = None,
) -> list[Point]:
    """A point for each method and number of samples (`voting.values`); `ns` none: `sizes`."""
    if ns is None:
        ns = sizes(min(len(voting.samples(one)) for own in groups.values() for one in own))
    scores = {
        method: [
            np.array([voting.values(method, one, ns, scale) for one in own])
            for own in groups.values()
        ]
        for method in dict.fromkeys(("greedy", *methods))
    }
    return [
        _point(
            method, n, [own[:, k] for own in scores[method]], [g[:, k] for g in scores["greedy"]]
        )
        for method in methods
        for k, n in enumerate(ns)
    ]


def _point(
    method: Method, n: int, scores: Sequence[np.ndarray], greedy: Sequence[np.ndarray]
) -> Point:
    """From each question's score, by method and greedily; one array a benchmark."""
    value = float(np.mean([own.mean() for own in scores]))
    found = Interval(0.0, 0.0, 0.0)
    if method != "greedy":
        found = interval([(one - g)[None] for one, g in zip(scores, greedy, strict=True)])
    return Point(method, n, value, found.value, found.low, found.high)


def flat(points: Iterable[Point]) -> dict[str, float]:
    """`best/accuracy`, and its gain over greedy with bounds: metrics, for points of one n."""
    values: dict[str, float] = {}
    for point in points:
        values[f"{point.method}/accuracy"] = point.value
        if point.method != "greedy":
            gain = {"gain": point.gain, "gain_low": point.low, "gain_high": point.high}
            values |= {f"{point.method}/{name}": one for name, one in gain.items()}
    return values
