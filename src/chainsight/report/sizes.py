"""How much there is of everything, and every score: counted in the artifacts themselves."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chainsight.report.rows import column


@dataclass(frozen=True)
class Sizes:
    """Numbers of rows; None: there is no such artifact yet."""

    examples: Mapping[str, int] = field(default_factory=dict)
    """By dataset."""
    benchmarks: Mapping[str, int] = field(default_factory=dict)
    rationales: int | None = None
    """Kept ones."""
    teachers: tuple[str, ...] = ()
    candidates: int | None = None
    pairs: int | None = None
    paired: int = 0
    """Questions that have a pair."""


def sizes(folders: Mapping[str, Path]) -> Sizes:
    """Count the rows of a run's artifacts."""
    pairs = column(folders, "pairs", "example_id")
    candidates = column(folders, "candidates", "index")
    teachers = column(folders, "rationales", "teacher")
    return Sizes(
        examples=Counter(column(folders, "examples", "dataset") or ()),
        benchmarks=Counter(column(folders, "benchmarks", "dataset") or ()),
        rationales=None if teachers is None else len(teachers),
        teachers=tuple(dict.fromkeys(teachers or ())),
        candidates=None if candidates is None else len(candidates),
        pairs=None if pairs is None else len(pairs),
        paired=len(set(pairs or ())),
    )


def datasets(folders: Mapping[str, Path]) -> Mapping[str, str]:
    """The dataset of each held-out question."""
    keys, names = (column(folders, "benchmarks", name) or () for name in ("id", "dataset"))
    return dict(zip(keys, names, strict=True))


def scores_by_voice(folders: Mapping[str, Path]) -> dict[tuple[str, str], dict[str, float]]:
    """By (model, mode): the score of each held-out question."""
    columns = ("model", "mode", "example_id", "score")
    rows = zip(*(column(folders, "predictions", name) or () for name in columns), strict=True)
    found: dict[tuple[str, str], dict[str, float]] = {}
    for model, mode, key, score in rows:
        found.setdefault((model, mode), {})[key] = score
    return found
