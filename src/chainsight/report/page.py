"""The page itself. Whatever a model or a data set wrote is escaped."""

from collections.abc import Mapping, Sequence
from html import escape

from chainsight import prompts
from chainsight.config import PromptStyle
from chainsight.records import MODES, Score
from chainsight.report import comparisons, distillation
from chainsight.report.cards import Card, Said
from chainsight.report.data import ReportData, StageResult
from chainsight.scoring import ALL, headline, is_forgiving
from chainsight.webpage import document, table, tiles

LENIENT = "commas in numbers, units and the like forgiven; no other figure is made of it"


def build(data: ReportData) -> str:
    """One self-contained HTML page: no script, no resource from elsewhere."""
    sections = (
        _header(data),
        _tiles(data),
        _scores(data),
        comparisons.section(data.evidence),
        _curves(data),
        _flow(data),
        distillation.section(data.answers),
        _costs(data),
        _accuracies(data),
        _cards(data),
        _prompts(data.prompt_style),
        _metrics(data),
    )
    return document(f"Chainsight: {data.name}", sections, distillation.STYLE + comparisons.STYLE)


def _figure(svg: str) -> str:
    return f'<figure class="wide">{svg}</figure>' if svg else ""


def _header(data: ReportData) -> str:
    versions = " · ".join(f"{escape(k)} {escape(v)}" for k, v in data.versions.items())
    moment = f"{data.created:%Y-%m-%d %H:%M} UTC"
    parts = [
        f"<h1>{escape(data.name)}</h1>",
        f'<p class="faint">Chainsight run, report of {moment}<br>{versions}</p>',
    ]
    if data.missing:
        done = ", ".join(data.stages) or "none"
        parts.append(
            '<div class="banner bad"><b>Partial report.</b> Not finished: '
            f"{', '.join(data.missing)}. Finished: {done}. Parts that need the others are left "
            "out.</div>"
        )
    if data.decision:
        parts.append(_verdict(data.decision))
    return "\n".join(parts)


def _verdict(decision: Mapping[str, object]) -> str:
    aliases = decision.get("aliases")
    named = [f"@{alias}" for alias in aliases] if isinstance(aliases, list) else []
    label = ", ".join(named) or "no alias"
    kind = "good" if decision.get("passed") else "bad"
    return (
        f'<div class="banner {kind}"><b>Registered: {escape(str(decision.get("name")))} version '
        f"{escape(str(decision.get('version')))}</b> ({escape(label)})<br>Gate "
        f"{escape(str(decision.get('reason')))}.{_checks(decision.get('checks'))}</div>"
    )


def _checks(checks: object) -> str:
    """What the gate looked at, a line each; nothing in a decision that could not be made."""
    if not isinstance(checks, list) or not checks:
        return ""
    rows = [
        f"<li>{'✓' if one['met'] else '✗'} {escape(one['name'])}: {escape(one['words'])}.</li>"
        for one in checks
    ]
    return f"<details><summary>All checks</summary><ul>{''.join(rows)}</ul></details>"


def _tiles(data: ReportData) -> str:
    found = headline(data.scores)
    shown = []
    for model in ("base", "policy", "aligned"):
        if (model, "cot") in found:
            score = found[model, "cot"]
            shown.append((f"{100 * score.value:.1f} %", f"{model}, reasoned accuracy"))
    from chainsight.report.plots import duration

    total = sum(stage.seconds for stage in data.stages.values())
    cost = sum(data.costs.values())
    shown.append((duration(total), "stages, wall time"))
    shown.append((f"${cost:,.2f}", "cost of the teacher"))
    return tiles(shown)


def _scores(data: ReportData) -> str:
    if not data.scores:
        return ""
    from chainsight.report import plots

    models = list(dict.fromkeys(score.model for score in data.scores))
    modes = [m for m in MODES if any(score.mode == m for score in data.scores)]
    datasets = list(dict.fromkeys(score.dataset for score in data.scores))
    datasets.sort(key=lambda name: name != ALL)
    by_key = {(s.model, s.dataset, s.mode): s for s in data.scores}
    forgiving = any(score.lenient > score.value for score in data.scores)
    rows = []
    for dataset in datasets:
        for model in models:
            own = [by_key.get((model, dataset, mode)) for mode in modes]
            first = next((s for s in own if s), None)
            if first is None:
                continue
            dot = f'<span class="dot" style="background:{plots.colour(model, models)}"></span>'
            rows.append(
                [
                    escape("all (mean)" if dataset == ALL else dataset),
                    dot + escape(model),
                    *(_percent(score) for score in own),
                    *([_lenient(own, data.scores)] if forgiving else []),
                    f"{first.num_examples:,}",
                    *(_statuses(score) for score in own[-1:]),
                ]
            )
    titles = [f"{plots.MODE_TITLES[mode]}, %" for mode in modes]
    note = ""
    if forgiving:
        titles.append("lenient, %")
        note = f" Lenient ({' / '.join(modes)}): {LENIENT}."
    head = ["benchmark", "model", *titles, "questions", f"how {modes[-1]} answers were found"]
    count = len(titles)
    fingerprint = escape(data.fingerprint[:16])
    return (
        "<h2>Accuracy on held-out questions</h2>"
        f'<p class="faint">Greedy decoding; ± one standard error. Benchmark fingerprint '
        f"{fingerprint}.{note}</p>"
        + _figure(plots.scores(data.scores))
        + table(head, rows, range(2, 3 + count))
    )


def _percent(score: Score | None) -> str:
    if score is None:
        return "-"
    return f"{100 * score.value:.1f} ± {100 * score.standard_error:.1f}"


def _lenient(own: Sequence[Score | None], scores: Sequence[Score]) -> str:
    """The lenient variants in the order of the modes, in grey: they are no result."""
    shown = [
        f"{100 * score.lenient:.1f}" if score and is_forgiving(score, scores) else "-"
        for score in own
    ]
    return f'<span class="faint">{" / ".join(shown)}</span>'


def _statuses(score: Score | None) -> str:
    if score is None:
        return "-"
    ranked = sorted(score.status_rates.items(), key=lambda item: -item[1])
    return escape(", ".join(f"{name.replace('_', ' ')} {100 * r:.0f} %" for name, r in ranked))


def _curves(data: ReportData) -> str:
    if not any(data.curves.values()):
        return ""
    from chainsight.report import plots

    return (
        "<h2>Training</h2>"
        + _figure(plots.curves(data.curves))
        + '<p class="faint">Dashed: ln 2, the loss of a model without a preference.</p>'
    )


def _flow(data: ReportData) -> str:
    if not data.flows:
        return ""
    from chainsight.report import plots

    rows = [
        [
            row.stage,
            escape(f"{row.what} → {row.became}"),
            f"{row.entered:,}",
            f"{row.left:,}",
            escape("; ".join(f"{count:,} {reason}" for reason, count in row.lost)) or "-",
        ]
        for row in data.flows
    ]
    head = ["stage", "what", "entered", "left", "the others"]
    return (
        "<h2>What entered and left each stage</h2>"
        + _figure(plots.flow(data.flows))
        + table(head, rows, (2, 3))
    )


def _costs(data: ReportData) -> str:
    if not data.stages:
        return ""
    from chainsight.report import plots

    seconds = {name: stage.seconds for name, stage in data.stages.items()}
    cost = data.costs
    rows = [
        [
            name if name in seconds else f"{name}, so far",
            plots.duration(seconds[name]) if name in seconds else "-",
            f"${usd:,.4f}" if usd else "-",
        ]
        for name, usd in cost.items()
    ]
    rows.append(
        ["<b>all</b>", plots.duration(sum(seconds.values())), f"${sum(cost.values()):,.4f}"]
    )
    return (
        "<h2>Time and cost</h2>"
        '<p class="faint">Wall time of the executions that made the artifacts; reusing them takes '
        "no time.</p>"
        + _figure(plots.costs(seconds, cost))
        + table(["stage", "wall time", "cost"], rows, (1, 2))
    )


def _accuracies(data: ReportData) -> str:
    if not data.accuracies:
        return ""
    from chainsight.report import plots

    return (
        "<h2>How sure the policy is</h2>"
        '<p class="faint">Each training question was answered several times; those answered '
        "neither too rarely nor too often give preference pairs.</p>"
        + _figure(plots.accuracies(data.accuracies, data.band, data.num_candidates))
    )


def _cards(data: ReportData) -> str:
    if not data.cards:
        return ""
    return "<h2>Examples</h2>" + "\n".join(_card(card) for card in data.cards)


def _card(card: Card) -> str:
    kinds = {True: ' class="tiny"', False: ""}
    shown = [f'<img{kinds[one.pixelated]} src="{one.uri}" alt="">' for one in card.pictures]
    pictures = "\n".join(shown) or '<span class="faint">no picture</span>'
    body = escape(prompts.question_block(card.question, card.choices or None))
    said = "".join(_said(one) for one in card.said)
    references = escape(" | ".join(card.references))
    return (
        f'<div class="card"><div>{pictures}<p class="faint">{escape(card.example_id)}<br>'
        f'{escape(card.part)}</p></div><div><div class="question">{body}</div>'
        f'<p>reference: <b>{references}</b></p><div class="voices">{said}</div></div></div>'
    )


def _said(one: Said) -> str:
    verdict = ""
    if one.right is not None:
        kind, sign = ("good", "✓ right") if one.right else ("bad", "✗ wrong")
        verdict = f'<span class="mark {kind}">{sign}</span>'
    how = f'answer "{one.answer}", {one.status.replace("_", " ")}'
    note = f" · {one.note}" if one.note else ""
    return (
        f'<div class="said"><h3>{escape(one.who)} <span class="faint">{escape(one.mode)}</span> '
        f'{verdict}</h3><div class="text">{escape(one.text) or "(empty)"}</div>'
        f'<p class="faint">{escape(how + note)}</p></div>'
    )


def _prompts(name: PromptStyle) -> str:
    """The words of evaluation; single datasets may have their own (docs/prompts.md)."""
    style = prompts.STYLES[name]
    asked = "".join(
        f"<tr><td>{escape(mode)}</td><td>{choices} choices</td>"
        f"<td>{escape(text) or '(nothing)'}</td></tr>"
        for mode, wording in (("direct", style.direct), ("cot", style.cot))
        for choices, text in (("without", wording.open), ("with", wording.letter))
    )
    system = style.cot_system
    teacher = escape(prompts.TEACHER_SYSTEM)
    return (
        "<h2>Prompts</h2><p>Student, system:</p>"
        f"<pre>{escape(prompts.SYSTEM)}</pre>"
        + (f"<p>For a reason:</p><pre>{escape(system)}</pre>" if system != prompts.SYSTEM else "")
        + "<p>Student, after the question:</p>"
        f'<div class="wide"><table>{asked}</table></div>'
        f"<p>Teacher, system:</p><pre>{teacher}</pre>"
    )


def _metrics(data: ReportData) -> str:
    blocks = "".join(_stage_metrics(stage) for stage in data.stages.values())
    return f"<h2>All figures</h2>{blocks}" if blocks else ""


def _stage_metrics(stage: StageResult) -> str:
    rows = [[escape(name), f"{value:,.6g}"] for name, value in sorted(stage.metrics.items())]
    return (
        f"<details><summary>{escape(stage.name)}</summary>{table(['', ''], rows, (1,))}</details>"
    )
