"""What distinguishes two sides: scores, answers won and lost, form, settings, time and cost."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chainsight import paired
from chainsight.decision import UNPARSED, dataset_of
from chainsight.provenance import Setting, settings_that_differ
from chainsight.records import MODES
from chainsight.report.compare.matching import Matched, Pair, match
from chainsight.report.compare.sides import Side
from chainsight.scoring import ALL

CONFIDENCE = 0.975
"""Of each bound: together they hold with 95 %."""


@dataclass(frozen=True)
class Line:
    """One benchmark in one mode, on the questions in common; values are 0 to 1."""

    mode: str
    dataset: str
    num_questions: int
    before: float
    after: float
    difference: float
    low: float
    high: float
    """Bounds of the difference, 95 %: paired bootstrap over the questions."""
    p_value: float
    """Two-sided, by the paired test that the gate uses."""
    won: int
    lost: int
    same_answer: float
    """Share of questions with the same extracted answer."""
    unparsed_before: float
    unparsed_after: float
    tokens_before: float
    """Mean an answer."""
    tokens_after: float
    tokens_low: float
    tokens_high: float
    """Bounds of the difference in tokens, 95 %."""

    @property
    def verdict(self) -> str:
        """In one word, by the interval: better, worse, or open."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "open"


@dataclass(frozen=True)
class Comparison:
    """What distinguishes `after` from `before`."""

    before: Side
    after: Side
    matched: Matched
    lines: tuple[Line, ...]
    """By mode: over all benchmarks where there are several, then each."""
    settings: tuple[Setting, ...]
    statuses: dict[tuple[str, str, str], int]
    """Mode, status before and after: number of questions."""

    @property
    def flips(self) -> tuple[Pair, ...]:
        """Questions that score differently; lost ones first, the largest losses before others."""
        changed = [pair for pair in self.matched.pairs if pair.difference]
        return tuple(sorted(changed, key=lambda pair: (pair.difference, pair.after.example_id)))


def compare(before: Side, after: Side) -> Comparison:
    """Compare two sides on the questions in common. Raises as `match`."""
    matched = match(before, after)
    return Comparison(
        before,
        after,
        matched,
        tuple(_lines(matched.pairs)),
        settings_that_differ(before.settings, after.settings),
        dict(Counter((p.after.mode, p.before.status, p.after.status) for p in matched.pairs)),
    )


def _lines(pairs: Iterable[Pair]) -> Iterable[Line]:
    groups: dict[str, dict[str, list[Pair]]] = {}
    for pair in pairs:
        datasets = groups.setdefault(pair.after.mode, {})
        datasets.setdefault(dataset_of(pair.after.example_id), []).append(pair)
    for mode in (mode for mode in MODES if mode in groups):
        datasets = groups[mode]
        if len(datasets) > 1:
            yield line(mode, ALL, list(datasets.values()))
        for dataset, own in datasets.items():
            yield line(mode, dataset, [own])


def line(mode: str, dataset: str, groups: Sequence[Sequence[Pair]]) -> Line:
    """The figures of some benchmarks: plain means of their means."""
    gains = [[pair.difference for pair in group] for group in groups]
    tokens = [[float(p.after.num_tokens - p.before.num_tokens) for p in group] for group in groups]
    low, high = _bounds(gains)
    tokens_low, tokens_high = _bounds(tokens)
    every = [gain for group in gains for gain in group]

    def mean(values: Sequence[Sequence[float]]) -> float:
        return paired.mean_of_means(values)

    return Line(
        mode=mode,
        dataset=dataset,
        num_questions=len(every),
        before=mean([[p.before.score for p in group] for group in groups]),
        after=mean([[p.after.score for p in group] for group in groups]),
        difference=mean(gains),
        low=low,
        high=high,
        p_value=_two_sided(gains),
        won=sum(gain > 0 for gain in every),
        lost=sum(gain < 0 for gain in every),
        same_answer=mean([[float(p.before.answer == p.after.answer) for p in g] for g in groups]),
        unparsed_before=mean([[float(p.before.status in UNPARSED) for p in g] for g in groups]),
        unparsed_after=mean([[float(p.after.status in UNPARSED) for p in g] for g in groups]),
        tokens_before=mean([[float(p.before.num_tokens) for p in group] for group in groups]),
        tokens_after=mean([[float(p.after.num_tokens) for p in group] for group in groups]),
        tokens_low=tokens_low,
        tokens_high=tokens_high,
    )


def _bounds(groups: Sequence[Sequence[float]]) -> tuple[float, float]:
    means = [paired.resampled_means(group, seed=str(n)) for n, group in enumerate(groups)]
    return paired.bounds(means, CONFIDENCE)


def _two_sided(gains: paired.Groups) -> float:
    losses = [[-gain for gain in group] for group in gains]
    return min(1.0, 2 * min(paired.p_value(gains), paired.p_value(losses)))
