"""Questions asked in the student's words and their answers read: evaluation, pyfunc and server.

All modes of a question, and several questions about a picture, are asked together, so that what
their prompts have in common is computed once. Equal prompts are answered once.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import TypeVar

import numpy as np

from chainsight import answers
from chainsight.answers import Reading
from chainsight.config import PromptStyle
from chainsight.records import Example, Mode
from chainsight.vlm import grouping
from chainsight.vlm.checkpoint import Loaded
from chainsight.vlm.sampling import Drawing, Generated, stream_units
from chainsight.vlm.template import Prompt, Row, student

T = TypeVar("T")
WINDOW = 512
"""Questions that are looked at together for equal prompts and pictures."""
UNIT = 4
"""A picture's questions begin together, up to this part of the places."""


@dataclass(frozen=True)
class Reply:
    """What a model said to one question."""

    prompt: str
    """The whole chat prompt as the model got it, with one placeholder a picture."""
    question: str
    """The user turn in it."""
    text: str
    reading: Reading
    rationale: str
    num_tokens: int


def ask(
    loaded: Loaded,
    examples: Sequence[Example],
    mode: Mode,
    *,
    style: PromptStyle,
    max_new_tokens: int,
    batch_size: int,
) -> Iterator[Reply]:
    """Greedy answers, one an example, in order; about `batch_size` are written at a time.

    Their references are not looked at.

    Raises:
        RecordError: a picture is refused.
    """
    ready: dict[int, Reply] = {}
    following = 0
    said = ask_modes(loaded, examples, {mode: max_new_tokens}, style=style, batch_size=batch_size)
    for number, _, reply in said:
        ready[number] = reply
        while following in ready:
            yield ready.pop(following)
            following += 1


def ask_modes(
    loaded: Loaded,
    examples: Iterable[Example],
    limits: Mapping[Mode, int],
    *,
    style: PromptStyle,
    batch_size: int,
) -> Iterator[tuple[int, Mode, Reply]]:
    """Greedy answers in all modes, each as it ends, with its example's number and its mode.

    Args:
        limits: most new tokens, by mode.
        batch_size: answers of the longest mode that are written at a time, or a quarter more;
            those of shorter ones come on top, by the share of tokens that they may have.

    Raises:
        RecordError: a picture is refused.
    """
    plan = _Plan(loaded, limits, style, max(1, batch_size // UNIT))
    how = Drawing(max(limits.values()))
    for number, (one,) in stream_units(loaded, plan.units(examples), how, in_flight=batch_size):
        for asked in plan.answered(number):
            yield asked.number, asked.mode, _reply(loaded, asked.prompt, asked.mode, one)


@dataclass(frozen=True)
class _Asked:
    """Who waits for an answer."""

    number: int
    mode: Mode
    prompt: Prompt


class _Plan:
    """Examples as units of rows, and who waits for which row."""

    def __init__(
        self, loaded: Loaded, limits: Mapping[Mode, int], style: PromptStyle, most: int
    ) -> None:
        self._template, self._limits, self._style = loaded.template, limits, style
        self._most = most
        self._waiting: dict[bytes, list[_Asked]] = {}
        """By the digest of what was asked."""
        self._names: dict[int, bytes] = {}
        """The digests of the rows that were given out, by their number."""

    def units(self, examples: Iterable[Example]) -> Iterator[list[Row]]:
        """The rows to answer: those of a picture together, prompts of equal size in turn."""
        following = count()
        for window in _parts(enumerate(examples), WINDOW):
            for unit in self._of(window):
                self._names |= {next(following): name for name, _ in unit}
                yield [row for _, row in unit]

    def answered(self, number: int) -> list[_Asked]:
        """All who waited for that row."""
        return self._waiting.pop(self._names.pop(number))

    def _of(self, window: Sequence[tuple[int, Example]]) -> Iterator[list[tuple[bytes, Row]]]:
        about: dict[bytes | int, list[tuple[bytes, Row]]] = {}
        for number, example in window:
            for name, row in self._new(number, example):
                pictures = grouping.digest(np.empty(0), row.images) if row.images else number
                about.setdefault(pictures, []).append((name, row))
        size = self._most * len(self._limits)
        for rows in sorted(about.values(), key=lambda rows: -len(rows[0][1].prompt_ids)):
            yield from _parts(rows, size)

    def _new(self, number: int, example: Example) -> Iterator[tuple[bytes, Row]]:
        """The example's rows that nobody waits for yet, by what they ask."""
        for mode, limit in self._limits.items():
            prompt = student(example, mode, self._style)
            row = replace(self._template.row(prompt), longest=limit)
            name = grouping.digest(np.asarray([limit, *row.prompt_ids]), row.images)
            if name not in self._waiting:
                yield name, row
            self._waiting.setdefault(name, []).append(_Asked(number, mode, prompt))


def _parts(whole: Iterable[T], size: int) -> Iterator[list[T]]:
    """`size` at a time."""
    rest = iter(whole)
    while part := list(islice(rest, size)):
        yield part


def _reply(loaded: Loaded, prompt: Prompt, mode: Mode, one: Generated) -> Reply:
    return Reply(
        prompt=loaded.template.rendered(prompt),
        question=prompt.text,
        text=one.text,
        reading=answers.read_answer(one.text, mode, truncated=one.truncated),
        rationale=answers.rationale(one.text, mode),
        num_tokens=one.num_tokens,
    )
