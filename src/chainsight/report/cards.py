"""The example cards of the report: single questions with everything that was said to them."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.parquet as pq
from PIL import Image

from chainsight import stored
from chainsight.metrics import is_right
from chainsight.records import Example

NUM_CARDS = 10
NUM_CANDIDATES = 4
"""Candidates shown per question: right and wrong ones, if there are both."""
MAX_SIDE = 420
"""Longest side of a card's picture, in pixels; bounds the page's size."""

T = TypeVar("T")


@dataclass(frozen=True)
class Said:
    """One text about a question. `right` is None where nothing was judged."""

    who: str
    """`teacher`, `candidate 3`, or a model's name."""
    mode: str
    text: str
    answer: str
    status: str
    right: bool | None
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture on a card."""

    uri: str
    """Data URI."""
    pixelated: bool
    """A small picture is shown larger with sharp pixels."""


@dataclass(frozen=True)
class Card:
    """A question with its pictures."""

    example_id: str
    part: str
    """`training` or `held out`."""
    question: str
    choices: tuple[str, ...]
    references: tuple[str, ...]
    pictures: tuple[Picture, ...]
    """Those that decode."""
    said: tuple[Said, ...] = field(default_factory=tuple)


def choose_cards(folders: Mapping[str, Path]) -> tuple[Card, ...]:
    """Half of the cards held out, half of training; the other half's where one is missing."""
    held_out = _predictions(folders)
    training = _training(folders)
    half = NUM_CARDS // 2
    num_held_out = max(half, NUM_CARDS - len(training))
    tests = _choose(held_out, num_held_out)
    trained = _choose(training, NUM_CARDS - len(tests))
    return (
        *_cards(folders, "benchmarks", "held out", {i: held_out[i] for i in tests}),
        *_cards(folders, "examples", "training", {i: training[i] for i in trained}),
    )


def _rows(folders: Mapping[str, Path], kind: str, name: str = "") -> list[dict[str, Any]]:
    path = folders[kind] / f"{name or kind}.parquet" if kind in folders else None
    if path is None or not path.is_file():
        return []
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def _predictions(folders: Mapping[str, Path]) -> dict[str, list[Said]]:
    found: dict[str, list[Said]] = {}
    for row in _rows(folders, "predictions"):
        found.setdefault(row["example_id"], []).append(_said(row["model"], row["mode"], row))
    return found


def _said(who: str, mode: str, row: Mapping[str, Any]) -> Said:
    return Said(who, mode, row["text"], row["answer"], row["status"], is_right(row["score"]))


def _training(folders: Mapping[str, Path]) -> dict[str, list[Said]]:
    """Of each training question the teacher's rationale and some candidates."""
    found: dict[str, list[Said]] = {}
    for kind, name in (("rationales", ""), ("rationales", "rejected")):
        for row in _rows(folders, kind, name):
            reason = row["reason"].replace("_", " ")
            note = f"set aside: {reason}" if reason else "kept"
            said = Said(
                "teacher", "cot", row["text"], row["answer"], row["status"], not reason, note
            )
            found.setdefault(row["example_id"], []).append(said)
    candidates: dict[str, list[dict[str, Any]]] = {}
    for row in _rows(folders, "candidates"):
        candidates.setdefault(row["example_id"], []).append(row)
    for example_id, rows in candidates.items():
        right = sum(is_right(row["score"]) for row in rows)
        note = f"{right} of {len(rows)} candidates right"
        shown = [_said(f"candidate {row['index']}", "cot", row) for row in _mixed(rows)]
        found.setdefault(example_id, []).extend(
            Said(s.who, s.mode, s.text, s.answer, s.status, s.right, note) for s in shown
        )
    return found


def _mixed(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Right and wrong candidates in turn, in the order of their index."""
    right = [row for row in rows if is_right(row["score"])]
    wrong = [row for row in rows if not is_right(row["score"])]
    num_right = min(len(right), max(NUM_CANDIDATES // 2, NUM_CANDIDATES - len(wrong)))
    chosen = [*right[:num_right], *wrong[: NUM_CANDIDATES - num_right]]
    return sorted(chosen, key=lambda row: int(row["index"]))


def _choose(said: Mapping[str, Iterable[Said]], count: int) -> list[str]:
    """Questions from all over, those before others on which the voices disagree."""
    disputed = [i for i, voices in said.items() if len({one.right for one in voices}) > 1]
    others = [i for i in said if i not in set(disputed)]
    chosen = spread(disputed, count)
    return [*chosen, *spread(others, count - len(chosen))]


def spread(items: Sequence[T], count: int) -> list[T]:
    """`count` of `items` at equal distances; all if there are fewer."""
    if len(items) <= count:
        return list(items)
    return [items[k * len(items) // count] for k in range(count)]


def _cards(
    folders: Mapping[str, Path], kind: str, part: str, said: Mapping[str, Sequence[Said]]
) -> list[Card]:
    if kind not in folders or not said:
        return []
    path = folders[kind] / f"{kind}.parquet"
    by_id = {example.id: example for example in stored.examples(path) if example.id in said}
    return [_card(part, by_id[i], said[i]) for i in said if i in by_id]


def _card(part: str, example: Example, said: Sequence[Said]) -> Card:
    shown = [picture(image) for image in example.images]
    return Card(
        example_id=example.id,
        part=part,
        question=example.question,
        choices=example.choices or (),
        references=example.references,
        pictures=tuple(one for one in shown if one),
        said=tuple(said),
    )


def picture(image: bytes, side: int = MAX_SIDE) -> Picture | None:
    """A picture as PNG or JPEG, whichever is smaller; None if it does not decode."""
    try:
        with Image.open(io.BytesIO(image)) as opened:
            shown = opened.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None  # the card shows the text alone
    tiny = max(shown.size) <= MAX_SIDE // 2
    shown.thumbnail((side, side))
    forms = {"png": io.BytesIO(), "jpeg": io.BytesIO()}
    shown.save(forms["png"], "PNG", optimize=True)
    shown.save(forms["jpeg"], "JPEG", quality=82)
    form = "png" if tiny or forms["png"].tell() <= forms["jpeg"].tell() else "jpeg"
    encoded = base64.b64encode(forms[form].getvalue()).decode("ascii")
    return Picture(f"data:image/{form};base64,{encoded}", tiny)
