"""The ledger: every answer that was paid for, on disk before it counts as received.

A folder per teacher, of segments (`chainsight.teacher.segments`): each process appends to one of
its own and reads those of all others, so that runs share answers and none waits for another. An
answer is written and synced before the next step sees it, so a kill loses only the requests in
flight. Beside the disk, the segments lie in the store (`chainsight.teacher.shelving`), put there
anew after 50 answers or 10 s, so that a lost pod loses little more.

docs/ledger.md says how to look at one, move it and make it smaller.
"""

import logging
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainsight.context import Shelf
from chainsight.errors import StoreError, TeacherError
from chainsight.teacher.segments import Segment, Writer, alone, format_line
from chainsight.teacher.shelving import COPIES, Shelved

log = logging.getLogger(__name__)

SHELVED_ROWS = 50
SHELVED_SECONDS = 10.0
"""A growing segment is put on the shelf after so many answers, or so long after the first."""


@dataclass(frozen=True)
class Entry:
    """An answer that was paid for."""

    response: dict[str, Any]
    """As the teacher sent it."""
    by: str = ""
    """The place that sent it: its address."""
    batch: bool = False
    """Whether it came by the Batch API, at its price."""

    def to_json(self, key: str) -> dict[str, Any]:
        """The ledger's line; what is not said has its default."""
        said = {"by": self.by, "batch": self.batch}
        return {"key": key, "response": self.response} | {n: v for n, v in said.items() if v}

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> "Entry":
        return cls(line["response"], line.get("by", ""), line.get("batch", False))


@contextmanager
def open_ledger(folder: Path, shelf: Shelf | None = None) -> Iterator["Ledger"]:
    """Open the ledger in `folder`, with all that is known here and on the shelf.

    On the way out, and when SIGTERM ends the process, all of it is on the shelf.

    Raises:
        TeacherError: the folder cannot be made.
        StoreError: the shelf cannot be read: what has been paid is not known.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TeacherError(f"{folder}: the ledger cannot be opened ({error.strerror})") from None
    _adopt(folder)
    with _orderly_end():
        ledger = Ledger(folder, shelf)
        ledger.refresh()
        try:
            ledger.keep_shelving()
            yield ledger
        finally:
            ledger.close()


def _adopt(folder: Path) -> None:
    """Take over the one file `<kind>-<digest>.jsonl` in which earlier versions kept a ledger."""
    for old in folder.parent.glob(f"*-{folder.name}.jsonl"):
        try:
            old.rename(folder / f"{uuid.uuid4().hex}.jsonl")
        except FileNotFoundError:
            continue  # another process was faster


@contextmanager
def _orderly_end() -> Iterator[None]:
    """SIGTERM, by which a pod is told to go, ends the block as an exception does."""

    def end(*_: object) -> None:
        raise SystemExit(143)  # as shells say of SIGTERM

    theirs = signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    if theirs or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Ledger:
    """Answers by request key. Keeps file positions, not texts: memory stays flat."""

    def __init__(self, folder: Path, shelf: Shelf | None) -> None:
        self._folder = folder
        self._shelved = Shelved(shelf, folder) if shelf else None
        self._places: dict[str, tuple[Segment, int, int]] = {}
        self._segments: dict[Path, Segment] = {}
        self._own: set[Path] = set()
        self._writer: Writer | None = None
        self._appending, self._reading, self._putting = (threading.Lock() for _ in range(3))
        self._num_unshelved = 0
        self._due, self._closing = threading.Event(), threading.Event()
        self._is_store_away = False
        self._thread = threading.Thread(target=self._keep_shelving, name="ledger", daemon=True)

    @property
    def where(self) -> str:
        """Where the answers lie, in words."""
        shelved = f" and the store's {self._shelved.name}" if self._shelved else ""
        return f"{self._folder}{shelved}"

    @property
    def num_damaged(self) -> int:
        """Lines that were skipped because their crc32 does not fit."""
        return sum(segment.num_damaged for segment in list(self._segments.values()))

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._places))

    def get(self, key: str) -> Entry | None:
        """The teacher's recorded answer to the request `key`."""
        if key not in self._places:
            return None
        segment, start, length = self._places[key]
        try:
            entry = segment.read(start, length)
        except FileNotFoundError:
            entry = None
        if entry is None:
            raise TeacherError(f"{segment.path}: changed under a running stage; run again")
        return Entry.from_json(entry)

    # --- writing -----------------------------------------------------------------------------

    def record(self, key: str, entry: Entry) -> None:
        """Write an answer and wait until it is on the disk. A second one for a key is ignored.

        Raises:
            TeacherError: the disk takes no more; nothing recorded before is lost.
        """
        line = format_line(entry.to_json(key))
        try:
            with self._appending:
                writer = self._writer_with_room()
                if key not in self._places:
                    self._places[key] = (writer.segment, writer.append(line), len(line))
            writer.sync()
        except OSError as error:
            raise TeacherError(
                f"{self._folder}: an answer cannot be recorded ({error.strerror}); make room and "
                f"run again: the {len(self)} recorded answers are not paid again"
            ) from None
        self._count_unshelved()

    def _writer_with_room(self) -> Writer:
        if self._writer and self._writer.is_full:
            self._writer.sync()
            self._writer.close()
            self._writer = None
        if self._writer is None:
            path = self._folder / f"{uuid.uuid4().hex}.jsonl"
            segment = self._segments[path] = Segment(path)
            self._own.add(path)  # before the file is there: its lines are not to be read
            self._writer = Writer(segment)
        return self._writer

    def _count_unshelved(self) -> None:
        with self._appending:
            self._num_unshelved += 1
            if self._num_unshelved >= SHELVED_ROWS:
                self._due.set()

    # --- reading what others write -----------------------------------------------------------

    def refresh(self) -> None:
        """Read what other processes have recorded meanwhile, here or on the shelf.

        Raises:
            StoreError: the shelf cannot be read.
        """
        with self._reading:
            if self._shelved:
                self._shelved.fetch()
            for folder in (self._folder, self._folder / COPIES):
                for path in sorted(folder.glob("*.jsonl")):
                    if path not in self._own:
                        self._read(self._segments.setdefault(path, Segment(path)))

    def _read(self, segment: Segment) -> None:
        before = segment.num_damaged
        self._index(segment)
        if segment.is_torn():
            if num_cut := segment.heal():
                log.info("%s: removed the torn end (%d bytes)", segment.path, num_cut)
            self._index(segment)
        if num_damaged := segment.num_damaged - before:
            log.warning("%s: skipped %d damaged line(s)", segment.path, num_damaged)

    def _index(self, segment: Segment) -> None:
        for key, start, length in segment.news():
            self._places.setdefault(key, (segment, start, length))

    # --- the shelf ---------------------------------------------------------------------------

    def flush(self) -> bool:
        """Put on the shelf what it lacks; whether all is there. A failing store is a warning."""
        with self._putting:
            self._due.clear()
            self._num_unshelved = 0
            try:
                for segment in list(self._segments.values()):
                    self._put(segment)
            except (StoreError, OSError) as error:
                self._warn(error)
                return False
            self._is_store_away = False
            return True

    def _put(self, segment: Segment) -> None:
        path, size = segment.path, segment.end
        writer = self._writer  # read after the size: a segment that has one has its writer
        is_copy = path.parent != self._folder
        if is_copy or self._shelved is None or not self._shelved.lacks(path, size):
            return
        if writer and writer.segment is segment:
            self._shelved.put(path, writer.synced, grows=True)
        elif path in self._own:
            self._shelved.put(path, size, grows=False)
        else:
            with alone(path) as descriptor:  # else its writer lives, and does it
                if descriptor is not None and not segment.is_torn():
                    self._shelved.put(path, size, grows=False)

    def _warn(self, error: Exception) -> None:
        if not self._is_store_away:
            log.warning(
                "%s: the newest answers are only there; the store is tried again: %s",
                self._folder,
                error,
            )
        self._is_store_away = True

    def keep_shelving(self) -> None:
        """Flush and refresh from now on, in a thread of its own, until `close`."""
        self._thread.start()

    def _keep_shelving(self) -> None:
        looked = time.monotonic()
        while not self._closing.is_set():
            self._due.wait(SHELVED_SECONDS)
            if not self.flush():
                self._closing.wait(SHELVED_SECONDS)
            if time.monotonic() - looked >= SHELVED_SECONDS:
                self._look_around()
                looked = time.monotonic()

    def _look_around(self) -> None:
        try:
            self.refresh()
        except (StoreError, OSError) as error:
            self._warn(error)

    def close(self) -> None:
        """End the thread, flush a last time and seal the own segment."""
        self._closing.set()
        self._due.set()
        if self._thread.is_alive():
            self._thread.join()
        self.flush()
        with self._appending:
            if self._writer:
                self._writer.close()
                self._writer = None
