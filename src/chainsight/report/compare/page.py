"""The page of a comparison. Whatever a model, a data set or a user wrote is escaped."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from chainsight.report import browser, comparisons, figures
from chainsight.report.compare.comparison import Comparison, Line
from chainsight.report.figures import Source, bounds, chance, gain, reading, strip
from chainsight.report.page import SCRIPT
from chainsight.report.parts import MODE_WORDS, points
from chainsight.scoring import ALL
from chainsight.webpage import document, table, text, tiles

STYLE = """
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(260px, 1fr)); gap: 12px;
  margin: 14px 0; }
.sides div { border: 1px solid var(--line); border-radius: 8px; padding: 10px 14px;
  background: var(--card); overflow-wrap: anywhere; }
"""
READING = (
    "B less A, question by question, on the same questions. The interval is a paired bootstrap's "
    "over the questions (95 %); p is two-sided, by the test that the gate uses. Open: the interval "
    "holds zero, or p is above 0.05; that shows no difference, not that there is none."
)


def build(found: Comparison) -> str:
    """One self-contained HTML page, whole without its script."""
    told = replace(found.evidence, differences=())  # they are the scores
    sections = (
        f"<h1>A and B side by side</h1>{_sides(found)}{_unlike(found)}{_tiles(found.lines)}",
        _scores(found.lines),
        _settings(found),
        *comparisons.sections(told, found.samples),
        browser.section(found.samples),
        _form(found),
        _spent(found),
    )
    title = f"Chainsight: {found.before.name} and {found.after.name}"
    style = comparisons.STYLE + browser.STYLE + STYLE
    return document(title, sections, style, SCRIPT, contents=True)


def _sides(found: Comparison) -> str:
    shown = "".join(
        f"<div><b>{letter}</b>: {text(side.name)}<br>"
        f'<span class="faint">model {text(side.model)}, predictions '
        f"{text(side.manifest.key[:12])} of {text(side.manifest.created[:16])}</span></div>"
        for letter, side in (("A", found.before), ("B", found.after))
    )
    return f'<div class="sides">{shown}</div>'


ONE = "A and B are the same answers: of one model, on one benchmark, from one artifact."


def _unlike(found: Comparison) -> str:
    if found.is_one:
        return f'<div class="banner"><b>Nothing to compare.</b> {ONE}</div>'
    if not found.matched.unlike:
        return ""
    listed = "".join(f"<li>{text(one)}</li>" for one in found.matched.unlike)
    return (
        '<div class="banner bad"><b>Not the same benchmark.</b> What differs is part of what is '
        f"compared here:<ul>{listed}</ul></div>"
    )


def whole(lines: Iterable[Line]) -> list[Line]:
    """One line a mode: over all benchmarks, or of the only one."""
    found: dict[str, Line] = {}
    for line in lines:
        found.setdefault(line.mode, line)
    return list(found.values())


def _tiles(lines: Iterable[Line]) -> str:
    return tiles(
        (f"{points(line.gain.value)} points", f"{MODE_WORDS[line.mode]}: B is {_said_of(line)}")
        for line in whole(lines)
    )


def _said_of(line: Line) -> str:
    return f"{WORDS[line.verdict]} ({points(line.gain.low)} to {points(line.gain.high)})"


WORDS = {"better": "better", "worse": "worse", "open": "not shown to differ"}


def _scores(lines: Sequence[Line]) -> str:
    scale = figures.scale([line.gain for line in lines])
    head = ["mode", "benchmark", "A, %", "B, %", "B less A", "95 % interval", scale.title(),
            "won / lost", "p", "B is"]  # fmt: skip
    rows = [
        [
            MODE_WORDS[line.mode],
            f"{_benchmark(line)} ({line.difference.num_questions:,})",
            f"{100 * line.before:.1f}",
            f"{100 * line.after:.1f}",
            gain(line.gain, _source(line)),
            bounds(line.gain, _source(line)),
            strip(line.gain, scale),
            f"{line.difference.num_won:,} / {line.difference.num_lost:,}",
            chance(line.difference.p_value),
            reading(line.gain, line.verdict != "open"),
        ]
        for line in lines
    ]
    shown = table(head, rows, (2, 3, 4, 5, 7, 8), "Scores of A and B")
    return f'<h2>Scores</h2><p class="faint">{READING}</p>{shown}'


def _source(line: Line) -> Source:
    rows = f"predictions.parquet of B less that of A: score, mode {line.mode}, {line.dataset}"
    return Source(f"compare/{line.mode}/{line.dataset}", rows)


def _benchmark(line: Line) -> str:
    return "all (mean)" if line.dataset == ALL else text(line.dataset)


def _settings(found: Comparison) -> str:
    if not found.settings:
        return "<h2>Settings that differ</h2><p>None{}.</p>".format(
            "" if found.is_one else ": what differs is in the data or outside"
        )
    rows = [
        [f"<b>{text(one.name)}</b>", text(shortened(one.before)), text(shortened(one.after))]
        for one in found.settings
    ]
    return "<h2>Settings that differ</h2>" + table(["setting", "A", "B"], rows)


def shortened(value: Any) -> str:
    """A setting's value on a line; what is long keeps its beginning."""
    said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return said if len(said) <= 300 else f"{said[:300]} …"


def _form(found: Comparison) -> str:
    rows = [
        [
            MODE_WORDS[line.mode],
            _benchmark(line),
            f"{100 * line.unread_before:.1f}",
            f"{100 * line.unread_after:.1f}",
            f"{line.tokens_before:.1f}",
            f"{line.tokens_after:.1f}",
            f"{line.tokens_gain[0]:+.1f} to {line.tokens_gain[1]:+.1f}",
            f"{100 * line.same_answer:.1f}",
        ]
        for line in found.lines
    ]
    head = ["prompt", "benchmark", "unread A, %", "unread B, %", "tokens A", "tokens B",
            "B - A, 95 %", "same answer, %"]  # fmt: skip
    return (
        '<h2>Form and length</h2><p class="faint">Unread: no marker, cut off or empty, so that no '
        "answer was found. Tokens are means an answer.</p>"
        + table(head, rows, range(2, 8))
        + _statuses(found)
    )


def _statuses(found: Comparison) -> str:
    """How answers were found, where that changed."""
    rows = [
        [MODE_WORDS[mode], text(was.replace("_", " ")), text(now.replace("_", " ")), f"{n:,}"]
        for (mode, was, now), n in sorted(found.statuses.items(), key=lambda item: -item[1])
        if was != now
    ]
    if not rows:
        return "<p>Every answer was found in the same way by both.</p>"
    return table(["prompt", "found in A by", "found in B by", "questions"], rows, (3,))


def _spent(found: Comparison) -> str:
    ours, theirs = found.before.spent, found.after.spent
    rows = [
        [
            text(stage),
            *(f"{side[stage].seconds:,.1f}" if stage in side else "-" for side in (ours, theirs)),
            *(f"{side[stage].cost_usd:,.4f}" if stage in side else "-" for side in (ours, theirs)),
        ]
        for stage in dict.fromkeys((*ours, *theirs))
    ]
    sums = [
        f"<b>{sum(one[at] for one in side.values()):,.{digits}f}</b>"
        for at, digits in ((0, 1), (1, 4))
        for side in (ours, theirs)
    ]
    return (
        '<h2>Time and cost</h2><p class="faint">Of the executions that made what is behind each '
        "side. What both share was paid once.</p>"
        + table(
            ["stage", "A, s", "B, s", "A, $", "B, $"], [*rows, ["<b>all</b>", *sums]], range(1, 5)
        )
    )
