"""The page's sections on what differs between models: how much, how surely, where, which answers.

Every difference comes with its interval; signs and words say what colours do.
"""

from collections.abc import Mapping, Sequence
from html import escape

from chainsight.analysis.agreement import Agreement, Flips
from chainsight.analysis.differences import Difference
from chainsight.analysis.slices import MIN_QUESTIONS, Slice
from chainsight.report import figures
from chainsight.report.evidence import Evidence, Sliced
from chainsight.report.figures import MINUS, Scale, bounds, chance, points, reading, strip
from chainsight.scoring import ALL
from chainsight.webpage import table

FALSE_SHARE = 0.05
"""Share of false findings that is put up with among the slices marked as sure."""
MAX_LISTED = 200
"""Ids in a list of flips."""
MODES = {"direct": "direct", "cot": "reasoned"}
STYLE = (
    figures.STYLE
    + """
.grids { display: flex; flex-wrap: wrap; gap: 14px 44px; } .grids > div { flex: 0 1 auto; }
.grids table { width: auto; } .grids td.n, .grids th.n { padding-left: 10px; }
.ids { columns: 190px; padding-left: 18px; font-size: 13px; margin: 4px 0 14px;
  overflow-wrap: anywhere; }
"""
)


def section(evidence: Evidence | None, anchors: Mapping[str, str] | None = None) -> str:
    """The sections; nothing without an evaluation of at least one pair of models or modes.

    Args:
        evidence: what was found.
        anchors: ids on the page by example, where there are some.
    """
    if evidence is None:
        return ""
    parts = (
        _differences(evidence.differences),
        _sliced(evidence.sliced),
        _agreements(evidence.agreements),
        _flips(evidence.flips, anchors or {}),
    )
    return "\n".join(part for part in parts if part)


def _differences(found: Sequence[Difference]) -> str:
    if not found:
        return ""
    scale = figures.scale([one.gain for one in found])
    rows = [
        [
            escape(f"{one.better} {MINUS} {one.than}"),
            MODES[one.mode],
            "all (mean)" if one.dataset == ALL else escape(one.dataset),
            f"<b>{points(one.gain.value)}</b>",
            bounds(one.gain),
            strip(one.gain, scale),
            f"{one.num_won:,} / {one.num_lost:,}",
            chance(one.p_value),
            reading(one.gain, one.gain.low > 0 or one.gain.high < 0),
        ]
        for one in found
    ]
    head = ["models", "mode", "benchmark", "points", "95 % interval", scale.title()]
    return (
        "<h2>Differences, and how sure they are</h2>"
        '<p class="faint">Paired by question; intervals by bootstrap over the questions. They say '
        "what other questions would have given, not what another training would: for that, train "
        "with several seeds (<code>chainsight ablate</code>). p: two-sided chance of such a "
        "difference where there is none.</p>"
        + table([*head, "won / lost", "p", "reading"], rows, (3, 4, 6, 7))
    )


def _sliced(found: Sequence[Sliced]) -> str:
    parts = [_one_sliced(one, is_open=one is found[_shown(found)]) for one in found if one.slices]
    if not parts:
        return ""
    return (
        "<h2>Where they differ</h2>"
        '<p class="faint">Scores by kinds of question, those with fewer than '
        f"{MIN_QUESTIONS} left out. Some of many slices differ by chance: q is the share of false "
        "findings among the slices of a table that are at least as sure (Benjamini and Hochberg); "
        f"from {100 * FALSE_SHARE:.0f} % on a difference may be chance, even if its own interval "
        "lies clear of zero. Lengths are the models' own doing: they describe and prove no "
        "cause.</p>" + "\n".join(parts)
    )


def _shown(found: Sequence[Sliced]) -> int:
    """The comparison that stands open: reasoned, the last training against the one before."""
    reasoned = [at for at, one in enumerate(found) if one.mode == "cot" and one.than != "base"]
    return reasoned[0] if reasoned else 0


def _one_sliced(sliced: Sliced, *, is_open: bool) -> str:
    scale = figures.scale([one.gain for one in sliced.slices])
    head = [
        "",
        "",
        "questions",
        f"{escape(sliced.than)}, %",
        f"{escape(sliced.better)}, %",
        "points",
        "95 % interval",
        scale.title(),
        "q",
        "reading",
    ]
    rows = [_slice(one, scale) for one in sliced.slices]
    title = f"{sliced.better} {MINUS} {sliced.than}, {MODES[sliced.mode]}"
    sure = sum(one.q_value < FALSE_SHARE for one in sliced.slices)
    return (
        f"<details{' open' if is_open else ''}><summary>{escape(title)}: {sure} of "
        f"{len(rows)} slices differ</summary>{table(head, rows, (2, 3, 4, 5, 6, 8))}</details>"
    )


def _slice(one: Slice, scale: Scale) -> list[str]:
    return [
        f'<span class="sign faint">{escape(one.trait)}</span>',
        f'<span class="sign">{escape(one.value.replace("_", " "))}</span>',
        f"{one.num_questions:,}",
        _percent(one.than.value, one.than.low, one.than.high),
        _percent(one.better.value, one.better.low, one.better.high),
        f"<b>{points(one.gain.value)}</b>",
        bounds(one.gain),
        strip(one.gain, scale),
        chance(one.q_value),
        reading(one.gain, one.q_value < FALSE_SHARE),
    ]


def _percent(value: float, low: float, high: float) -> str:
    return f'{100 * value:.0f} <span class="faint">({100 * low:.0f} to {100 * high:.0f})</span>'


def _agreements(found: Sequence[Agreement]) -> str:
    if not found:
        return ""
    return (
        "<h2>Direct and reasoned answers</h2>"
        '<p class="faint">Each model was asked every question both ways.</p>'
        f'<div class="grids">{"".join(_agreement(one) for one in found)}</div>'
    )


def _agreement(one: Agreement) -> str:
    rows = [
        ["direct right", f"{one.both:,}", f"{one.only_direct:,}"],
        ["direct wrong", f"{one.only_reasoned:,}", f"{one.neither:,}"],
    ]
    head = ["", "reasoned right", "reasoned wrong"]
    return (
        f"<div><h3>{escape(one.model)}</h3>{table(head, rows, (1, 2))}"
        f"<p>Reasoned {MINUS} direct: <b>{points(one.gain.value)}</b> points<br>"
        f"({bounds(one.gain)}; p {_is(chance(one.p_value))})<br>"
        f'<span class="faint">Of {one.neither:,} wrong both ways {one.same_wrong:,} are the '
        "same answer.</span></p></div>"
    )


def _is(figure: str) -> str:
    return figure if figure.startswith("&lt;") else f"= {figure}"


def _flips(found: Sequence[Flips], anchors: Mapping[str, str]) -> str:
    parts = [_one_flips(one, anchors) for one in found if one.won or one.lost]
    if not parts:
        return ""
    return (
        "<h2>Answers that flip</h2>"
        '<p class="faint">Questions that one model has right and the other wrong.</p>'
        + "\n".join(parts)
    )


def _one_flips(one: Flips, anchors: Mapping[str, str]) -> str:
    title = f"{one.than} → {one.better}, {MODES[one.mode]}"
    return (
        f"<details><summary>{escape(title)}: {len(one.won):,} won, {len(one.lost):,} lost"
        f"</summary><p>{one.both_right:,} right and {one.both_wrong:,} wrong with both.</p>"
        f"{_ids('▲ won', one.won, anchors)}{_ids('▼ lost', one.lost, anchors)}</details>"
    )


def _ids(title: str, ids: Sequence[str], anchors: Mapping[str, str]) -> str:
    if not ids:
        return ""
    items = "".join(f"<li>{_id(one, anchors)}</li>" for one in ids[:MAX_LISTED])
    rest = len(ids) - MAX_LISTED
    more = f'<p class="faint">and {rest:,} more</p>' if rest > 0 else ""
    return f'<h3>{title}: {len(ids):,}</h3><ul class="ids">{items}</ul>{more}'


def _id(example_id: str, anchors: Mapping[str, str]) -> str:
    if example_id not in anchors:
        return escape(example_id)
    return f'<a href="#{escape(anchors[example_id])}">{escape(example_id)}</a>'
