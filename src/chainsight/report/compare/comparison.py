"""What distinguishes two sides: scores, answers won and lost, form, settings, time and cost.

The answers of both are laid side by side as those of two models, A and B, so that everything that
the report says of a run's models is said of them.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from chainsight import paired, records
from chainsight.analysis.differences import Difference
from chainsight.analysis.intervals import LEVEL, Interval
from chainsight.decision import UNPARSED, dataset_of
from chainsight.provenance import Setting, settings_that_differ
from chainsight.records import Example, Prediction
from chainsight.report.compare.matching import Matched, Pair, match
from chainsight.report.compare.sides import Side
from chainsight.report.evidence import Evidence, collect_evidence
from chainsight.report.samples import Samples, choose_samples
from chainsight.scoring import ALL


@dataclass(frozen=True)
class Line:
    """One benchmark in one mode, on the questions in common; values are 0 to 1.

    Over several benchmarks each figure is the plain mean of theirs.
    """

    difference: Difference
    """B less A."""
    before: float
    after: float
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
    def mode(self) -> str:
        return self.difference.mode

    @property
    def dataset(self) -> str:
        return self.difference.dataset

    @property
    def gain(self) -> Interval:
        return self.difference.gain

    @property
    def verdict(self) -> str:
        """In one word: better, worse, or open; as sure as in a run's report."""
        if not self.difference.is_sure:
            return "open"
        return "better" if self.gain.value > 0 else "worse"


@dataclass(frozen=True)
class Comparison:
    """What distinguishes `after` from `before`."""

    before: Side
    after: Side
    matched: Matched
    lines: tuple[Line, ...]
    """By mode: over all benchmarks where there are several, then each."""
    settings: tuple[Setting, ...]
    statuses: Mapping[tuple[str, str, str], int]
    """Mode, status before and after: number of questions."""
    evidence: Evidence
    """Of the models A and B."""
    samples: Samples | None
    """Likewise."""

    @property
    def flips(self) -> tuple[Pair, ...]:
        """Questions that score differently; the largest losses before others."""
        changed = [pair for pair in self.matched.pairs if pair.difference]
        return tuple(sorted(changed, key=lambda pair: (pair.difference, pair.after.example_id)))

    @property
    def is_one(self) -> bool:
        """Whether both sides are the same answers."""
        before, after = (
            (one.store.uri, one.manifest.key, one.model) for one in (self.before, self.after)
        )
        return before == after


def compare(before: Side, after: Side) -> Comparison:
    """Compare two sides on the questions in common. Raises as `match`."""
    matched = match(before, after)
    with TemporaryDirectory() as root:
        folders = _together(matched.pairs, after.benchmarks, Path(root))
        evidence, samples = collect_evidence(folders), choose_samples(folders)
    assert evidence is not None
    return Comparison(
        before,
        after,
        matched,
        tuple(_line(one, matched.pairs) for one in evidence.differences),
        changed(before, after),
        Counter((p.after.mode, p.before.status, p.after.status) for p in matched.pairs),
        evidence,
        samples,
    )


def _together(pairs: Sequence[Pair], benchmarks: Path | None, root: Path) -> dict[str, Path]:
    """The answers of both sides as an evaluation of two models."""
    both = [
        replace(row, model=model, example_id=pair.after.example_id)
        for pair in pairs
        for model, row in (("A", pair.before), ("B", pair.after))
    ]
    records.write(root / "predictions.parquet", both, Prediction)
    if benchmarks is None:
        asked = {pair.after.example_id: _as_asked(pair.after) for pair in pairs}
        records.write(root / "benchmarks.parquet", asked.values(), Example)
    return {"predictions": root, "benchmarks": benchmarks or root}


def _as_asked(row: Prediction) -> Example:
    """What an answer tells of its question."""
    dataset, question = dataset_of(row.example_id), row.question or row.prompt
    return Example(row.example_id, dataset, "", question, ("not known",), "")


def _line(difference: Difference, pairs: Iterable[Pair]) -> Line:
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        dataset = dataset_of(pair.after.example_id)
        if pair.after.mode == difference.mode and difference.dataset in (ALL, dataset):
            groups.setdefault(dataset, []).append(pair)

    def mean(value: Callable[[Pair], float]) -> float:
        return paired.mean_of_means([[value(pair) for pair in own] for own in groups.values()])

    return Line(
        difference,
        before=mean(lambda pair: pair.before.score),
        after=mean(lambda pair: pair.after.score),
        same_answer=mean(lambda pair: pair.before.answer == pair.after.answer),
        unread_before=mean(lambda pair: pair.before.status in UNPARSED),
        unread_after=mean(lambda pair: pair.after.status in UNPARSED),
        tokens_before=mean(lambda pair: pair.before.num_tokens),
        tokens_after=mean(lambda pair: pair.after.num_tokens),
        tokens_gain=_longer(groups),
    )


def _longer(groups: Mapping[str, Sequence[Pair]]) -> tuple[float, float]:
    """Bounds of the difference in tokens."""
    means = [
        paired.resampled_means(
            [float(pair.after.num_tokens - pair.before.num_tokens) for pair in own], seed=name
        )
        for name, own in groups.items()
    ]
    return paired.bounds(means, (1 + LEVEL) / 2)


def changed(before: Side, after: Side) -> tuple[Setting, ...]:
    """The settings that differ; a stage that only one side went through is one line."""
    found = settings_that_differ(before.settings, after.settings)
    words = {True: "done", False: "not done"}
    alone = {
        name: Setting(f"stage {name}", words[name in before.spent], words[name in after.spent])
        for name in {**before.spent, **after.spent}
        if (name in before.spent) != (name in after.spent)
    }
    kept = (one for one in found if one.name.partition(".")[0] not in alone)
    return (*alone.values(), *kept)
