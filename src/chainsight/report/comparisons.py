"""The page's sections on what differs between models: how much, how surely, where, which answers.

Every difference comes with its interval; signs and words say what colours do.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from chainsight.analysis.agreement import Agreement, Flips
from chainsight.analysis.differences import Difference
from chainsight.analysis.slices import MIN_QUESTIONS, Slice
from chainsight.report import figures
from chainsight.report.browser import anchor
from chainsight.report.evidence import Evidence, Sliced
from chainsight.report.figures import Scale, Source, bounds, chance, gain, reading, strip
from chainsight.report.parts import MODE_WORDS
from chainsight.report.samples import Samples
from chainsight.scoring import ALL
from chainsight.webpage import table, text

FALSE_SHARE = 0.05
"""Share of false findings that is put up with among the slices marked as sure."""
MAX_LISTED = 200
"""Ids in a list of flips."""
STYLE = (
    figures.STYLE
    + """
.grids { display: flex; flex-wrap: wrap; gap: 14px 36px; } .grids > div { flex: 0 1 auto; }
.grids table { width: auto; } .grids td.n, .grids th.n { padding-left: 10px; }
.ids { columns: 190px; padding-left: 18px; font-size: 13px; margin: 4px 0 14px;
  overflow-wrap: anywhere; }
"""
)


def sections(evidence: Evidence | None, samples: Samples | None = None) -> tuple[str, ...]:
    """The sections, "" for those without rows. Flips that are among the samples are links."""
    if evidence is None:
        return ()
    shown = {one.example_id for one in samples.shown} if samples else set()
    return (
        _differences(evidence.differences),
        _all_sliced(evidence.sliced),
        _agreements(evidence.agreements),
        _all_flips(evidence.flips, shown),
    )


# --- differences -----------------------------------------------------------------------------


def _differences(found: Sequence[Difference]) -> str:
    if not found:
        return ""
    scale = figures.scale([one.gain for one in found])
    head = ["models", "mode", "benchmark", "points", "95 % interval", scale.title()]
    rows = [_difference(one, scale) for one in found]
    return (
        "<h2>Differences, and how sure they are</h2>"
        '<p class="faint">Paired by question; intervals by bootstrap over the questions. They say '
        "what other questions would have given, not what another training would: for that, train "
        "with several seeds (<code>chainsight ablate</code>). p: two-sided chance of such a "
        "difference where there is none. Open: the interval holds zero, or p is above 0.05.</p>"
        + table([*head, "won / lost", "p", "reading"], rows, (3, 4, 6, 7), "Differences")
    )


def _difference(one: Difference, scale: Scale) -> list[str]:
    source = Source(
        f"difference/{one.better}-{one.than}/{one.mode}/{one.dataset}",
        f"predictions.parquet: score of {one.better} less that of {one.than}, by example_id, mode "
        f"{one.mode}, {'mean of the datasets' if one.dataset == ALL else one.dataset}",
    )
    return [
        f'<span class="sign">{text(one.better)} over {text(one.than)}</span>',
        MODE_WORDS[one.mode],
        "all (mean)" if one.dataset == ALL else text(one.dataset),
        gain(one.gain, source),
        bounds(one.gain, source),
        strip(one.gain, scale),
        f"{one.num_won:,} / {one.num_lost:,}",
        chance(one.p_value),
        reading(one.gain, one.is_sure),
    ]


# --- slices ----------------------------------------------------------------------------------


def _all_sliced(found: Sequence[Sliced]) -> str:
    tables = [one for one in found if one.slices]
    if not tables:
        return ""
    opened = next((one for one in tables if one.mode == "cot" and one.than != "base"), tables[0])
    return (
        "<h2>Where they differ</h2>"
        '<p class="faint">Scores by kinds of question, those with fewer than '
        f"{MIN_QUESTIONS} left out. Some of many slices differ by chance: q is the share of false "
        "findings among the slices of a table that are at least as sure (Benjamini and Hochberg); "
        f"from {FALSE_SHARE:g} on a difference is left open, even if its own interval lies clear "
        "of zero. Lengths are the models' own doing: they describe and prove no cause.</p>"
        + "\n".join(_sliced(one, is_open=one is opened) for one in tables)
    )


def _sliced(of: Sliced, *, is_open: bool) -> str:
    scale = figures.scale([one.gain for one in of.slices])
    models = [f"{text(model)}, %" for model in (of.than, of.better)]
    head = ["by", "slice", "questions", *models, "points", "95 % interval", scale.title()]
    rows = [_slice(of, one, scale) for one in of.slices]
    title = f"{text(of.better)} over {text(of.than)}, {MODE_WORDS[of.mode]}"
    sure = sum(one.q_value < FALSE_SHARE for one in of.slices)
    return (
        f"<details{' open' if is_open else ''}><summary>{title}: {sure} of {len(rows)} slices "
        f"differ</summary>{table([*head, 'q', 'reading'], rows, (2, 3, 4, 5, 6, 8), title)}"
        "</details>"
    )


def _slice(of: Sliced, one: Slice, scale: Scale) -> list[str]:
    source = Source(
        f"slice/{of.better}-{of.than}/{of.mode}/{one.trait}/{one.value}",
        f"predictions.parquet: score of {of.better} less that of {of.than}, by example_id, mode "
        f"{of.mode}, questions with {one.trait}: {one.value}",
    )
    return [
        f'<span class="sign faint">{text(one.trait)}</span>',
        f'<span class="sign">{text(one.value.replace("_", " "))}</span>',
        f"{one.num_questions:,}",
        figures.percent(one.than),
        figures.percent(one.better),
        gain(one.gain, source),
        bounds(one.gain, source),
        strip(one.gain, scale),
        chance(one.q_value),
        reading(one.gain, one.q_value < FALSE_SHARE),
    ]


# --- direct and reasoned ---------------------------------------------------------------------


def _agreements(found: Sequence[Agreement]) -> str:
    if not found:
        return ""
    return (
        "<h2>Direct and reasoned answers</h2>"
        '<p class="faint">Each model was asked every question both ways.</p>'
        f'<div class="grids">{"".join(_agreement(one) for one in found)}</div>'
    )


def _agreement(one: Agreement) -> str:
    source = Source(
        f"reasoned-direct/{one.model}",
        f"predictions.parquet: score of {one.model} in mode cot less that in direct, by example_id",
    )
    rows = [
        ["direct right", f"{one.both:,}", f"{one.only_direct:,}"],
        ["direct wrong", f"{one.only_reasoned:,}", f"{one.neither:,}"],
    ]
    caption = f"Answers of {text(one.model)}, counted"
    counts = table(["", "reasoned right", "reasoned wrong"], rows, (1, 2), caption)
    return (
        f"<div><h3>{text(one.model)}</h3>{counts}"
        f"<p>Reasoned over direct: {gain(one.gain, source)} points<br>"
        f"({bounds(one.gain, source)}; p {chance(one.p_value)})<br>"
        f'<span class="faint">Of {one.neither:,} wrong both ways {one.same_wrong:,} are the '
        "same answer.</span></p></div>"
    )


# --- flips -----------------------------------------------------------------------------------


def _all_flips(found: Sequence[Flips], shown: AbstractSet[str]) -> str:
    parts = [_flips(one, shown) for one in found if one.won or one.lost]
    if not parts:
        return ""
    return (
        "<h2>Answers that flip</h2>"
        '<p class="faint">Questions that one model has right and the other wrong; links lead to '
        "those among the samples.</p>" + "\n".join(parts)
    )


def _flips(one: Flips, shown: AbstractSet[str]) -> str:
    title = f"{text(one.than)} → {text(one.better)}, {MODE_WORDS[one.mode]}"
    return (
        f"<details><summary>{title}: {len(one.won):,} won, {len(one.lost):,} lost"
        f"</summary><p>{one.both_right:,} right and {one.both_wrong:,} wrong with both.</p>"
        f"{_ids('▲ won', one.won, shown)}{_ids('▼ lost', one.lost, shown)}</details>"
    )


def _ids(title: str, ids: Sequence[str], shown: AbstractSet[str]) -> str:
    if not ids:
        return ""
    items = "".join(f"<li>{_id(one, shown)}</li>" for one in ids[:MAX_LISTED])
    rest = len(ids) - MAX_LISTED
    more = f'<p class="faint">and {rest:,} more</p>' if rest > 0 else ""
    return f'<h3>{title}: {len(ids):,}</h3><ul class="ids">{items}</ul>{more}'


def _id(example_id: str, shown: AbstractSet[str]) -> str:
    if example_id not in shown:
        return text(example_id)
    return f'<a href="#{anchor(example_id)}">{text(example_id)}</a>'
