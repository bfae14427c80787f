"""The table behind a chart, and how far a rationale's numbers agree with it.

A table is known for charts of `bars`, which carry it in the PNG, and for any example that brings
one in its `meta["table"]`: CSV text, the first line headings, the first column labels.
"""

import csv
import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice

from chainsight.answers import SENTENCE_END
from chainsight.demo import bars
from chainsight.metrics import leniency
from chainsight.metrics.relaxed_accuracy import TOLERANCE
from chainsight.metrics.relaxed_accuracy_exact_years import FIRST_YEAR, LAST_YEAR
from chainsight.metrics.words import parts
from chainsight.records import Example

META = "table"
"""Key of `Example.meta`."""
BARS = "bars"
"""The dataset whose images bring their table; others' need not be read to know that."""
NEAR = 3
"""Words that may stand between a label and its number."""
MOST = 100
"""Numbers of a rationale that are looked at."""
RECENT = 12
"""Different numbers of a rationale that a later one may be computed from."""
LONGEST = 10_000
"""Characters of a rationale that are looked at."""
BULLET = re.compile(r"^[ \t*]*\d+[.)][ \t]+", re.M)
"""The number of a list's item, which says nothing of the chart."""
SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
ORDINALS = frozenset(("st", "nd", "rd", "th"))

Words = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """The cells of a chart's table: a row of headings, and rows that begin with their label."""

    rows: tuple[tuple[str, ...], ...]

    @cached_property
    def numbers(self) -> tuple[float, ...]:
        """All numbers of the body, and how many rows and columns it has."""
        cells = [cell for row in self.rows[1:] for cell in row[1:]]
        return (*_numbers(cells), len(self.rows) - 1.0, len(self.rows[0]) - 1.0)

    @cached_property
    def labels(self) -> dict[Words, tuple[float, ...]]:
        """The numbers in the row or column of each label."""
        found: dict[Words, tuple[float, ...]] = {}
        columns = list(zip(*self.rows, strict=True))
        for line in (*self.rows[1:], *columns[1:]):
            if name := parts(line[0]):
                found[name] = found.get(name, ()) + _numbers(line[1:])
        return found


def _numbers(cells: Sequence[str]) -> tuple[float, ...]:
    return tuple(value for cell in cells if (value := leniency.number(cell)) is not None)


def table_of(example: Example) -> Table | None:
    """The table behind the example's chart, if it is known and has a body."""
    text = example.meta.get(META)
    rows = list(csv.reader(text.splitlines())) if text else _drawn(example)
    rows = [row for row in rows if row]
    width = max(map(len, rows), default=0)
    if len(rows) < 2 or width < 2:
        return None
    return Table(tuple((*row, *[""] * (width - len(row))) for row in rows))


def _drawn(example: Example) -> list[list[str]]:
    if example.dataset != BARS or not example.images:
        return []
    table = bars.read_table(example.images[0]) or ()
    return [["", ""], *([name, str(value)] for name, value in table)]


def agreement(thought: str, table: Table, question: str = "") -> float | None:
    """Share of the numbers in `thought` that the table bears out; None: there are none.

    A number right after a label (`jan 3`) must stand in that label's row or column. Another may be
    in those of the labels near it, or else of its sentence's labels, or anywhere if that names
    none; or follow from numbers that were borne out before it: the sum, difference, ratio,
    percentage or percent change of two, the sum or mean of all, or how many numbers the sentence
    before had. Numbers of the question are given. Within 5 %, as ChartQA judges answers; years to
    the year.
    """
    borne_out: list[float] = []
    verdicts: list[bool] = []
    for claim, before in islice(_all_claims(thought[:LONGEST], table, set(parts(question))), MOST):
        verdicts.append(claim.stands(borne_out, before))
        borne_out += [claim.value] if verdicts[-1] else []
    return sum(verdicts) / len(verdicts) if verdicts else None


def _all_claims(thought: str, table: Table, given: Set[str]) -> Iterator[tuple["Claim", int]]:
    """Each number, and how many the sentence before it had."""
    before = 0
    for sentence in SENTENCE_END.split(BULLET.sub("", thought)):
        own = list(_claims(parts(sentence), table, given))
        yield from ((claim, before) for claim in own)
        before = len(own)


@dataclass(frozen=True)
class Claim:
    """A number in a rationale, and the cells that it may be."""

    value: float
    scaled: float
    """The same with its "million"."""
    cells: tuple[float, ...]
    read: bool
    """It is said to stand there: `jan 3`. Nothing else will do."""

    def stands(self, known: Sequence[float], before: int) -> bool:
        """Whether it is one of its cells, or follows from `known` numbers or their count."""
        follows = () if self.read else chain((float(before),), _derived(known))
        said = {self.value, self.scaled}
        return any(_same(mine, cell) for cell in chain(self.cells, follows) for mine in said)


def _derived(known: Sequence[float]) -> Iterator[float]:
    """What one operation makes of numbers."""
    recent = list(dict.fromkeys(reversed(known)))[:RECENT]
    for at, one in enumerate(recent):
        for other in (*recent[:at], *recent[at + 1 :]):
            yield from (one + other, one - other)
            if other:
                yield from (one / other, 100 * one / other, 100 * (one - other) / other)
    if known:
        yield from (sum(known), sum(known) / len(known))


def _same(said: float, cell: float) -> bool:
    years = any(FIRST_YEAR <= x <= LAST_YEAR and float(x).is_integer() for x in (said, cell))
    return said == cell if years else abs(said - cell) <= TOLERANCE * abs(cell) + 1e-9


def _claims(words: Words, table: Table, given: Set[str]) -> Iterator[Claim]:
    """The numbers of a sentence that the question does not bring along."""
    spans = list(_label_spans(words, table))
    inside = {at for span in spans for at in range(span.start, span.end)}
    places = [
        at
        for at, word in enumerate(words)
        if at not in inside and word not in given and _is_number(words, at)
    ]
    for at in places:
        beside = _beside(at, spans, places)
        named = beside or spans
        cells = tuple(cell for span in named for cell in span.cells) if named else table.numbers
        value = float(words[at])
        scale = SCALES.get(words[at + 1], 1.0) if at + 1 < len(words) else 1.0
        yield Claim(value, scale * value, cells, read=len(beside) == 1 and beside[0].end == at)


@dataclass(frozen=True)
class Span:
    """Where a label stands in a sentence, and the numbers in its row or column."""

    start: int
    end: int
    cells: tuple[float, ...]


def _beside(at: int, spans: Sequence[Span], places: Sequence[int]) -> list[Span]:
    """The labels that the number at `at` may belong to: those next to it.

    In `jan 3, feb 5` it is the one before, unless a number leads: `3 for jan, 5 for feb`.
    """
    before = [s for s in spans if s.end <= at <= s.end + NEAR and not _any(places, s.end, at)]
    after = [
        s for s in spans if at < s.start <= at + 1 + NEAR and not _any(places, at + 1, s.start)
    ]
    if before and before[-1].end == at and spans[0].start < places[0]:
        return before[-1:]
    return before[-1:] + after[:1]


def _any(places: Sequence[int], start: int, end: int) -> bool:
    return any(start <= at < end for at in places)


def _is_number(words: Words, at: int) -> bool:
    ordinal = at + 1 < len(words) and words[at + 1] in ORDINALS
    return words[at].lstrip("-").replace(".", "", 1).isdecimal() and not ordinal


def _label_spans(words: Words, table: Table) -> Iterator[Span]:
    """The labels in a sentence, the longest at each place."""
    names = sorted(table.labels, key=len, reverse=True)
    at = 0
    while at < len(words):
        name = next((one for one in names if words[at : at + len(one)] == one), ())
        if name:
            yield Span(at, at + len(name), table.labels[name])
        at += len(name) or 1
