"""The paper's tables, each with the lines of ours that belong to it.

Beside the paper's figures stand ours of the same benchmark only: the same dataset, split and
metric, and all of its questions. All other benchmarks of ours come in tables of their own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from chainsight.records import MODES, Mode
from chainsight.report.paper.figures import Estimate, Place, Result, estimate, mean_of
from chainsight.report.paper.published import TABLES
from chainsight.report.paper.settings import NEXT_8B, Setting, is_of, variation
from chainsight.report.paper.terms import BENCHMARKS, Row, Table

ENOUGH = 0.99
"""Share of a benchmark's questions that must be there: some rows of a source are always bad."""
AVERAGE = "average"
"""Column of a table's plain mean."""


@dataclass(frozen=True)
class Splits:
    """Which splits our benchmarks are of, by dataset."""

    of: Mapping[str, tuple[str, ...]]

    def why_not(self, dataset: str, result: Result) -> str:
        """Why a benchmark of ours is not the paper's; "" if it is."""
        theirs = BENCHMARKS.get(dataset)
        if theirs is None:
            return "not in the paper"
        if self.of.get(dataset, ()) != (theirs.split,):
            return f"split {'+'.join(self.of.get(dataset, ('?',)))}, not {theirs.split}"
        if theirs.metric not in result.metric.split("+"):
            return f"{result.metric}, not {theirs.metric}"
        if result.num_examples < ENOUGH * theirs.size:
            return f"{result.num_examples:,} of its {theirs.size:,} questions"
        return ""


@dataclass(frozen=True)
class Cell:
    """A figure of ours, or why there is none."""

    estimate: Estimate | None
    why: str = ""


@dataclass(frozen=True)
class Line:
    """One line: a row of the paper and a prompt, with the paper's figures or with ours."""

    row: str
    mode: Mode
    setting: Setting | None = None
    """Ours; none: the paper's."""
    published: Mapping[str, float] = field(default_factory=dict)
    """By column, with `AVERAGE`."""
    cells: Mapping[str, Cell] = field(default_factory=dict)
    """Likewise."""


@dataclass(frozen=True)
class Shown:
    """A table as it is shown."""

    table: Table
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    own: bool
    """Whether it holds figures of ours alone, in the paper's layout."""

    @property
    def has_ours(self) -> bool:
        return any(cell.estimate for line in self.lines for cell in line.cells.values())


@dataclass(frozen=True)
class Paper:
    """Everything that `report --paper` shows."""

    settings: tuple[Setting, ...]
    beside: tuple[Shown, ...]
    """The paper's tables, with ours where the benchmark is the same."""
    own: tuple[Shown, ...]
    """Ours on all other benchmarks."""
    left: tuple[Setting, ...]
    """Settings that are no row of any table."""
    others: Mapping[str, str]
    """Why each other benchmark of ours is not the paper's."""


def lay_out(settings: Sequence[Setting], splits: Splits) -> Paper:
    """The paper's tables with what of ours belongs into them."""
    others = _others(settings, splits)
    beside = tuple(_beside(table, settings, others) for table in TABLES)
    own = [made for t in TABLES if (made := _own(t, settings, tuple(others))) is not None]
    shown = {line.setting.name for one in (*beside, *own) for line in one.lines if line.setting}
    left = tuple(setting for setting in settings if setting.name not in shown)
    if left:
        own.append(_further(left))
    return Paper(tuple(settings), beside, tuple(own), left, others)


FURTHER = Table("further", "Not in the paper", "Settings that no row of it is made like", (), ())


def _further(left: Sequence[Setting]) -> Shown:
    places = [place for s in left for results in s.results.values() for place in results]
    columns = _with_average(dict.fromkeys(place.dataset for place in places))
    modes = [mode for mode in MODES if any(place.mode == mode for place in places)]
    lines = [
        line
        for setting in left
        for mode in modes
        for line in _own_lines(setting.described(), mode, [setting], columns)
    ]
    return Shown(FURTHER, columns, tuple(lines), own=True)


def _with_average(datasets: Iterable[str]) -> tuple[str, ...]:
    names = tuple(datasets)
    return (*names, AVERAGE) if len(names) > 1 else names


def _others(settings: Iterable[Setting], splits: Splits) -> dict[str, str]:
    """Our benchmarks that are not the paper's, and why."""
    found = {}
    for setting in settings:
        for results in setting.results.values():
            for place, result in results.items():
                if why := splits.why_not(place.dataset, result):
                    found[place.dataset] = why
    return found


# --- beside the paper's figures ----------------------------------------------------------------


def _beside(table: Table, settings: Sequence[Setting], others: Mapping[str, str]) -> Shown:
    averaged = any(row.averages for row in table.rows)
    columns = (*table.columns, *([AVERAGE] if averaged else []))
    lines = []
    for row in table.rows:
        for mode, figures in row.cells.items():
            average = {AVERAGE: row.averages[mode]} if mode in row.averages else {}
            lines.append(Line(row.title, mode, published={**figures, **average}))
            lines += [
                made
                for setting in settings
                if _is_published(setting, row)
                and (made := _ours(row.title, mode, setting, columns, others)) is not None
            ]
    return Shown(table, columns, tuple(lines), own=False)


def _is_published(setting: Setting, row: Row) -> bool:
    """Whether a setting may stand beside a row's figures: a base only if it is the paper's."""
    if row.recipe is None or not is_of(setting, row.recipe):
        return False
    return row.recipe.name != "base" or setting.value("model.base") in NEXT_8B


def _ours(
    title: str, mode: Mode, setting: Setting, columns: Sequence[str], others: Mapping[str, str]
) -> Line | None:
    """A line beside the paper's; none where no benchmark is the same."""
    cells = {c: _cell(setting, mode, c, others.get(c, "")) for c in columns if c != AVERAGE}
    if not any(cell.estimate for cell in cells.values()):
        return None
    if AVERAGE in columns:
        cells[AVERAGE] = _average(setting, mode, cells)
    return Line(title, mode, setting, cells=cells)


def _cell(setting: Setting, mode: Mode, dataset: str, why_not: str) -> Cell:
    if why_not:
        return Cell(None, why_not)
    found = _results(setting, mode, dataset)
    return Cell(estimate(found)) if found else Cell(None, "no run")


def _results(setting: Setting, mode: Mode, dataset: str) -> list[Result]:
    place = Place(mode, dataset)
    return [results[place] for results in setting.results.values() if place in results]


def _average(setting: Setting, mode: Mode, cells: Mapping[str, Cell]) -> Cell:
    """Of a whole line only: the mean of some benchmarks is no figure of the paper's."""
    if any(cell.estimate is None for cell in cells.values()):
        return Cell(None, "not all benchmarks")
    settled = [_results(setting, mode, dataset) for dataset in cells]
    if len({len(results) for results in settled}) > 1:
        return Cell(None, "not all seeds")
    return Cell(mean_of(settled))


# --- tables of our own -------------------------------------------------------------------------


def _own(table: Table, settings: Sequence[Setting], datasets: tuple[str, ...]) -> Shown | None:
    """A table's layout filled with ours; none without a setting that makes it worth showing."""
    rows = [
        (row.title, [s for s in settings if row.recipe and is_of(s, row.recipe)])
        for row in table.own_rows
    ]
    taken = {setting.name for _, own in rows for setting in own}
    rows += [(t, [s]) for s in settings if s.name not in taken and (t := variation(s, table))]
    if not datasets or not _is_worth(table, rows):
        return None
    columns = _with_average(datasets)
    asked = [mode for mode in MODES if any(_asked(own, mode) for _, own in rows)]
    lines = [
        line
        for title, own in rows
        for mode in asked
        for line in _own_lines(title, mode, own, columns)
    ]
    return Shown(table, columns, tuple(lines), own=True)


def _asked(settings: Iterable[Setting], mode: Mode) -> bool:
    return any(place.mode == mode for s in settings for r in s.results.values() for place in r)


def _is_worth(table: Table, rows: Sequence[tuple[str, Sequence[Setting]]]) -> bool:
    """The main table always; another if it compares something that the main one has not."""
    filled = [own for _, own in rows if own]
    if table is TABLES[0]:
        return bool(filled)
    main = [row.recipe for row in TABLES[0].own_rows if row.recipe]
    new = (s for own in filled for s in own if not any(is_of(s, recipe) for recipe in main))
    return any(new)


def _own_lines(
    title: str, mode: Mode, own: Sequence[Setting], columns: Sequence[str]
) -> list[Line]:
    if not own:
        return [Line(title, mode, cells={column: Cell(None, "no run") for column in columns})]
    lines = []
    for setting in own:
        cells = {c: _cell(setting, mode, c, "") for c in columns if c != AVERAGE}
        if AVERAGE in columns:
            cells[AVERAGE] = _average(setting, mode, cells)
        lines.append(Line(title, mode, setting, cells=cells))
    return lines
