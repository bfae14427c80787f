"""A comparison on the console, and for machines."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from chainsight.report.compare.comparison import Comparison, Line
from chainsight.report.compare.matching import Pair
from chainsight.report.compare.page import ONE, shortened
from chainsight.report.parts import MODE_WORDS, points

NUM_SETTINGS = 20


def show(console: Console, found: Comparison) -> None:
    """Scores, settings and what is not alike; the page has the answers."""
    for letter, side in (("A", found.before), ("B", found.after)):
        console.print(f"{letter}  {escape(side.name)} ({escape(side.model)})", highlight=False)
    if found.is_one:
        console.print(ONE, style="yellow", highlight=False)
    for one in found.matched.unlike:
        console.print(f"not the same benchmark: {escape(one)}", style="yellow", highlight=False)
    console.print(_scores(found))
    for setting in found.settings[:NUM_SETTINGS]:
        line = f"{setting.name}: {shortened(setting.before)} -> {shortened(setting.after)}"
        console.print(line, highlight=False, markup=False)
    if (more := len(found.settings) - NUM_SETTINGS) > 0:
        console.print(f"and {more} further settings differ", highlight=False)


def _scores(found: Comparison) -> Table:
    drawn = Table(title="B less A, in points, with its 95 % interval", title_justify="left")
    for name in ("prompt", "benchmark"):
        drawn.add_column(name)
    for name in ("A, %", "B, %", "B - A", "won/lost", "B is"):
        drawn.add_column(name, justify="right")
    for line in found.lines:
        drawn.add_row(
            MODE_WORDS[line.mode],
            escape(line.dataset),
            f"{100 * line.before:.1f}",
            f"{100 * line.after:.1f}",
            f"{points(line.gain.value)} ({points(line.gain.low)} to {points(line.gain.high)})",
            f"{line.difference.num_won}/{line.difference.num_lost}",
            line.verdict,
        )
    return drawn


def to_json(found: Comparison) -> dict[str, Any]:
    """Everything on the page, and every answer won or lost; values are 0 to 1."""
    sides = {"before": found.before, "after": found.after}
    return {
        **{
            letter: {
                "name": side.name,
                "model": side.model,
                "fingerprint": side.fingerprint,
                "seconds": {stage: spent.seconds for stage, spent in side.spent.items()},
                "cost_usd": {stage: spent.cost_usd for stage, spent in side.spent.items()},
            }
            for letter, side in sides.items()
        },
        "unlike": list(found.matched.unlike),
        "scores": [_line(line) for line in found.lines],
        "settings": [asdict(setting) for setting in found.settings],
        "statuses": [
            {"mode": mode, "before": was, "after": now, "num_questions": count}
            for (mode, was, now), count in sorted(found.statuses.items())
        ],
        "flips": [_flip(pair) for pair in found.flips],
    }


def _line(line: Line) -> dict[str, Any]:
    own = asdict(line)
    about = own.pop("difference")
    return {"mode": about.pop("mode"), "dataset": about.pop("dataset"), **about, **own,
            "verdict": line.verdict}  # fmt: skip


def _flip(pair: Pair) -> dict[str, Any]:
    return {
        "example_id": pair.after.example_id,
        "mode": pair.after.mode,
        "before": pair.before.answer,
        "after": pair.after.answer,
        "score_before": pair.before.score,
        "score_after": pair.after.score,
    }
