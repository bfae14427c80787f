"""Which training rows are already in a benchmark, or in the training data?

    screen = Screen()
    screen.hold_out(traces)           # every benchmark row, in blocks of any size, in row order
    verdicts = screen.judge(traces)   # then every training row, likewise: a Verdict or None each

A `Trace` is what is kept of a row (about 1 kB, can be pickled and sent between processes):
`trace(example, pictures)` with one `picture.look(image, max_pixels)` per image, in order. Rows
that were set aside for a fault are not shown to the screen. Blocks decide nothing: the verdicts
depend on the rows and their order alone, so that a resumed run may show the stored traces again.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from chainsight.hygiene.gallery import QUERIES, Gallery, sheet
from chainsight.hygiene.picture import Picture
from chainsight.hygiene.questions import plain, question_key
from chainsight.hygiene.repeats import Repeats
from chainsight.hygiene.thresholds import Thresholds
from chainsight.records import Example

IN_BENCHMARK = "image is in benchmark "
NEARLY_IN_BENCHMARK = "image is nearly one of benchmark "
QUESTION_IN_BENCHMARK = "question is in benchmark "
REPEATS = "repeats another row"
"""Reasons; the first three are followed by `dataset/split`."""

CHAINS = ("rationale", "chosen", "rejected")
"""Where `Example.meta` has chains of thought that were published with the question."""


@dataclass(frozen=True)
class Trace:
    """What is kept of a row to know it again."""

    id: str
    source: str
    """`dataset/split`."""
    question: bytes
    """Digest of the question's key."""
    references: bytes
    """Digest of the reference answers."""
    num_words: int
    """Words of the question, of which templates have few."""
    pictures: tuple[Picture, ...]
    chains: bytes = b""
    """Digest of the chains of thought that were published with the row and of a conversation's
    later turns; empty without any. Rows that differ in them alone do not repeat each other."""


@dataclass(frozen=True)
class Verdict:
    """Why a training row may not stay; the fields are those of `records.Quarantined`."""

    cause: Literal["leak", "duplicate"]
    reason: str
    """Equal for equal causes: one of the texts above."""
    detail: str
    """The other row's id and how alike they are."""


def trace(example: Example, pictures: Sequence[Picture]) -> Trace:
    """What is kept of `example`, whose images are `pictures`."""
    chains = [example.meta[name] for name in CHAINS if name in example.meta] + [*example.turns]
    return Trace(
        id=example.id,
        source=f"{example.dataset}/{example.split}",
        question=_digest(question_key(example.question, example.choices)),
        references=_digest("\n".join(sorted({plain(text) for text in example.references}))),
        num_words=len(plain(example.question).split()),
        pictures=tuple(pictures),
        chains=_digest("\n".join(chains)) if chains else b"",
    )


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Screen:
    """The benchmarks' rows first, then a verdict for each training row."""

    def __init__(self, thresholds: Thresholds | None = None) -> None:
        self._thresholds = thresholds or Thresholds()
        self._held: dict[bytes, _Held] = {}
        """By picture; the first row that shows it stands for all."""
        self._questions: dict[tuple[bytes, bytes, bool], Trace] = {}
        """By question and answers, of questions that tell by themselves (`_question`)."""
        self._gallery: Gallery | None = None
        self._nearly: dict[bytes, tuple[_Held, float] | None] = {}
        """By training picture that was looked up: the held picture that it nearly is."""
        self._repeats = Repeats(self._thresholds)

    def hold_out(self, rows: Sequence[Trace]) -> None:
        """Remember benchmark rows."""
        assert self._gallery is None, "benchmarks come before training rows"
        for row in rows:
            for picture in row.pictures:
                self._held.setdefault(picture.digest, _Held(row.id, row.source, picture))
            if key := self._question(row):
                self._questions.setdefault(key, row)

    def judge(self, rows: Sequence[Trace]) -> list[Verdict | None]:
        """One verdict per training row; of rows that repeat each other the first stays."""
        return [
            verdict
            for start in range(0, len(rows), QUERIES)
            for verdict in self._judge(rows[start : start + QUERIES])
        ]

    def _judge(self, rows: Sequence[Trace]) -> list[Verdict | None]:
        self._look_up([picture for row in rows for picture in row.pictures])
        leaks = [self._leak(row) for row in rows]
        good = [row for row, leak in zip(rows, leaks, strict=True) if not leak]
        self._repeats.meet([picture for row in good for picture in row.pictures])
        return [leak or self._repetition(row) for row, leak in zip(rows, leaks, strict=True)]

    def _look_up(self, pictures: Sequence[Picture]) -> None:
        """Find the held pictures that are nearly those not looked up so far."""
        held = list(self._held.values())
        if self._gallery is None:
            members = sheet([one.picture for one in held], self._thresholds)
            self._gallery = Gallery(members, self._thresholds)
        new = {p.digest: p for p in pictures if p.digest not in self._nearly}
        found, alike = self._gallery.search(sheet(list(new.values()), self._thresholds))
        for digest, place, similarity in zip(new, found, alike, strict=True):
            self._nearly[digest] = (held[place], float(similarity)) if place >= 0 else None

    def _leak(self, row: Trace) -> Verdict | None:
        for picture in row.pictures:
            if held := self._held.get(picture.digest):
                return Verdict("leak", IN_BENCHMARK + held.source, _like(held.id, 1.0))
        for picture in row.pictures:
            if nearly := self._nearly[picture.digest]:
                held, similarity = nearly
                reason = NEARLY_IN_BENCHMARK + held.source
                return Verdict("leak", reason, _like(held.id, similarity))
        key = self._question(row)
        if key and (same := self._questions.get(key)):
            return Verdict("leak", QUESTION_IN_BENCHMARK + same.source, same.id)
        return None

    def _question(self, row: Trace) -> tuple[bytes, bytes, bool] | None:
        """What tells a row by its words: those of a long question, or of any that is about text
        alone, which is then like others of its kind; None: the picture must tell."""
        short = row.num_words < self._thresholds.min_words
        return None if short and row.pictures else (row.question, row.references, short)

    def _repetition(self, row: Trace) -> Verdict | None:
        first = self._repeats.first_like(
            row.id, row.question, row.references + row.chains, row.pictures
        )
        return Verdict("duplicate", REPEATS, _like(*first)) if first else None


def _like(row_id: str, similarity: float) -> str:
    return f"{row_id}, similarity {similarity:.2f}"


@dataclass(frozen=True)
class _Held:
    """A benchmark row and one of its pictures."""

    id: str
    source: str
    picture: Picture
