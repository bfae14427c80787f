"""The findings as people read them: a table, plain lines for logs, Markdown for KFP's page."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from chainsight.doctor.check import Check, Level

MARKS: dict[Level, str] = {"ok": "✓", "warn": "!", "fail": "✗"}
COLOURS: dict[Level, str] = {"ok": "green", "warn": "yellow", "fail": "red"}
WORDS: dict[Level, str] = {"ok": "passed", "warn": "warning", "fail": "**failed**"}


def show(console: Console, checks: Sequence[Check]) -> None:
    """A table on a terminal, else a line a finding with its way out below."""
    if console.is_terminal:
        console.print(_table(checks))
    else:
        for check in checks:
            console.print(_lines(check), highlight=False, soft_wrap=True)
    console.print(f"{summary(checks)}", highlight=False)


def summary(checks: Sequence[Check]) -> str:
    """How many of each."""
    counts = {level: sum(check.level == level for check in checks) for level in MARKS}
    return f"{counts['ok']} passed, {counts['warn']} warnings, {counts['fail']} failed"


def _table(checks: Sequence[Check]) -> Table:
    table = Table()
    table.add_column("")
    table.add_column("what", no_wrap=True)
    table.add_column("finding", ratio=3)
    table.add_column("way out", ratio=2)
    for check in checks:
        cells = (check.what, check.finding, check.way_out)
        table.add_row(_mark(check), *(escape(cell) for cell in cells))
    return table


def _lines(check: Check) -> str:
    line = f"{_mark(check)} {check.what:<12} {escape(check.finding)}"
    return line + (f"\n  {'':<12} -> {escape(check.way_out)}" if check.way_out else "")


def _mark(check: Check) -> str:
    return f"[{COLOURS[check.level]}]{MARKS[check.level]}[/]"


def markdown(checks: Sequence[Check]) -> str:
    """A page for the KFP UI."""
    rows = "\n".join(
        "| " + " | ".join(_cell(text) for text in _row(check)) + " |" for check in checks
    )
    head = "| | what | finding | way out |\n|---|---|---|---|"
    return f"# Doctor: {summary(checks)}\n\n{head}\n{rows}\n"


def _row(check: Check) -> tuple[str, str, str, str]:
    return WORDS[check.level], check.what, check.finding, check.way_out


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())
