"""The first screen: what was run, what came out, whether it is significant, what it cost."""

from collections.abc import Iterable, Mapping

from chainsight.analysis.differences import Difference
from chainsight.analysis.intervals import accuracy
from chainsight.records import MODES, Score
from chainsight.report import parts
from chainsight.report.data import ReportData
from chainsight.report.parts import MODE_TITLES, duration
from chainsight.report.samples import ends
from chainsight.scoring import ALL, headline
from chainsight.webpage import text, traced

STAGE_OF = {"policy": "after SFT", "aligned": "after DPO", "base": "untrained"}
STYLE = """
.overview h2 { margin: 14px 0 6px; } .overview > p { margin: 4px 0 8px; }
.lead { font-size: 17px; } .result td, .result th { padding: 7px 14px 7px 0; }
.result b { font-size: 20px; } .result small { display: block; color: var(--faint);
  font-size: 13px; white-space: nowrap; } .result th small { font-weight: 400; }
.facts { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 8px 22px;
  margin: 14px 0 0; } .facts dt { color: var(--faint); font-size: 13px; }
.facts dd { margin: 0; overflow-wrap: anywhere; } .overview .banner { margin: 10px 0; }
@media (max-width: 720px) { .facts { grid-template-columns: 1fr; } }
"""


def section(data: ReportData) -> str:
    """The first screen, of what there is."""
    moment = f"{data.created:%Y-%m-%d %H:%M} UTC"
    inner = (
        f'<h1>{text(data.name)}</h1><p class="faint">Chainsight run, report of {moment}</p>',
        _partial(data),
        "<h2>Overview</h2>",
        _lead(data),
        _results(data),
        _facts(data),
        _gate(data.decision),
    )
    return f'<div class="overview">{"".join(inner)}</div>'


def _partial(data: ReportData) -> str:
    if not data.missing:
        return ""
    return (
        '<div class="banner bad"><b>Partial report.</b> Not finished: '
        f"{', '.join(data.missing)}. Finished: {', '.join(data.stages) or 'none'}. Parts that "
        "need the others are left out.</div>"
    )


# --- what came out ----------------------------------------------------------------------------


def told(data: ReportData) -> list[Difference]:
    """The gains of the model at the end over the base and over the one before, over all data."""
    if not data.evidence or not data.scores:
        return []
    found = headline(data.scores)
    before, after = ends(list(dict.fromkeys(model for model, _ in found)))
    return [
        one
        for than in dict.fromkeys(("base", before))
        for one in data.evidence.differences
        if (one.better, one.than) == (after, than)
        and one.dataset in {ALL, found[after, one.mode].dataset}
    ]


def _lead(data: ReportData) -> str:
    """The result in a sentence or two."""
    gains = told(data)
    mode = "cot" if any(one.mode == "cot" for one in gains) else "direct"
    own = [one for one in gains if one.mode == mode]
    if not own:
        return ""
    first = own[0]
    value = 100 * headline(data.scores)[first.better, mode].value
    how = "reasoning" if mode == "cot" else "answering directly"
    said = "; ".join(
        f"<b>{parts.points(one.gain.value)} points</b> against {text(one.than)}, {_word(one)}"
        for one in own
    )
    return (
        f'<p class="lead">{text(first.better)} answers {value:.1f} % of {first.num_questions:,} '
        f"held-out questions right when {how}: {said}.</p>"
    )


def _word(one: Difference) -> str:
    if not one.is_sure:
        return '<span class="faint">not significant</span>'
    if one.gain.value > 0:
        return '<span class="good">▲ significant</span>'
    return '<span class="bad">▼ significant loss</span>'


def _results(data: ReportData) -> str:
    """Direct and reasoned accuracy of each model, and what was gained."""
    found = headline(data.scores)
    if not found:
        return ""
    models = list(dict.fromkeys(model for model, _ in found))
    gains = told(data)
    against = list(dict.fromkeys((one.better, one.than) for one in gains))
    head = "".join(
        f'<th scope="col">{text(model)}<small>{STAGE_OF.get(model, "")}</small></th>'
        for model in models
    ) + "".join(
        f'<th scope="col">{text(ours)} over {text(theirs)}<small>gain, points</small></th>'
        for ours, theirs in against
    )
    changed = {(one.better, one.than, one.mode): one for one in gains}
    rows = "".join(
        f'<tr><th scope="row">{MODE_TITLES[mode]}</th>'
        + "".join(_accuracy(found.get((model, mode))) for model in models)
        + "".join(_change(changed.get((*names, mode))) for names in against)
        + "</tr>"
        for mode in MODES
        if any(known == mode for _, known in found)
    )
    return (
        '<div class="wide"><table class="result"><caption class="unseen">Accuracy on held-out '
        "questions in per cent, and gains in points, with 95 % intervals</caption>"
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        '<p class="faint">Below each: its 95 % interval. Gains: paired bootstrap and paired test '
        "over the same questions.</p>"
    )


def _accuracy(score: Score | None) -> str:
    if score is None:
        return "<td>-</td>"
    name = f"{score.model}/{score.mode}"
    rows = f"rows of model {score.model}, mode {score.mode}" + (
        ", mean of the datasets' means" if score.dataset == ALL else ""
    )
    source = f"predictions.parquet: mean of score, {rows}"
    value = traced(f"accuracy/{name}", score.value, f"{100 * score.value:.1f}", source)
    found = accuracy(score.value, score.standard_error, score.num_examples)
    low, high = (
        traced(f"accuracy_{end}/{name}", bound, f"{100 * bound:.1f}",
               f"95 % interval (Wilson) of {source}")
        for end, bound in (("low", found.low), ("high", found.high))
    )  # fmt: skip
    return f"<td><b>{value} %</b><small>{low} to {high}</small></td>"


def _change(one: Difference | None) -> str:
    if one is None:
        return "<td>-</td>"
    name = f"{one.better}-{one.than}/{one.mode}"
    source = (
        f"predictions.parquet: score of {one.better} less that of {one.than}, by example_id, "
        f"mode {one.mode}"
    )
    gain = traced(f"gain/{name}", one.gain.value, parts.points(one.gain.value), f"{source}: mean")
    low, high = (
        traced(f"gain_{end}/{name}", value, parts.points(value), f"{source}: bootstrap")
        for end, value in (("low", one.gain.low), ("high", one.gain.high))
    )
    p = traced(f"p/{name}", one.p_value, parts.chance(one.p_value), f"{source}: paired test")
    won = traced(f"won/{name}", one.num_won, f"{one.num_won:,}", f"{source}: above 0")
    lost = traced(f"lost/{name}", one.num_lost, f"{one.num_lost:,}", f"{source}: below 0")
    return (
        f"<td><b>{gain}</b> {_word(one)}<small>{low} to {high}, {p}<br>{won} won, {lost} lost"
        "</small></td>"
    )


# --- what was run, and what it cost -------------------------------------------------------------


def _facts(data: ReportData) -> str:
    facts = {
        "Base model": text(data.base),
        "Trained on": _counted("examples", data.sizes.examples, "questions"),
        "Tested on": _counted("benchmarks", data.sizes.benchmarks, "questions"),
        "Teacher": _teacher(data),
        "Candidates and pairs": _pairs(data),
        "Time and cost": _cost(data),
    }
    shown = "".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in facts.items() if v)
    return f'<dl class="facts">{shown}</dl>' if shown else ""


def _counted(kind: str, datasets: Mapping[str, int], what: str) -> str:
    if not datasets:
        return ""
    total = sum(datasets.values())
    each = _listed(f"{name} {count:,}" if len(datasets) > 1 else name
                   for name, count in datasets.items())  # fmt: skip
    shown = traced(f"num/{kind}", total, f"{total:,}", f"{kind}.parquet: number of rows")
    return f"{shown} {what}: {text(each)}"


def _listed(names: Iterable[str], count: int = 4) -> str:
    known = list(names)
    more = f" and {len(known) - count} more" if len(known) > count else ""
    return ", ".join(known[:count]) + more


def _teacher(data: ReportData) -> str:
    if data.sizes.rationales is None:
        return ""
    shown = traced(
        "num/rationales", data.sizes.rationales, f"{data.sizes.rationales:,}",
        "rationales.parquet: number of rows",
    )  # fmt: skip
    return f"{shown} rationales kept, by {text(_listed(data.sizes.teachers))}"


def _pairs(data: ReportData) -> str:
    sizes = data.sizes
    if sizes.candidates is None:
        return ""
    said = traced("num/candidates", sizes.candidates, f"{sizes.candidates:,}",
                  "candidates.parquet: number of rows")  # fmt: skip
    said += " candidates"
    if sizes.pairs is not None:
        pairs = traced(
            "num/pairs", sizes.pairs, f"{sizes.pairs:,}", "pairs.parquet: number of rows"
        )
        paired = traced("num/paired", sizes.paired, f"{sizes.paired:,}",
                        "pairs.parquet: different values of example_id")  # fmt: skip
        said += f", {pairs} pairs of {paired} questions"
    return said


def _cost(data: ReportData) -> str:
    if not data.stages:
        return ""
    seconds = {name: stage.seconds for name, stage in data.stages.items()}
    longest = max(seconds, key=lambda name: seconds[name])
    cost = sum(data.costs.values())
    paid = traced("cost_usd", cost, f"${cost:,.2f}",
                  "rationales.parquet and rejected.parquet: sum of cost_usd")  # fmt: skip
    return (
        f"{duration(sum(seconds.values()))}, of it {longest} {duration(seconds[longest])}; "
        f"{paid} for the teacher"
    )


def _gate(decision: Mapping[str, object] | None) -> str:
    """What the gate found, and the version that is registered."""
    if decision is None:
        return ""
    aliases = decision.get("aliases")
    named = [f"@{alias}" for alias in aliases] if isinstance(aliases, list) else []
    label = ", ".join(named) or "no alias"
    kind = "good" if decision.get("passed") else "bad"
    return (
        f'<div class="banner {kind}"><b>Registered: {text(str(decision.get("name")))} version '
        f"{text(str(decision.get('version')))}</b> ({text(label)})<br>Gate "
        f"{text(str(decision.get('reason')))}.{_checks(decision.get('checks'))}</div>"
    )


def _checks(checks: object) -> str:
    """What the gate looked at, a line each; nothing in a decision that could not be made."""
    if not isinstance(checks, list) or not checks:
        return ""
    rows = [
        f"<li>{'✓' if one['met'] else '✗'} {text(one['name'])}: {text(one['words'])}.</li>"
        for one in checks
    ]
    return f"<details><summary>All checks</summary><ul>{''.join(rows)}</ul></details>"
