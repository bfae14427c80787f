"""The page's picture: a dot for each setting's mean, a line for its spread, as SVG by hand."""

from collections.abc import Mapping, Sequence
from html import escape

from chainsight.ablation.table import Cell

COLOURS = {"direct": "#3b82d6", "cot": "#2ea36a"}
ROW, LEFT, WIDTH, TOP, BOTTOM = 30, 250, 960, 26, 34
"""Pixels: height of a row, where the scale begins, the whole width, room above and below."""
RIGHT = 24


def dots(
    rows: Sequence[tuple[str, Mapping[str, Cell | None]]], titles: Mapping[str, str], label: str
) -> str:
    """Settings from top to bottom, percent from left to right; a colour for each mode.

    The line is a standard deviation over seeds to both sides, the faint dots are the seeds.
    """
    known = [100 * v for _, cells in rows for c in cells.values() if c for v in c.values.values()]
    if not known:
        return ""
    scale = Scale.around(known)
    height = TOP + ROW * len(rows) + BOTTOM
    body = _grid(scale, height) + _legend(titles)
    for number, (name, cells) in enumerate(rows):
        body += _row(name, cells, titles, scale, TOP + ROW * number + ROW / 2)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(label)}" font-size="13" fill="currentColor">{body}</svg>'
    )


class Scale:
    """Percent to pixels."""

    def __init__(self, low: float, high: float, step: float) -> None:
        self.low, self.high, self.step = low, high, step

    @classmethod
    def around(cls, values: Sequence[float]) -> "Scale":
        """Round bounds with at most ten steps between."""
        span = max(values) - min(values)
        step = next(s for s in (1, 2, 5, 10, 20) if span / s <= 8 or s == 20)
        low = max(0, step * (min(values) // step - (min(values) % step < step / 4)))
        high = min(100, step * (max(values) // step + 1))
        return cls(low, max(high, low + step), step)

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def ticks(self) -> list[float]:
        count = round((self.high - self.low) / self.step)
        return [self.low + self.step * number for number in range(count + 1)]


def _grid(scale: Scale, height: int) -> str:
    bottom = height - BOTTOM
    lines = ""
    for tick in scale.ticks():
        x = scale.at(tick)
        lines += (
            f'<line x1="{x}" x2="{x}" y1="{TOP}" y2="{bottom}" stroke="currentColor" '
            f'stroke-opacity="0.13"/><text x="{x}" y="{bottom + 18}" text-anchor="middle" '
            f'opacity="0.7">{tick:g}</text>'
        )
    return lines


def _legend(titles: Mapping[str, str]) -> str:
    marks = ""
    for number, (mode, title) in enumerate(titles.items()):
        x = LEFT + 170 * number
        marks += (
            f'<circle cx="{x}" cy="10" r="5" fill="{COLOURS[mode]}"/>'
            f'<text x="{x + 11}" y="14">{escape(title)}, %</text>'
        )
    return marks


def _row(
    name: str, cells: Mapping[str, Cell | None], titles: Mapping[str, str], scale: Scale, y: float
) -> str:
    shown = name if len(name) <= 34 else name[:33] + "…"
    marks = f'<text x="{LEFT - 14}" y="{y + 4.5}" text-anchor="end">{escape(shown)}</text>'
    for number, mode in enumerate(titles):
        cell = cells.get(mode)
        if cell:
            own = y + 6 * (number - (len(titles) - 1) / 2)
            marks += _mark(f"{name}, {titles[mode]}", cell, COLOURS[mode], scale, own)
    return marks


def _mark(title: str, cell: Cell, colour: str, scale: Scale, y: float) -> str:
    mean, spread = 100 * cell.mean, 100 * (cell.spread or 0.0)
    low, high = (scale.at(min(100, max(0, mean + side * spread))) for side in (-1, 1))
    seeds = "".join(
        f'<circle cx="{scale.at(100 * value)}" cy="{y}" r="2.5" fill="{colour}" opacity="0.4"/>'
        for value in cell.values.values()
    )
    return (
        f"<g><title>{escape(title)}: {mean:.1f} ± {spread:.1f} %</title>"
        f'<line x1="{low}" x2="{high}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="2"/>'
        f'{seeds}<circle cx="{scale.at(mean)}" cy="{y}" r="5" fill="{colour}"/></g>'
    )
