"""Rows of the training data that say what an earlier one says: picture, question and answers."""

from array import array
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainsight.hygiene.gallery import Places, Sheet, sheet, similarities
from chainsight.hygiene.overlay import Floats
from chainsight.hygiene.picture import Picture
from chainsight.hygiene.thresholds import Thresholds


@dataclass
class Group:
    """The rows that stay of one question with the same answers and number of pictures."""

    ids: list[str] = field(default_factory=list)
    places: "array[int]" = field(default_factory=lambda: array("q"))
    """Of their pictures in the stock, row after row."""


class Repeats:
    """The rows so far; pictures are kept once, about 1 kB each."""

    def __init__(self, thresholds: Thresholds) -> None:
        self._thresholds = thresholds
        self._groups: defaultdict[tuple[bytes, bytes, int], Group] = defaultdict(Group)
        self._stock = Stock(thresholds)

    def meet(self, pictures: Sequence[Picture]) -> None:
        """Put pictures of rows to come into the stock, many at once."""
        self._stock.put({picture.digest: picture for picture in pictures})

    def first_like(
        self, row_id: str, question: bytes, references: bytes, pictures: Sequence[Picture]
    ) -> tuple[str, float] | None:
        """Id of the first row that this one repeats, and how similar; None: the row is new.

        Its pictures have been met.
        """
        group = self._groups[question, references, len(pictures)]
        places = np.array([self._stock.places[picture.digest] for picture in pictures], np.int64)
        others = np.array(group.places, np.int64).reshape(len(group.ids), len(places))
        alike = self._alike(places, others)
        if len(found := np.flatnonzero(alike)):
            return group.ids[found[0]], float(alike[found[0]])
        group.ids.append(row_id)
        group.places.extend(places.tolist())
        return None

    def _alike(self, mine: Places, others: Places) -> Floats:
        """Similarity to each row of `others`: that of the least similar picture."""
        alike = (others == mine).astype(np.float32)
        if not alike.all(axis=1).any():
            row, column = np.nonzero(alike == 0)
            sheet = self._stock.sheet
            alike[row, column] = similarities(
                sheet, mine[column], sheet, others[row, column], self._thresholds
            )
        return np.asarray(alike.min(axis=1, initial=1), np.float32)


class Stock:
    """A sheet that grows; equal pictures share a place."""

    def __init__(self, thresholds: Thresholds) -> None:
        self._thresholds = thresholds
        self.places: dict[bytes, int] = {}
        """Row in the sheet, by digest."""
        self.sheet = sheet([], thresholds)
        """Its arrays have room for more than was put in."""

    def put(self, pictures: Mapping[bytes, Picture]) -> None:
        """Append those that are new."""
        new = [picture for digest, picture in pictures.items() if digest not in self.places]
        if not new:
            return
        start, end = len(self.places), len(self.places) + len(new)
        if end > len(self.sheet):
            self.sheet = _longer(self.sheet, end + end // 2)
        for column, values in zip(
            _columns(self.sheet), _columns(sheet(new, self._thresholds)), strict=True
        ):
            column[start:end] = values
        self.places.update((picture.digest, start + k) for k, picture in enumerate(new))


def _columns(of: Sheet) -> tuple[NDArray[Any], ...]:
    return of.sketches, of.waves, of.shapes, of.tolerances


def _longer(of: Sheet, length: int) -> Sheet:
    longer = [np.zeros((length, *column.shape[1:]), column.dtype) for column in _columns(of)]
    for column, values in zip(longer, _columns(of), strict=True):
        column[: len(values)] = values
    return Sheet(*longer)
