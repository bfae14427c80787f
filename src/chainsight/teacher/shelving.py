"""A ledger's second place: its segments below the store, where a lost pod cannot take them.

What lies there is always a whole number of lines, and a part of the writer's own file from the
start on. Only the home where a segment was written puts it there. Elsewhere is a copy, in a folder
of its own, which grows as the original does and is never put: what was fetched a moment ago may be
older than what is on the shelf now.
"""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from chainsight.context import Shelf
from chainsight.teacher.segments import alone

COPIES = "copies"
"""Folder of the segments that were written in other homes."""
NUM_FETCHERS = 8


class Shelved:
    """The segments of `folder` on the shelf, below `ledger/<the folder's name>`."""

    def __init__(self, shelf: Shelf, folder: Path) -> None:
        self.name = f"ledger/{folder.name}"
        self._shelf, self._folder, self._copies = shelf, folder, folder / COPIES
        self._sizes: dict[str, int] = {}

    def lacks(self, path: Path, size: int) -> bool:
        """Whether less than the first `size` bytes of a segment are there."""
        return self._sizes.get(path.name, 0) < size

    def put(self, path: Path, size: int, *, grows: bool) -> None:
        """Keep the first `size` bytes of a segment, which are all of it unless it `grows`.

        Raises:
            StoreError: the store takes them not.
        """
        copy = _beginning(path, size) if grows else path
        self._shelf.put(copy, f"{self.name}/{path.name}")
        self._sizes[path.name] = size
        if grows:
            copy.unlink()

    def fetch(self) -> None:
        """Copy what is only there, or longer there.

        Raises:
            StoreError: the store cannot be read.
        """
        # Looked at before the files here: so what grows here at the moment is longer here.
        sizes = self._shelf.sizes(self.name)
        self._sizes = {name.rpartition("/")[2]: size for name, size in sizes.items()}
        missing = [name for name, size in self._sizes.items() if self._size_here(name) < size]
        if missing:
            self._copies.mkdir(exist_ok=True)
        with ThreadPoolExecutor(NUM_FETCHERS) as threads:
            list(threads.map(self._fetch, missing))

    def _size_here(self, name: str) -> int:
        return max(_size(self._folder / name), _size(self._copies / name))

    def _fetch(self, name: str) -> None:
        path = self._copies / name
        with alone(path, wait=True):  # of several processes here, one fetches
            size = _size(path)
            if size >= self._sizes[name]:
                return
            fetched = path.with_suffix(".fetched")
            self._shelf.get(f"{self.name}/{name}", fetched)
            with fetched.open("rb") as source, path.open("ab") as target:
                source.seek(size)
                shutil.copyfileobj(source, target)
            fetched.unlink()


def _beginning(path: Path, size: int) -> Path:
    """A copy of a segment up to `size`: a file that grows is not handed out."""
    copy = path.with_suffix(".growing")
    shutil.copyfile(path, copy)
    with copy.open("rb+") as file:
        file.truncate(size)
    return copy


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
