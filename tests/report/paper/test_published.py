"""The paper's figures, as far as they check each other."""

import math
from collections.abc import Iterable

import pytest

from chainsight.report.paper.published import BEST_AVERAGES, TABLES
from chainsight.report.paper.terms import BENCHMARKS, Row, Table

AVERAGED = [(row, mode) for table in TABLES for row in table.rows for mode in row.averages]
SUMS = {
    "compositions": 6807.4,
    "baselines": 2520.7,
    "truncation": 1652.9,
    "rft": 4091.3,
    "star": 2183.3,
    "verifier": 275.0,
    "mathematics": 880.5,
    "science": 788.7,
    "pilot": 286.3,
    "others": 3875.8,
}
"""Of all figures of a table, added up from the paper's text by a script: a slip would show."""


def mean(values: Iterable[float]) -> float:
    found = list(values)
    return math.fsum(found) / len(found)


@pytest.mark.parametrize(("row", "mode"), AVERAGED, ids=lambda one: getattr(one, "title", one))
def test_a_printed_average_is_the_mean_of_its_line(row: Row, mode: str) -> None:
    assert mean(row.cells[mode].values()) == pytest.approx(row.averages[mode], abs=0.051)


def test_all_lines_of_the_two_main_tables_are_averaged() -> None:
    assert len(AVERAGED) == 12 + 4


def test_the_average_of_the_better_prompt_recomputes() -> None:
    rows = {row.title: row for table in TABLES for row in table.rows}
    for title, printed in BEST_AVERAGES.items():
        modes = rows[title].cells.values()
        best = [max(cells[name] for cells in modes) for name in BENCHMARKS]
        assert mean(best) == pytest.approx(printed, abs=0.051), title


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.key)
def test_no_figure_was_changed(table: Table) -> None:
    figures = [f for row in table.rows for cells in row.cells.values() for f in cells.values()]
    assert math.fsum(figures) == pytest.approx(SUMS[table.key], abs=1e-6)


def test_rows_that_several_tables_print_have_equal_figures() -> None:
    known: dict[tuple[str, str, str], float] = {}
    for table in TABLES:
        for row in table.rows:
            if row.recipe is None or set(row.recipe.keys) - {"sft.composition"}:
                continue
            name = f"{row.recipe.name} {row.recipe.keys}"
            for mode, cells in row.cells.items():
                for dataset, figure in cells.items():
                    assert known.setdefault((name, mode, dataset), figure) == figure


def test_every_benchmark_is_a_split_whose_size_is_known() -> None:
    sizes = {name: one.size for name, one in BENCHMARKS.items()}
    assert sizes["chartqa"] == 2500
    assert sizes["aokvqa"] == 1145
    assert BENCHMARKS["docvqa"].metric == "anls"
    assert min(sizes.values()) == 900
