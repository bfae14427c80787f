"""How differences, intervals and chances are written, and drawn as a strip in a table's cell."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from chainsight.analysis.intervals import Interval
from chainsight.report.parts import points
from chainsight.webpage import traced

WIDTH, HEIGHT, EDGE = 130, 18, 5
"""Of a strip, in pixels; nothing but halves of dots is in its edges."""
STYLE = """
.strip { display: block; width: 130px; height: 18px; min-width: 0; }
td .strip { margin-top: 2px; } .sign { white-space: nowrap; }
"""


@dataclass(frozen=True)
class Source:
    """What a figure is called on the page, and which rows it is of."""

    name: str
    rows: str


def gain(found: Interval, source: Source) -> str:
    """`+3.2`: a difference of 0.032, in points."""
    mean = traced(source.name, found.value, points(found.value), f"{source.rows}: mean")
    return f"<b>{mean}</b>"


def bounds(found: Interval, source: Source) -> str:
    """`-1.2 to +7.6`, in points."""
    ends = (("low", found.low), ("high", found.high))
    return " to ".join(
        traced(f"{source.name}/{end}", value, points(value), f"{source.rows}: bootstrap")
        for end, value in ends
    )


def percent(found: Interval) -> str:
    """`25 (14 to 40)`, in per cent."""
    ends = f"({100 * found.low:.0f} to {100 * found.high:.0f})"
    return f'{100 * found.value:.0f} <span class="faint">{ends}</span>'


def chance(p_value: float) -> str:
    """`0.032`, `< 0.001`."""
    return "&lt; 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def reading(found: Interval, sure: bool) -> str:
    """A sign and a word, so that nothing depends on colour."""
    if not sure:
        return '<span class="sign faint">○ open</span>'
    if found.value > 0:
        return '<span class="sign good">▲ above</span>'
    return '<span class="sign bad">▼ below</span>'


@dataclass(frozen=True)
class Scale:
    """From where to where the strips of a table reach."""

    low: float
    high: float

    def title(self) -> str:
        """What stands above the strips."""
        return f"{points(self.low)} to {points(self.high)}; line: 0"


def scale(found: Sequence[Interval]) -> Scale:
    """All intervals and zero, out to whole steps of 5 points."""
    low = min(-0.05, *(one.low for one in found))
    high = max(0.05, *(one.high for one in found))
    return Scale(math.floor(low * 20) / 20, math.ceil(high * 20) / 20)


def strip(found: Interval, scale: Scale) -> str:
    """The interval as a line, its middle as a dot, and where zero is; the numbers stand beside."""

    def at(value: float) -> str:
        share = (value - scale.low) / (scale.high - scale.low)
        return f"{EDGE + share * (WIDTH - 2 * EDGE):.1f}"

    middle = HEIGHT // 2
    return (
        f'<svg class="strip" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">'
        f'<path d="M{at(0)} 0V{HEIGHT}" stroke="currentColor" stroke-opacity=".6"/>'
        f'<path d="M{at(found.low)} {middle}H{at(found.high)}" stroke="currentColor" '
        f'stroke-width="2"/><circle cx="{at(found.value)}" cy="{middle}" r="4.5" '
        'fill="currentColor"/></svg>'
    )
