"""Token ids in little memory: hundreds of thousands of rows wait for their turn in a training."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import overload


class Ids(Sequence[int]):
    """Token ids as any sequence of int; of a picture's placeholders one is kept, with their number.

    A picture takes about 2,900 tokens, the text around it 100: 4 bytes each.
    """

    __slots__ = ("_counts", "_image_id", "_kept", "_length")

    def __init__(
        self, ids: Iterable[int], image_id: int | None = None, counts: Sequence[int] = ()
    ) -> None:
        """`ids` with one placeholder `image_id` a picture; `counts` are the pictures' tokens."""
        self._kept, self._image_id, self._counts = array("i", ids), image_id, tuple(counts)
        self._length = len(self._kept) - len(self._counts) + sum(self._counts)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[int]:
        counts = iter(self._counts)
        for token in self._kept:
            if token == self._image_id:
                yield from repeat(token, next(counts))
            else:
                yield token

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[int, ...]: ...
    def __getitem__(self, index: int | slice) -> int | tuple[int, ...]:
        return tuple(self)[index]

    def __contains__(self, token: object) -> bool:
        return token in self._kept

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Ids({self._kept.tolist()}, {self._image_id}, {self._counts})"
