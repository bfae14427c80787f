"""What the paper's tables are made of: benchmarks, recipes, rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chainsight.datasets import DATASETS
from chainsight.records import Mode


@dataclass(frozen=True)
class Benchmark:
    """A column of the paper's tables, and what it is here."""

    title: str
    dataset: str
    split: str

    @property
    def metric(self) -> str:
        return DATASETS[self.dataset].metric

    @property
    def size(self) -> int:
        """Questions of the whole split."""
        return DATASETS[self.dataset].sizes[self.split]


BENCHMARKS = {
    one.dataset: one
    for one in (
        Benchmark("A-OKVQA", "aokvqa", "validation"),
        Benchmark("ChartQA", "chartqa", "test"),
        Benchmark("DocVQA", "docvqa", "validation"),
        Benchmark("InfoVQA", "infographicvqa", "validation"),
        Benchmark("TextVQA", "textvqa", "validation"),
        Benchmark("AI2D", "ai2d", "test"),
        Benchmark("SQA", "scienceqa", "test"),
        Benchmark("MathVista", "mathvista", "testmini"),
        Benchmark("OCRBench", "ocrbench", "test"),
        Benchmark("MMStar", "mmstar", "val"),
        Benchmark("MMMU", "mmmu", "validation"),
    )
}


@dataclass(frozen=True)
class Recipe:
    """Which of our settings a row is: the chain of stages, and what must be set."""

    name: str
    """`base`, a recipe of `chainsight ablate` (sft, dpo, rft, star), or `verify`."""
    keys: Mapping[str, Any] = field(default_factory=dict)
    """Dotted settings and their values."""
    free: tuple[str, ...] = ()
    """Sections that may be set in any way: the paper does not say how it set them."""


@dataclass(frozen=True)
class Row:
    """A line of a table. Ours stand in it if they were made by its recipe; none: nobody can."""

    title: str
    recipe: Recipe | None = None
    cells: Mapping[Mode, Mapping[str, float]] = field(default_factory=dict)
    """By mode and dataset."""
    averages: Mapping[Mode, float] = field(default_factory=dict)
    """As printed."""


@dataclass(frozen=True)
class Table:
    """A table of the paper."""

    key: str
    name: str
    """What the paper calls it."""
    title: str
    columns: tuple[str, ...]
    """Datasets."""
    rows: tuple[Row, ...]
    layout: tuple[Row, ...] = ()
    """Rows that ours have on other benchmarks; none: the rows above that have a recipe."""
    varies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Recipes whose further settings belong here; what they may change, and what the paper has."""
    note: str = ""

    @property
    def own_rows(self) -> tuple[Row, ...]:
        return self.layout or tuple(row for row in self.rows if row.recipe)
