"""The section on whether a reward knows what is right, for the page of `chainsight verify`."""

from collections.abc import Sequence

from chainsight.analysis.calibration import AGREEMENT, Calibration, Reliability
from chainsight.analysis.intervals import Interval
from chainsight.webpage import table

SIDE, EDGE = 240, 34
"""Of a picture of reliability, and its margin at the left and below, in pixels."""
ABOUT = {
    "reward": "log(aligned / policy)",
    "reward per token": "the same, by length",
    "log-probability": "of the aligned model: a control",
    "brevity": "few tokens: a control",
    AGREEMENT: "share of a question's samples that give its most frequent answer, which is judged",
}
STYLE = """
.reliable { display: flex; flex-wrap: wrap; gap: 10px 26px; }
.reliable figure { flex: 0 1 240px; margin: 8px 0; } .reliable figure svg { min-width: 0;
  width: 240px; } .reliable figcaption { font-size: 13px; }
"""


def section(found: Sequence[Calibration]) -> str:
    """The section; "" where all answers are right, or all are wrong."""
    if not found:
        return ""
    rows = [_row(one) for one in found]
    head = ["signal", "answers", "AUROC", "within a question", "AUPRC", "calibration error"]
    pictures = [_picture(one) for one in found if one.reliability.bins]
    return (
        "<h2>Does the reward know what is right?</h2>"
        '<p class="faint">Samples of all benchmarks that have an answer; 95 % intervals by '
        "bootstrap over questions, with all their answers. AUROC: chance that a right "
        "answer stands above a wrong one; 0.5 is blind. Within a question only "
        "answers to the same one are compared, which is what choosing needs: "
        "knowing which questions are easy is worth nothing there. AUPRC: mean "
        "precision; blind is the share of right answers, in brackets. Calibration error: distance "
        "of predicted from found shares, in points; the chances are fitted on one half of the "
        "questions and shown on the other; after the comma what exact chances would have had by "
        "the smallness of the bins.</p>"
        f"{table(head, rows, range(1, 6))}"
        f'<div class="reliable">{"".join(pictures)}</div>'
    )


def _row(one: Calibration) -> list[str]:
    within = f"{_area(one.within)}<br>{one.num_mixed:,} questions" if one.within else "-"
    about = f'{one.signal}<br><span class="faint">{ABOUT[one.signal]}</span>'
    return [
        about,
        f"{one.num_answers:,}",
        _area(one.auroc),
        within,
        f"{_area(one.auprc)}<br>({one.base_rate:.2f})",
        _errors(one.reliability),
    ]


def _area(found: Interval) -> str:
    return f"<b>{found.value:.2f}</b> ({found.low:.2f} to {found.high:.2f})"


def _errors(found: Reliability) -> str:
    if not found.bins:
        return "-"
    return f"<b>{100 * found.error:.1f}</b>, {100 * found.chance_error:.1f}"


def _picture(one: Calibration) -> str:
    """Bins as dots with their intervals; on the diagonal chances are exact."""
    parts = [
        f'<path d="M{_x(0)} {_y(0)}H{_x(1)}M{_x(0)} {_y(0)}V{_y(1)}" class="axis"/>',
        f'<path d="M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}" stroke-dasharray="4 3" stroke-opacity=".6"/>',
    ]
    for bin_ in one.reliability.bins:
        at, count = _x(bin_.predicted), bin_.count
        parts.append(
            f'<path d="M{at} {_y(bin_.right.low)}V{_y(bin_.right.high)}" stroke-width="1.5"/>'
            f'<circle cx="{at}" cy="{_y(bin_.right.value)}" r="4" fill="currentColor">'
            f"<title>{count:,} answers: predicted {100 * bin_.predicted:.0f} %, right "
            f"{100 * bin_.right.value:.0f} %</title></circle>"
        )
    said = "; ".join(
        f"predicted {100 * bin_.predicted:.0f}, right {100 * bin_.right.value:.0f}"
        for bin_ in one.reliability.bins
    )
    return (
        f'<figure><svg viewBox="0 0 {SIDE} {SIDE}" role="img" aria-label="{one.signal}, per cent: '
        f'{said}" fill="none" stroke="currentColor">{"".join(parts)}{_labels()}</svg>'
        f"<figcaption><b>{one.signal}</b></figcaption></figure>"
    )


def _labels() -> str:
    ticks = "".join(
        f'<text x="{_x(share)}" y="{_y(0) + 15:.1f}" text-anchor="middle">{100 * share:.0f}</text>'
        f'<text x="{EDGE - 5}" y="{_y(share) + 4:.1f}" text-anchor="end">{100 * share:.0f}</text>'
        for share in (0.0, 0.5, 1.0)
    )
    return (
        f'<g fill="currentColor" stroke="none" font-size="11">{ticks}'
        f'<text x="{_x(0.5)}" y="{SIDE - 3}" text-anchor="middle">predicted, %</text>'
        f'<text x="{EDGE + 5}" y="11">right, %</text></g>'
    )


def _x(share: float) -> float:
    return round(EDGE + share * (SIDE - EDGE - 12), 1)


def _y(share: float) -> float:
    return round(SIDE - EDGE - share * (SIDE - EDGE - 16), 1)
