"""The table of a verification, for people."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from chainsight.report.verification import ABOUT


def show(console: Console, found: Mapping[str, Any], page: Path) -> None:
    """Accuracy by method and number of samples, and what the most samples gain over greedy."""
    for part, points in found["curves"].items():
        title = "Accuracy by number of samples, %" + ("" if part == "all" else f": {part}")
        console.print(_table(title, points))
    for method, about in ABOUT.items():
        console.print(f"{method:<15}  {about}", style="dim", highlight=False)
    console.print(
        f"{found['num_questions']} questions, {found['num_candidates']} samples each",
        highlight=False,
    )
    for sentence in (found["credit"] or {}).get("words", ()):
        console.print(sentence, highlight=False)
    console.print(f"page        {page}", highlight=False, soft_wrap=True)


def _table(title: str, points: list[Mapping[str, Any]]) -> Table:
    ns = list(dict.fromkeys(point["n"] for point in points))
    table = Table("method", title=title, title_justify="left")
    for n in ns:
        table.add_column(f"n = {n}", justify="right")
    table.add_column(f"gain over greedy at {ns[-1]}, points (95 % interval)", justify="right")
    for method in dict.fromkeys(point["method"] for point in points):
        own = [point for point in points if point["method"] == method]
        last = own[-1]
        gain = f"{100 * last['gain']:+.1f} ({100 * last['low']:+.1f} to {100 * last['high']:+.1f})"
        cells = [f"{100 * point['value']:.1f}" for point in own]
        table.add_row(method, *cells, "" if method == "greedy" else gain)
    return table
