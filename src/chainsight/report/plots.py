"""The report's pictures, as SVG that takes its text colour from the page. Owns matplotlib.

Colours: base grey, policy blue, aligned green (`COLOURS`); further models take the rest.
"""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from chainsight.records import MODES, Score
from chainsight.report.flow import Flow
from chainsight.report.parts import MODE_TITLES, duration
from chainsight.scoring import headline
from chainsight.webpage import text

COLOURS = {"base": "#8b949e", "policy": "#3b82d6", "aligned": "#2ea36a"}
MORE_COLOURS = ("#c2762c", "#8e63c7", "#b8476b", "#5b8f99")
ROWS, LOST, BAND = "#4b8f9b", "#d9705a", "#e0a526"
WIDTH = 9.6
"""Inches; the page scales all pictures to its column alike."""
TEXT = "#010203"
"""Stands for the page's text colour until the SVG is written."""
STYLE: Any = {
    "svg.fonttype": "none",  # real text: searchable, in the page's font
    "text.parse_math": False,  # a model called $x$ is not mathematics
    "font.size": 11,
    "axes.edgecolor": TEXT,
    "axes.labelcolor": TEXT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "grid.color": TEXT,
    "grid.alpha": 0.13,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "text.color": TEXT,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
}


def colour(model: str, models: Sequence[str]) -> str:
    """A model's colour, the same in every picture."""
    others = [name for name in models if name not in COLOURS]
    if model in COLOURS:
        return COLOURS[model]
    return MORE_COLOURS[others.index(model) % len(MORE_COLOURS)]


def canvas(width: float, height: float) -> Figure:
    """An empty picture, inches."""
    return Figure(figsize=(width, height), layout="constrained")


def svg(figure: Figure, name: str, title: str, described: str) -> str:
    """The SVG element; `name` keeps its ids apart from other pictures' on the page.

    Title and description are plain text for those who do not see it.
    """
    out = io.StringIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    drawn = out.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r'\bid="', f'id="{name}-', drawn)
    drawn = re.sub(r"(url\(#|href=\"#)", rf"\1{name}-", drawn)
    drawn = drawn.replace(TEXT, "currentColor")
    named = f'<svg role="img" aria-labelledby="{name}-title" aria-describedby="{name}-desc"'
    told = (
        f'<title id="{name}-title">{title}</title><desc id="{name}-desc">{text(described)}</desc>'
    )
    head, end, body = drawn.replace("<svg", named, 1).partition(">")
    return head + end + told + body


def scores(rows: Sequence[Score]) -> str:
    """Accuracy by model, direct beside reasoned, with standard errors."""
    found = headline(rows)
    models = list(dict.fromkeys(model for model, _ in found))
    modes = [mode for mode in MODES if any((m, mode) in found for m in models)]
    width = 0.8 / len(models)
    with mpl.rc_context(STYLE):
        figure = canvas(WIDTH, 3.9)
        axes = figure.subplots()
        for i, model in enumerate(models):
            known = [k for k, mode in enumerate(modes) if (model, mode) in found]
            own = [found[model, modes[k]] for k in known]
            places = [k + (i - (len(models) - 1) / 2) * width for k in known]
            _bars(axes, places, own, width, label=model, color=colour(model, models))
        axes.set_xticks(range(len(modes)), [MODE_TITLES[mode] for mode in modes])
        axes.tick_params(axis="x", length=0)
        axes.set_ylabel("accuracy, %")
        axes.set_ylim(0, max(_tops(found.values())) * 1.12 + 4)
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        figure.legend(loc="outside upper left", ncols=min(len(models), 5), handlelength=1.1)
    said = "; ".join(
        f"{model}, {MODE_TITLES[mode]}: {100 * score.value:.1f} %"
        for (model, mode), score in found.items()
    )
    return svg(figure, "scores", "Accuracy by model", f"Bars with standard errors. {said}.")


def _tops(rows: Any) -> list[float]:
    return [100 * (row.value + row.standard_error) for row in rows]


def _bars(
    axes: Any, places: Sequence[float], own: Sequence[Score], width: float, **style: str
) -> None:
    values, errors = [100 * s.value for s in own], [100 * s.standard_error for s in own]
    axes.bar(places, values, width * 0.92, **style)
    axes.errorbar(places, values, errors, fmt="none", ecolor=TEXT, elinewidth=1, capsize=3)
    for place, value, error in zip(places, values, errors, strict=True):
        axes.annotate(
            f"{value:.1f}", (place, value + error), (0, 4), textcoords="offset points",
            ha="center", fontsize=10,
        )  # fmt: skip


LABELS = {
    "loss": "loss, nats",
    "rewards/margins": "reward margin, nats",
    "rewards/accuracies": "chosen preferred, %",
    "rewards/chosen": "chosen",
    "rewards/rejected": "rejected",
}


def curves(history: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Loss of SFT, loss and rewards of DPO, against optimizer steps."""
    panels = [
        (stage, keys)
        for stage, keys in (
            ("sft", ("loss",)),
            ("dpo", ("loss",)),
            ("dpo", ("rewards/chosen", "rewards/rejected", "rewards/margins")),
            ("dpo", ("rewards/accuracies",)),
        )
        if any(key in entry for entry in history.get(stage, ()) for key in keys)
    ]
    if not panels:
        return ""
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    with mpl.rc_context(STYLE):
        figure = canvas(WIDTH, 2.9 * rows)
        for place, (stage, keys) in enumerate(panels, start=1):
            _panel(figure.add_subplot(rows, columns, place), stage, keys, history[stage])
        engine: Any = figure.get_layout_engine()
        engine.set(hspace=0.08, wspace=0.04)
    ends = "; ".join(
        f"{stage}: {LABELS[key]} from {known[0]:.3g} to {known[-1]:.3g}"
        for stage, keys in panels
        for key in keys
        if (known := [entry[key] for entry in history[stage] if entry.get(key) is not None])
    )
    return svg(figure, "curves", "Training curves", f"Against optimizer steps. {ends}.")


def _panel(
    axes: Any, stage: str, keys: Sequence[str], entries: Sequence[Mapping[str, float]]
) -> None:
    own = COLOURS["policy" if stage == "sft" else "aligned"]
    shades = {"rewards/chosen": ROWS, "rewards/rejected": LOST}
    labels = {"rewards/margins": "margin", **LABELS} if len(keys) > 1 else {}
    for key in keys:
        points = [(e["step"], e[key]) for e in entries if key in e and e[key] is not None]
        scale = 100 if key == "rewards/accuracies" else 1
        steps, values = [p[0] for p in points], [scale * p[1] for p in points]
        label = "margin" if key == "rewards/margins" and labels else labels.get(key)
        marker = "o" if len(points) < 3 else None
        axes.plot(steps, values, color=shades.get(key, own), lw=1.6, label=label, marker=marker)
    if stage == "dpo" and "loss" in keys:
        axes.axhline(0.6931, color=TEXT, lw=0.8, ls=(0, (3, 3)), alpha=0.5)  # ln 2: no preference
    axes.set_title(f"{stage}: {LABELS[keys[0]] if len(keys) == 1 else 'implicit rewards, nats'}")
    if keys == ("rewards/accuracies",):
        axes.set_ylim(0, 103)
    axes.set_xlabel("optimizer step")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.grid(axis="y")
    if labels:
        axes.legend(fontsize=10)


def flow(rows: Sequence[Flow]) -> str:
    """What entered each stage: what left it, and what was lost on the way."""
    with mpl.rc_context(STYLE):
        figure = canvas(WIDTH, 0.42 * len(rows) + 0.5)
        axes = figure.subplots()
        for i, row in enumerate(rows):
            share = 100 * row.left / row.entered if row.entered else 0.0
            axes.barh(i, share, 0.62, color=ROWS)
            axes.barh(
                i, (100 if row.entered else 0) - share, 0.62, left=share, color=LOST, alpha=0.55
            )
            text = f"{row.left:,} of {row.entered:,}  ({share:.0f} %)"
            axes.annotate(text, (102, i), va="center", fontsize=10, annotation_clip=False)
        names = [f"{row.stage}: {row.became}" for row in rows]
        axes.set_yticks(range(len(rows)), names)
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.set_xlim(0, 130)
        axes.set_xticks([0, 25, 50, 75, 100], ["0", "25", "50", "75", "100 %"])
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.tick_params(axis="x", length=0)
    said = "; ".join(
        f"{row.stage}: {row.left:,} of {row.entered:,} {row.what} became {row.became}"
        for row in rows
    )
    return svg(figure, "flow", "Rows entering and leaving each stage", f"Bars. {said}.")


def costs(seconds: Mapping[str, float], cost_usd: Mapping[str, float]) -> str:
    """Wall time of each stage, with the money spent beside it."""
    names = list(seconds)
    with mpl.rc_context(STYLE):
        figure = canvas(WIDTH, 0.38 * len(names) + 0.8)
        axes = figure.subplots()
        longest = max(seconds.values()) or 1.0
        unit, per = ("min", 60) if longest >= 180 else ("s", 1)
        axes.barh(range(len(names)), [seconds[n] / per for n in names], 0.62, color=ROWS)
        for i, name in enumerate(names):
            money = f", ${cost_usd[name]:,.2f}" if cost_usd.get(name) else ""
            text = duration(seconds[name]) + money
            axes.annotate(
                text, (seconds[name] / per, i), (5, 0), textcoords="offset points",
                va="center", fontsize=10,
            )  # fmt: skip
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.set_xlim(0, longest / per * 1.22)
        axes.set_xlabel(f"wall time, {unit}")
        axes.grid(axis="x")
        axes.set_axisbelow(True)
    said = "; ".join(f"{name}: {duration(seconds[name])}" for name in names)
    return svg(figure, "costs", "Wall time and cost of each stage", f"Bars. {said}.")


def accuracies(
    values: Sequence[float], band: tuple[float, float] | None, num_candidates: int
) -> str:
    """How often the policy answers each sampled question right; the band gives pairs."""
    count = min(num_candidates, 32)
    bins = [(k - 0.5) / count for k in range(count + 2)]  # centred on the possible shares
    with mpl.rc_context(STYLE):
        figure = canvas(WIDTH, 3.3)
        axes = figure.subplots()
        if band:
            inside = sum(band[0] <= value <= band[1] for value in values)
            label = f"band {band[0]:g} to {band[1]:g}: {inside:,} of {len(values):,} questions"
            axes.axvspan(*band, color=BAND, alpha=0.22, lw=0, label=label)
        axes.hist(values, bins, color=COLOURS["policy"], rwidth=0.9)
        axes.set_xlabel("share of a question's candidates that are right")
        axes.set_ylabel("questions")
        axes.set_xlim(bins[0], bins[-1])
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        if band:
            figure.legend(loc="outside upper left")
    middle = sorted(values)[len(values) // 2]
    said = f"Histogram over {len(values):,} questions, half of them above {middle:.2f}."
    return svg(figure, "accuracies", "Share of candidates that are right", said)
