"""What several sections of the page are made of. Whatever was written by others is escaped."""

from collections.abc import Sequence

from chainsight import prompts
from chainsight.report.pictures import Picture
from chainsight.webpage import text

MODE_TITLES = {"direct": "direct answer", "cot": "reasoned answer"}
MODE_WORDS = {"direct": "direct", "cot": "reasoned"}
"""Where there is room for a word."""


def images(pictures: Sequence[Picture], example_id: str) -> str:
    """The pictures of a question, each with its place where there are several."""
    tags = []
    for number, one in enumerate(pictures, start=1):
        which = f" {number} of {len(pictures)}" if len(pictures) > 1 else ""
        kind = ' class="tiny"' if one.pixelated else ""
        tags.append(
            f'<img{kind} src="{one.uri}" width="{one.width}" height="{one.height}" '
            f'alt="picture{which} of question {text(example_id)}">'
        )
    return "\n".join(tags) or '<span class="faint">no picture</span>'


def question(asked: str, choices: Sequence[str]) -> str:
    """A question with its choices."""
    body = text(prompts.question_block(asked, tuple(choices) or None))
    return f'<div class="question" dir="auto">{body}</div>'


def references(found: Sequence[str]) -> str:
    """The annotated answers."""
    return f'<p class="references">reference: <b dir="auto">{text(" | ".join(found))}</b></p>'


def verdict(right: bool, score: float | None = None) -> str:
    """`✓ right` or `✗ wrong`, with a score between the two ends."""
    kind, sign = ("good", "✓ right") if right else ("bad", "✗ wrong")
    part = f" ({score:.2f})" if score is not None and 0 < score < 1 else ""
    return f'<span class="mark {kind}">{sign}{part}</span>'


def points(value: float) -> str:
    """A difference of shares in points: `+4.3`, `0.0`."""
    return f"{100 * value:+.1f}".replace("+0.0", "0.0").replace("-0.0", "0.0")


def chance(p: float) -> str:
    """A p-value."""
    return f"p = {p:.3f}" if p >= 0.001 else "p < 0.001"


def duration(seconds: float) -> str:
    """`8.1 s`, `4 min 10 s`, `2 h 05 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
