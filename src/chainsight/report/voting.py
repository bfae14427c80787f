"""The picture of a verification: accuracy against the number of samples."""

from collections.abc import Sequence

import matplotlib as mpl

from chainsight.analysis.curves import Point
from chainsight.report import plots

COLOURS = {
    "best": plots.COLOURS["aligned"],
    "weighted": plots.COLOURS["policy"],
    "majority": plots.MORE_COLOURS[0],
    "random": plots.COLOURS["base"],
}
"""Methods with a line of their own, in the order of the legend."""
TITLES = {
    "best": "best-of-N by reward",
    "weighted": "weighted voting",
    "majority": "majority voting",
    "random": "random choice",
}


def picture(points: Sequence[Point], name: str) -> str:
    """A line a method with the band of its gain over greedy, which is the dashed line."""
    greedy = 100 * next(point.value for point in points if point.method == "greedy")
    with mpl.rc_context(plots.STYLE):
        figure = plots.canvas(plots.WIDTH, 4.1)
        axes = figure.subplots()
        axes.axhline(greedy, color=plots.TEXT, lw=1, ls=(0, (4, 3)), label="greedy answer")
        for method, colour in COLOURS.items():
            own = [point for point in points if point.method == method]
            ns = [point.n for point in own]
            axes.plot(ns, [100 * p.value for p in own], color=colour, lw=1.8, marker="o", ms=4,
                      label=TITLES[method])  # fmt: skip
            axes.fill_between(
                ns,
                [greedy + 100 * point.low for point in own],
                [greedy + 100 * point.high for point in own],
                color=colour, alpha=0.16, lw=0,
            )  # fmt: skip
        axes.set_xscale("log", base=2)
        axes.set_xticks(ns, [str(n) for n in ns])
        axes.minorticks_off()
        axes.set_xlabel("samples")
        axes.set_ylabel("accuracy, %")
        axes.grid(axis="y")
        figure.legend(loc="outside upper left", ncols=3)
    said = "; ".join(f"{TITLES[method]}: {_said(points, method)}" for method in COLOURS)
    described = f"Greedy: {greedy:.1f} %. {said}."
    return plots.svg(figure, name, "Accuracy by number of samples", described)


def _said(points: Sequence[Point], method: str) -> str:
    own = [point for point in points if point.method == method]
    return ", ".join(f"{100 * point.value:.1f} % of {point.n}" for point in own)
