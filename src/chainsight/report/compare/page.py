"""The page of a comparison. Whatever a model, a data set or a user wrote is escaped."""

import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from chainsight import prompts
from chainsight.records import MODES, Example, Prediction
from chainsight.report import comparisons, figures
from chainsight.report.cards import picture, spread
from chainsight.report.compare.comparison import Comparison, Line
from chainsight.report.compare.matching import Pair
from chainsight.report.compare.sides import Side
from chainsight.report.figures import bounds, chance, points, reading, strip
from chainsight.scoring import ALL
from chainsight.webpage import document, table, tiles

NUM_FLIPS = 30
"""Answers won, and as many lost, that are shown of each mode; all are counted."""
SIDE = 240
"""Longest side of their pictures, in pixels."""
MODE_TITLES = {"direct": "direct", "cot": "reasoned"}
STYLE = (
    comparisons.STYLE
    + """
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(260px, 1fr)); gap: 12px;
  margin: 14px 0; }
.sides div { border: 1px solid var(--line); border-radius: 8px; padding: 10px 14px;
  background: var(--card); overflow-wrap: anywhere; }
td.value { overflow-wrap: anywhere; }
details.flips > summary { font-weight: 600; margin: 10px 0; }
"""
)
READING = (
    "B less A, question by question, on the same questions. The interval is a paired bootstrap's "
    "over the questions (95 %); p is two-sided, by the test that the gate uses. An interval that "
    "holds zero shows no difference: it does not show that there is none."
)


def build(found: Comparison) -> str:
    """One self-contained HTML page."""
    names = f"{found.before.name} and {found.after.name}"
    sections = (
        f"<h1>A and B side by side</h1>{_sides(found)}",
        _unlike(found),
        _tiles(found.lines),
        _scores(found.lines),
        _settings(found),
        _flips(found),
        comparisons.section(found.evidence),
        _form(found),
        _spent(found),
    )
    return document(f"Chainsight: {names}", sections, STYLE)


def _sides(found: Comparison) -> str:
    shown = "".join(
        f"<div><b>{letter}</b>: {escape(side.name)}<br>"
        f'<span class="faint">model {escape(side.model)}, predictions '
        f"{escape(side.manifest.key[:12])} of {escape(side.manifest.created[:16])}</span></div>"
        for letter, side in (("A", found.before), ("B", found.after))
    )
    return f'<div class="sides">{shown}</div>'


def _unlike(found: Comparison) -> str:
    if not found.matched.unlike:
        return ""
    listed = "".join(f"<li>{escape(one)}</li>" for one in found.matched.unlike)
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
        (f"{points(line.gain.value)} points", f"{MODE_TITLES[line.mode]}: B is {_said_of(line)}")
        for line in whole(lines)
    )


def _said_of(line: Line) -> str:
    return f"{WORDS[line.verdict]} ({bounds(line.gain)})"


WORDS = {"better": "better", "worse": "worse", "open": "not shown to differ"}


def _scores(lines: Sequence[Line]) -> str:
    scale = figures.scale([line.gain for line in lines])
    rows = [
        [
            MODE_TITLES[line.mode],
            f"{_benchmark(line)} ({line.num_questions:,})",
            f"{100 * line.before:.1f}",
            f"{100 * line.after:.1f}",
            f"<b>{points(line.gain.value)}</b>",
            bounds(line.gain),
            strip(line.gain, scale),
            f"{line.num_won:,} / {line.num_lost:,}",
            chance(line.p_value),
            reading(line.gain, line.verdict != "open"),
        ]
        for line in lines
    ]
    head = ["mode", "benchmark", "A, %", "B, %", "B less A", "95 % interval",
            scale.title(), "won / lost", "p", "B is"]  # fmt: skip
    shown = table(head, rows, (2, 3, 4, 5, 7, 8))
    return f'<h2>Scores</h2><p class="faint">{READING}</p>{shown}'


def _benchmark(line: Line) -> str:
    return "all (mean)" if line.dataset == ALL else escape(line.dataset)


def _settings(found: Comparison) -> str:
    if not found.settings:
        return "<h2>Settings that differ</h2><p>None: what differs is in the data or outside.</p>"
    rows = [
        [f"<b>{escape(one.name)}</b>", escape(shortened(one.before)), escape(shortened(one.after))]
        for one in found.settings
    ]
    return "<h2>Settings that differ</h2>" + table(["setting", "A", "B"], rows)


def shortened(value: Any) -> str:
    """A setting's value on a line; what is long keeps its beginning."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else f"{text[:300]} …"


def _form(found: Comparison) -> str:
    rows = [
        [
            MODE_TITLES[line.mode],
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
        [MODE_TITLES[mode], escape(was.replace("_", " ")), escape(now.replace("_", " ")), f"{n:,}"]
        for (mode, was, now), n in sorted(found.statuses.items(), key=lambda item: -item[1])
        if was != now
    ]
    if not rows:
        return "<p>Every answer was found in the same way by both.</p>"
    return table(["prompt", "found in A by", "found in B by", "questions"], rows, (3,))


# --- single questions --------------------------------------------------------------------------


def _flips(found: Comparison) -> str:
    blocks = [
        _block(found.after, mode, what, own)
        for mode in MODES
        for what, own in (
            ("lost", [p for p in found.flips if p.after.mode == mode and p.difference < 0]),
            ("won", [p for p in found.flips if p.after.mode == mode and p.difference > 0]),
        )
        if own
    ]
    if not blocks:
        return "<h2>Answers won and lost</h2><p>None: every question scores the same.</p>"
    return "<h2>Answers won and lost</h2>" + "".join(blocks)


def _block(side: Side, mode: str, what: str, own: Sequence[Pair]) -> str:
    shown = spread(own, NUM_FLIPS)
    count = f"{len(own):,}" if len(own) == len(shown) else f"{len(own):,}, {len(shown)} shown"
    cards = "\n".join(
        _card(pair, (side.questions or {}).get(pair.after.example_id)) for pair in shown
    )
    return (
        f'<details class="flips"><summary>{MODE_TITLES[mode]}, {what} by B ({count})</summary>'
        f"{cards}</details>"
    )


def _card(pair: Pair, example: Example | None) -> str:
    return (
        f'<div class="card"><div>{_pictures(example)}<p class="faint">'
        f"{escape(pair.after.example_id)}</p></div><div>{_question(pair, example)}"
        f'<div class="voices">{_said("A", pair.before)}{_said("B", pair.after)}</div></div></div>'
    )


def _pictures(example: Example | None) -> str:
    images = example.images if example else ()
    shown = [picture(image, SIDE) for image in images]
    kinds = {True: ' class="tiny"', False: ""}
    return "\n".join(f'<img{kinds[p.pixelated]} src="{p.uri}" alt="">' for p in shown if p) or (
        '<span class="faint">no picture</span>'
    )


def _question(pair: Pair, example: Example | None) -> str:
    if example is None:
        text, references = pair.after.question or pair.after.prompt, "not known"
    else:
        text = prompts.question_block(example.question, example.choices or None)
        references = " | ".join(example.references)
    return (
        f'<div class="question">{escape(text)}</div><p>reference: <b>{escape(references)}</b></p>'
    )


def _said(letter: str, row: Prediction) -> str:
    kind, sign = ("good", "✓") if row.score >= 0.5 else ("bad", "✗")
    return (
        f'<div class="said"><h3>{letter} <span class="mark {kind}">{sign} {row.score:g}</span></h3>'
        f'<div class="text">{escape(row.text) or "(empty)"}</div><p class="faint">answer '
        f'"{escape(row.answer)}", {escape(row.status.replace("_", " "))}, {row.num_tokens} tokens'
        "</p></div>"
    )


def _spent(found: Comparison) -> str:
    ours, theirs = found.before.spent, found.after.spent
    rows = [
        [
            escape(stage),
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
