"""What distinguishes two sides: scores, answers won and lost, form, settings, time and cost."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from chainsight import paired
from chainsight.analysis.agreement import agreements
from chainsight.analysis.differences import measured
from chainsight.analysis.intervals import Interval
from chainsight.analysis.slices import slices, traits
from chainsight.decision import UNPARSED, dataset_of
from chainsight.provenance import Setting, settings_that_differ
from chainsight.records import MODES, Example, Prediction
from chainsight.report.compare.matching import Matched, Pair, match
from chainsight.report.compare.sides import Side
from chainsight.report.evidence import Evidence, Sliced, pixels
from chainsight.scoring import ALL

CONFIDENCE = 0.975
"""Of each bound: together they hold with 95 %."""


@dataclass(frozen=True)
class Line:
    """One benchmark in one mode, on the questions in common; values are 0 to 1.

    Over several benchmarks each figure is the plain mean of theirs.
    """

    mode: str
    dataset: str
    num_questions: int
    before: float
    after: float
    gain: Interval
    """`after` less `before`, with 95 %."""
    num_won: int
    num_lost: int
    p_value: float
    """Two-sided, by the paired test that the gate uses."""
    same_answer: float
    """Share of questions with the same extracted answer."""
    unread_before: float
    """Share of answers that nobody can read: no marker, cut off, empty."""
    unread_after: float
    tokens_before: float
    """Mean an answer."""
    tokens_after: float
    tokens_gain: tuple[float, float]
    """Bounds of the difference, 95 %."""

    @property
    def verdict(self) -> str:
        """In one word, by the interval: better, worse, or open."""
        if self.gain.low > 0:
            return "better"
        return "worse" if self.gain.high < 0 else "open"


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
    evidence: Evidence
    """By kinds of question, and direct against reasoned answers."""

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
        changed(before, after),
        dict(Counter((p.after.mode, p.before.status, p.after.status) for p in matched.pairs)),
        _evidence(matched.pairs, after.questions or {}),
    )


def _evidence(pairs: Iterable[Pair], examples: Mapping[str, Example]) -> Evidence:
    """What the report says of a run's models, of A and B."""
    answered: dict[tuple[str, str], dict[str, Prediction]] = {}
    for pair in pairs:
        name = pair.after.example_id
        answered.setdefault(("A", pair.after.mode), {})[name] = pair.before
        answered.setdefault(("B", pair.after.mode), {})[name] = pair.after
    known = {key: examples[key] for own in answered.values() for key in own if key in examples}
    sizes = {key: size for key, example in known.items() if (size := pixels(example))}
    sliced = tuple(
        Sliced("B", "A", mode, tuple(slices(answered["B", mode], answered["A", mode], found)))
        for mode in MODES
        if ("B", mode) in answered
        for found in [traits(known, sizes, answered, ("A", "B"), mode)]
    )
    return Evidence((), sliced, tuple(agreements(answered)), ())


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
    """The figures of some benchmarks, a group each."""

    def mean(value: Callable[[Pair], float]) -> float:
        return paired.mean_of_means([[value(pair) for pair in group] for group in groups])

    count, gain, won, lost, p_value = measured([[p.difference for p in g] for g in groups])
    return Line(
        mode=mode,
        dataset=dataset,
        num_questions=count,
        before=mean(lambda pair: pair.before.score),
        after=mean(lambda pair: pair.after.score),
        gain=gain,
        num_won=won,
        num_lost=lost,
        p_value=p_value,
        same_answer=mean(lambda pair: pair.before.answer == pair.after.answer),
        unread_before=mean(lambda pair: pair.before.status in UNPARSED),
        unread_after=mean(lambda pair: pair.after.status in UNPARSED),
        tokens_before=mean(lambda pair: pair.before.num_tokens),
        tokens_after=mean(lambda pair: pair.after.num_tokens),
        tokens_gain=_longer(groups),
    )


def _longer(groups: Sequence[Sequence[Pair]]) -> tuple[float, float]:
    """Bounds of the difference in tokens: the paired bootstrap, as lengths have no bound."""
    gains = [[float(p.after.num_tokens - p.before.num_tokens) for p in group] for group in groups]
    means = [paired.resampled_means(group, seed=str(n)) for n, group in enumerate(gains)]
    return paired.bounds(means, CONFIDENCE)


def changed(before: Side, after: Side) -> tuple[Setting, ...]:
    """The settings that differ; a stage that only one side went through is one line."""
    found = settings_that_differ(before.settings, after.settings)
    alone = {
        name: (name in before.spent, name in after.spent)
        for name in {**before.spent, **after.spent}
        if (name in before.spent) != (name in after.spent)
    }
    words = {True: "done", False: "not done"}
    lines = [Setting(f"stage {n}", words[was], words[now]) for n, (was, now) in alone.items()]
    return (*lines, *(one for one in found if one.name.partition(".")[0] not in alone))
