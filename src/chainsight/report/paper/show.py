"""The paper's tables on the console, and for machines."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from chainsight.report.paper.layout import Line, Paper, Shown
from chainsight.report.paper.page import rows_of, title
from chainsight.report.parts import MODE_WORDS


def show(console: Console, paper: Paper) -> None:
    """Our tables, and those of the paper that have a figure of ours; the page has all."""
    for one in (*paper.own, *(t for t in paper.beside if t.has_ours)):
        console.print(_drawn(one))
    for name, why in paper.others.items():
        _say(console, f"{name} does not stand beside the paper's figures: {why}")


def _say(console: Console, words: str) -> None:
    console.print(words, highlight=False, markup=False, soft_wrap=True)


def _drawn(one: Shown) -> Table:
    whose = "ours, in its layout" if one.own else "the paper's and ours"
    drawn = Table(
        title=f"{one.table.name}: {one.table.title} ({whose}; %, ours with the 95 % interval)",
        title_justify="left",
    )
    for name in ("row of the paper", "prompt", "whose"):
        drawn.add_column(name)
    for column in one.columns:
        drawn.add_column(column if one.own else title(column), justify="right")
    for line in one.lines:
        name = line.setting.name if line.setting else "paper" if line.published else "-"
        drawn.add_row(
            line.row, MODE_WORDS[line.mode], name, *(_cell(line, column) for column in one.columns)
        )
    return drawn


def _cell(line: Line, column: str) -> str:
    if line.published:
        return f"{line.published[column]:.1f}" if column in line.published else "-"
    cell = line.cells[column]
    if cell.estimate is None:
        return cell.why
    one = cell.estimate
    return f"{100 * one.value:.1f} ({100 * one.low:.1f} to {100 * one.high:.1f})"


def to_json(paper: Paper) -> dict[str, Any]:
    """Everything on the page. Published figures are per cent, as printed; ours are 0 to 1."""
    return {
        "settings": [
            {
                "name": one.name,
                "recipe": one.recipe,
                "set": dict(one.changes),
                "then": dict(one.then),
                "rounds": one.rounds,
                "rows": rows_of(one, paper),
                "unlike_the_paper": one.unlike_the_paper(),
            }
            for one in paper.settings
        ],
        "beside": [_table(one) for one in paper.beside],
        "own": [_table(one) for one in paper.own],
        "other_benchmarks": dict(paper.others),
    }


def _table(one: Shown) -> dict[str, Any]:
    return {
        "table": one.table.name,
        "title": one.table.title,
        "columns": list(one.columns),
        "lines": [_line(line) for line in one.lines],
    }


def _line(line: Line) -> dict[str, Any]:
    about = {"row": line.row, "mode": line.mode}
    if line.published:
        return about | {"whose": "paper", "cells": dict(line.published)}
    cells = {
        column: asdict(cell.estimate) if cell.estimate else {"why_not": cell.why}
        for column, cell in line.cells.items()
    }
    name = line.setting.name if line.setting else None
    return about | {"whose": "ours", "setting": name, "cells": cells}
