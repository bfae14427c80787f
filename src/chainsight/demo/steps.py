"""Where a chain of thought about a bar chart goes wrong first: the toy world's own annotator.

A chain is followed word by word along the right derivations: that of `bars.solve`, with the two
bars of a question in either order, and with restatements written or skipped. Where it leaves the
last of them is its first wrong word. All before it is right, so that it is wrong in itself, not
for what went before.

    jan 3, feb 5, mar 9; What is the sum of jan and feb?
    The bars read jan 3, feb 5, mar 9. Asked for are jan 3 and mar 9. 3 plus 9 is 12. ...
                                                             ^^^ look-up
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

from chainsight.demo import bars
from chainsight.prompts import MARKER

Fault = Literal["reading", "look-up", "computation", "conclusion", "answer", "leap"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
"""In the list of all bars; in what is restated of it; in a calculation or a count; in which bar is
said to be the highest or lowest; in the answer after a whole derivation, and after one of which a
sentence was skipped."""

WORD = re.compile(r"\w+|#+|[^\w\s#]")
SENTENCE = re.compile(r"[^.]+\.")
BORDER = re.compile(r"[,.]|\band\b")
"""What parts steps; so the last one is the whole line of the marker."""
ALIKE = (
    re.compile(rf"\d+|none|{'|'.join(bars.NAMES)}"),
    re.compile("[,.]|and"),
    re.compile("highest|lowest"),
    re.compile("plus|minus"),
)
"""Words that can be taken for each other. Another in their place says nothing about bars."""

Span = tuple[int, int]
"""Characters: the first, and the one after the last."""


@dataclass(frozen=True)
class Slip:
    """The first wrong step of a chain."""

    fault: Fault
    word: Span
    """The word at which the chain leaves every right derivation."""
    step: Span
    """What is around the word, from border to border."""


@dataclass(frozen=True)
class Unreadable:
    """A chain that leaves the right derivations by no word about bars, or ends too early."""

    at: int
    """Character."""


_Way = list[tuple[str, Fault]]
"""Words of a derivation, each with what it is to write another one in its place."""


def first_slip(table: bars.Table, question: str, chain: str) -> Slip | Unreadable | None:
    """The first wrong step of `chain`, an answer to a question about `table`; None: all is right.

    Bars come in the chart's order, as the teacher writes them: to skip one is wrong at the word
    in its place.

    Raises:
        ValueError: no question about these bars (`bars.solve`).
    """
    said = list(WORD.finditer(chain))
    words = [one.group() for one in said]
    ends = [(way, _common(way, words)) for way in _ways(table, question)]
    if any(common == len(way) == len(words) for way, common in ends):
        return None
    furthest = max(common for _, common in ends)
    if furthest == len(words):
        return Unreadable(len(chain))
    word = said[furthest].span()
    for way, common in ends:
        if common == furthest < len(way) and _alike(way[common][0], words[common]):
            return Slip(way[common][1], word, _step(chain, word))
    return Unreadable(word[0])


def _ways(table: bars.Table, question: str) -> Iterator[_Way]:
    """The right derivations, the fullest first."""
    listing, *thoughts, answer = _sentences(table, question)
    _, *turned, _ = _sentences(table, _turned(question))
    choices = [dict.fromkeys((*both, "")) for both in zip(thoughts, turned, strict=True)]
    for middle in product(*choices):
        way = _words(listing, "reading")
        for sentence in middle:
            way += _words(sentence, _fault(sentence))
        yield way + _words(answer, "answer" if all(middle) else "leap")


def _sentences(table: bars.Table, question: str) -> list[str]:
    text, _, answer = bars.solve(table, question)[0].partition(MARKER)
    return [*SENTENCE.findall(text), MARKER + answer]


def _turned(question: str) -> str:
    """The question with its two bars in the other order, if it names two."""
    names = [word for word in WORD.findall(question) if word in bars.NAMES]
    if len(names) != 2:
        return question
    other = dict(zip(names, reversed(names), strict=True))
    return WORD.sub(lambda word: other.get(word.group(), word.group()), question)


def _fault(sentence: str) -> Fault:
    if sentence.startswith((" Asked", " Above")):
        return "look-up"
    return "conclusion" if sentence.startswith(" The") else "computation"


def _words(sentence: str, fault: Fault) -> _Way:
    return [(word, fault) for word in WORD.findall(sentence)]


def _common(way: _Way, words: Sequence[str]) -> int:
    """How many words both begin with."""
    pairs = enumerate(zip(way, words, strict=False))
    return next((at for at, (one, word) in pairs if one[0] != word), min(len(way), len(words)))


def _alike(one: str, other: str) -> bool:
    return any(words.fullmatch(one) and words.fullmatch(other) for words in ALIKE)


def _step(chain: str, word: Span) -> Span:
    """From border to border; what was left out or added at a border is the border and what follows,
    or nothing after a full stop."""
    if chain[slice(*word)] == ".":
        return word
    ends = [border.end() for border in BORDER.finditer(chain, 0, word[0])]
    start = word[0] if BORDER.fullmatch(chain, *word) else max(ends, default=0)
    following = BORDER.search(chain, word[1])
    return start, following.start() if following else len(chain)
