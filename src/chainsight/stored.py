"""Examples whose images stay in their Parquet file until somebody asks for them.

The images of 193,000 examples are 15 GB; what a process holds of them here are a few row groups.
"""

import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import get_type_hints, overload

import pyarrow as pa
import pyarrow.parquet as pq

from chainsight import records
from chainsight.records import Example

COLUMN = "images"
GROUPS_KEPT = 2
"""Row groups in memory, of about `records.GROUP_BYTES` each: rows of one example come together."""


def examples(path: Path) -> Iterator[Example]:
    """Yield the examples of a Parquet file, in order, as `records.read` does, but for the images:
    these are `Images`, which other threads and processes may read, too.

    Raises:
        RecordError: as `records.read`.
    """
    _forget()  # another file may have had this name
    with records.open_file(path) as file:
        names = records.columns(path, file, Example)
        if COLUMN not in names:  # from when images had other columns
            yield from records.read(path, Example)
            return
        names.remove(COLUMN)
        hints, number = get_type_hints(Example), 0
        for group in range(file.num_row_groups):
            for row, cells in enumerate(file.read_row_group(group, names).to_pylist()):
                with_images = cells | {COLUMN: Images(path, group, row)}
                yield records.from_row(path, number, with_images, Example, hints)
                number += 1


class Images(Sequence[bytes]):
    """The image files of one row, read when asked for. Equal to a tuple of the same files."""

    __slots__ = ("_group", "_path", "_row")

    def __init__(self, path: Path, group: int, row: int) -> None:
        self._path, self._group, self._row = path, group, row

    def __len__(self) -> int:
        return len(self._cells())

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[bytes, ...]: ...
    def __getitem__(self, index: int | slice) -> bytes | tuple[bytes, ...]:
        cells = self._cells()
        if isinstance(index, slice):
            return tuple(cell.as_py() for cell in cells[index])
        return bytes(cells[range(len(cells))[index]].as_py())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Images) and self._place() == other._place():
            return True
        return isinstance(other, Sequence) and self[:] == tuple(other)

    def __hash__(self) -> int:
        return hash(self[:])

    def __repr__(self) -> str:
        return f"Images({self._path}, row group {self._group}, row {self._row})"

    def _place(self) -> tuple[Path, int, int]:
        return self._path, self._group, self._row

    def _cells(self) -> pa.Array:
        return _row_group(self._path, self._group)[self._row].values


# --- open files: each process opens its own --------------------------------------------------

_reading = Lock()


def _row_group(path: Path, number: int) -> pa.Array:
    with _reading:
        return _kept(path, number)


@lru_cache(maxsize=GROUPS_KEPT)
def _kept(path: Path, number: int) -> pa.Array:
    # Without threads of Arrow's: a forked process has none of them.
    column = _file(path).read_row_group(number, [COLUMN], use_threads=False).column(0)
    return column.combine_chunks()


@lru_cache(maxsize=4)
def _file(path: Path) -> pq.ParquetFile:
    dictionary = [f"{COLUMN}.list.element"]  # equal images of a group are read once
    return records.open_file(path, read_dictionary=dictionary, pre_buffer=False)


def _forget() -> None:
    _kept.cache_clear()
    _file.cache_clear()


def _begin_anew() -> None:
    _reading.release()
    _forget()


os.register_at_fork(
    before=_reading.acquire, after_in_parent=_reading.release, after_in_child=_begin_anew
)
