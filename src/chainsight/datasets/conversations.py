"""Rows as LLaVA's trainers read them: an image's path and a list of turns, human and gpt.

{"id": "000000033471", "image": "coco/train2017/000000033471.jpg", "conversations":
 [{"from": "human", "value": "<image>\\nWhat is the bus doing?"}, {"from": "gpt", ...}]}
"""

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from string import ascii_uppercase
from typing import Any

from chainsight.datasets.base import image, is_empty, text
from chainsight.datasets.labels import listed
from chainsight.datasets.sources import BadRowError, Row

IMAGE = "<image>"
"""Where the picture stands in a turn. The prompt puts it first, as LLaVA's trainers do."""

INSTRUCTION = re.compile(
    r"\n(?:Generate a reason first|Answer the question (?:with|using)|Answer with|Please answer)"
    r"[^\n]*\Z"
)
"""What publishers wrote under a question: our own is put there when it is asked."""

FIRST_OPTION = re.compile(r"\(?A[.:)]\s*\S")
OPTION = re.compile(r"\(?([A-Z])\)?\s*[:.)]\s*(.*)")

Exchange = tuple[str, str]
"""A request and its answer."""


def exchanges(row: Row, column: str = "conversations") -> list[Exchange]:
    """The turns in twos, without the picture's place."""
    turns = listed(row, column, "no conversation")
    if not all(isinstance(turn, Mapping) and {"from", "value"} <= turn.keys() for turn in turns):
        raise BadRowError("conversations is no list of turns")
    if len(turns) % 2:
        raise BadRowError("a turn has no answer")
    humans, gpts = turns[::2], turns[1::2]
    return [(_said(h, "human"), _said(g, "gpt")) for h, g in zip(humans, gpts, strict=True)]


def _said(turn: Mapping[str, Any], speaker: str) -> str:
    if turn["from"] != speaker:
        raise BadRowError("the turns are not human and gpt by turns")
    missing = "empty question" if speaker == "human" else "no answer"
    return without_image(text(turn, "value", missing), missing)


def without_image(said: str, missing: str = "empty question") -> str:
    """A turn without the picture's place; `missing` is the reason if nothing else is there."""
    left = said.replace(IMAGE, "").strip()
    if not left:
        raise BadRowError(missing)
    return left


def without_instruction(said: str) -> str:
    """A question without the picture's place and the publisher's instruction, if it ends in one."""
    question = INSTRUCTION.sub("", without_image(said)).strip()
    if not question:
        raise BadRowError("empty question")
    return question


def single(row: Row) -> Exchange:
    """The only exchange of a row that asks one question."""
    found = exchanges(row)
    if len(found) > 1:
        raise BadRowError("several questions in one row")
    return found[0]


def pictures(row: Row) -> tuple[bytes, ...]:
    """The picture of a row, none if it is about text."""
    cell = row.get("image")
    if cell != "" and not is_empty(cell):
        return (image(row, "image"),)
    if IMAGE in str(row["conversations"]):
        raise BadRowError("no image")  # though a turn shows one
    return ()


def instruction(row: Row) -> dict[str, Any]:
    """A row to be learned word for word, with all its exchanges, as fields of an Example."""
    (question, answer), *later = exchanges(row)
    return {
        "question": question,
        "references": (answer,),
        "images": pictures(row),
        "turns": tuple(chain.from_iterable(later)),
        "kind": "instruct",
        "metric": "exact_match",
        "reward": "",
        "meta": source_id(row),
    }


def source_id(row: Row, column: str = "id") -> dict[str, str]:
    """The publisher's id as `meta`; it names no Example, as it need not be unique."""
    found = row.get(column)
    return {} if found is None else {column: str(found)}


# --- options ---------------------------------------------------------------------------------


def lettered_lines(lines: Sequence[str]) -> tuple[str, ...]:
    """The texts of lettered lines, `A. uk` or `A:35°`, which must run from A without a gap."""
    found = [OPTION.fullmatch(line.strip()) for line in lines]
    letters = [match[1] if match else "" for match in found]
    if len(letters) < 2 or letters != list(ascii_uppercase[: len(letters)]):
        raise BadRowError("the options are not one a line from A on")
    texts = tuple(match[2].strip() for match in found if match)
    if not all(texts):
        raise BadRowError("empty option")
    return texts


def split_options(asked: str) -> tuple[str, tuple[str, ...] | None]:
    """The question and the lettered lines at its end, None if there are none."""
    lines = asked.splitlines()
    first = next((n for n, line in enumerate(lines) if FIRST_OPTION.match(line.strip())), 0)
    if not first:
        return asked, None
    return "\n".join(lines[:first]).strip(), lettered_lines(lines[first:])
