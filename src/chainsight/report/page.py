"""The page itself. Whatever a model or a data set wrote is escaped."""

from collections.abc import Sequence
from importlib.resources import files

from chainsight import prompts
from chainsight.config import PromptStyle
from chainsight.records import MODES, Score
from chainsight.report import browser, comparisons, distillation, overview, pairing
from chainsight.report.data import ReportData, StageResult
from chainsight.report.parts import MODE_TITLES, duration
from chainsight.scoring import ALL, is_forgiving
from chainsight.webpage import document, table, text

LENIENT = "commas in numbers, units and the like forgiven; no other figure is made of it"


SCRIPT = files("chainsight.report").joinpath("page.js").read_text(encoding="utf-8")
STYLES = (overview.STYLE, comparisons.STYLE, browser.STYLE, pairing.STYLE, distillation.STYLE)


def build(data: ReportData) -> str:
    """One self-contained HTML page: no resource from elsewhere, whole without its script.

    A section is HTML that begins with its <h2>, which is its name in the list of contents.
    """
    sections = (
        overview.section(data),
        _scores(data),
        *comparisons.sections(data.evidence, data.samples),
        browser.section(data.samples),
        _flow(data),
        distillation.section(data.answers),
        _curves(data),
        _accuracies(data),
        pairing.section(data.exercises),
        _costs(data),
        _prompts(data.prompt_style),
        _metrics(data),
    )
    return document(f"Chainsight: {data.name}", sections, "".join(STYLES), SCRIPT, contents=True)


def _figure(svg: str) -> str:
    return f'<figure class="wide">{svg}</figure>' if svg else ""


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
                    text("all (mean)" if dataset == ALL else dataset),
                    dot + text(model),
                    *(_percent(score) for score in own),
                    *([_lenient(own, data.scores)] if forgiving else []),
                    f"{first.num_examples:,}",
                    *(_statuses(score) for score in own[-1:]),
                ]
            )
    titles = [f"{MODE_TITLES[mode]}, %" for mode in modes]
    note = ""
    if forgiving:
        titles.append("lenient, %")
        note = f" Lenient ({' / '.join(modes)}): {LENIENT}."
    head = ["benchmark", "model", *titles, "questions", f"how {MODE_TITLES[modes[-1]]}s were found"]
    count = len(titles)
    fingerprint = text(data.fingerprint[:16])
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
    return text(", ".join(f"{name.replace('_', ' ')} {100 * r:.0f} %" for name, r in ranked))


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
            text(f"{row.what} → {row.became}"),
            f"{row.entered:,}",
            f"{row.left:,}",
            text("; ".join(f"{count:,} {reason}" for reason, count in row.lost)) or "-",
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
            duration(seconds[name]) if name in seconds else "-",
            f"${usd:,.4f}" if usd else "-",
        ]
        for name, usd in cost.items()
    ]
    rows.append(["<b>all</b>", duration(sum(seconds.values())), f"${sum(cost.values()):,.4f}"])
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
        + _figure(plots.accuracies(data.accuracies, data.exercises.rules.band, data.num_candidates))
    )


def _prompts(name: PromptStyle) -> str:
    """The words of evaluation; single datasets may have their own (docs/prompts.md)."""
    style = prompts.STYLES[name]
    asked = [
        [text(mode), f"{choices} choices", text(words) or "(nothing)"]
        for mode, wording in (("direct", style.direct), ("cot", style.cot))
        for choices, words in (("without", wording.open), ("with", wording.letter))
    ]
    system = style.cot_system
    teacher = text(prompts.TEACHER_SYSTEM)
    return (
        "<h2>Prompts</h2><p>Student, system:</p>"
        f"<pre>{text(prompts.SYSTEM)}</pre>"
        + (f"<p>For a reason:</p><pre>{text(system)}</pre>" if system != prompts.SYSTEM else "")
        + "<p>Student, after the question:</p>"
        + table(["mode", "question", "words"], asked)
        + f"<p>Teacher, system:</p><pre>{teacher}</pre>"
    )


def _metrics(data: ReportData) -> str:
    versions = " · ".join(f"{text(k)} {text(v)}" for k, v in data.versions.items())
    blocks = "".join(_stage_metrics(stage) for stage in data.stages.values())
    return f'<h2>All figures</h2><p class="faint">{versions}</p>{blocks}' if blocks else ""


def _stage_metrics(stage: StageResult) -> str:
    rows = [[text(name), f"{value:,.6g}"] for name, value in sorted(stage.metrics.items())]
    inner = table(["figure", "value"], rows, (1,), f"Figures of {text(stage.name)}")
    return f"<details><summary>{text(stage.name)}</summary>{inner}</details>"
