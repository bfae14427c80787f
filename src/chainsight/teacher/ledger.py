"""The ledger: every answer that was paid for, on disk before it counts as received.

One append-only file per teacher, one answer a line:

    9a3f01c2 {"key": "<sha256 of what was asked>", "response": {<as the teacher sent it>}}

The first field is the crc32 of the rest. A line is written and synced before the next step
sees its answer, so a kill loses only requests in flight. A line cut short by a kill is removed
at the next opening, a damaged one is skipped and counted. The file is locked while it is open:
a second run on the host waits, then finds what the first one paid for.
"""

import fcntl
import json
import logging
import os
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainsight.errors import TeacherError

log = logging.getLogger(__name__)


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


CRC_LENGTH = 8
_sync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


@contextmanager
def open_ledger(path: Path) -> Iterator["Ledger"]:
    """Open the ledger at `path`, alone on this host, healed and indexed.

    Raises:
        TeacherError: the file cannot be opened.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        raise TeacherError(f"{path}: the ledger cannot be opened ({error.strerror})") from None
    try:
        _lock(descriptor, path)
        yield Ledger(descriptor, path)
    finally:
        os.close(descriptor)  # gives the lock back


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.warning("%s: in use by another run, whose answers this one shares; waiting", path)
        fcntl.flock(descriptor, fcntl.LOCK_EX)


class Ledger:
    """Answers by request key. Keeps file positions, not texts: memory stays flat."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor, self.path = descriptor, path
        self._places: dict[str, tuple[int, int]] = {}
        self._append = threading.Lock()
        self.num_damaged = 0
        """Lines that were skipped because their crc32 does not fit."""
        self._end = self._load()
        if self.num_damaged:
            log.warning("%s: skipped %d damaged line(s)", path, self.num_damaged)

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def get(self, key: str) -> Entry | None:
        """The teacher's recorded answer to the request `key`."""
        if key not in self._places:
            return None
        start, length = self._places[key]
        entry = parse_line(os.pread(self._descriptor, length, start))
        if entry is None:
            raise TeacherError(f"{self.path}: changed under a running stage; run again")
        return Entry.from_json(entry)

    def record(self, key: str, entry: Entry) -> None:
        """Write an answer and wait until it is on the disk. A second one for a key is ignored.

        Raises:
            TeacherError: the disk takes no more; nothing recorded before is lost.
        """
        line = format_line(entry.to_json(key))
        with self._append:
            if key in self._places:
                return
            try:
                _write_all(self._descriptor, line)
                _sync(self._descriptor)
            except OSError as error:
                os.ftruncate(self._descriptor, self._end)
                raise TeacherError(
                    f"{self.path}: an answer cannot be recorded ({error.strerror}); make room and "
                    f"run again: the {len(self)} recorded answers are not paid again"
                ) from None
            self._places[key] = (self._end, len(line))
            self._end += len(line)

    def adopt(self, path: Path) -> None:
        """Record the answers of another ledger's file, those of one shard."""
        with path.open("rb") as file:
            for line in file:
                entry = parse_line(line)
                if entry is not None:
                    self.record(entry["key"], Entry.from_json(entry))

    def _load(self) -> int:
        """Index the file, heal its torn end, and return its length in bytes."""
        start = 0
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            file.seek(0)
            for line in file:
                if not line.endswith(b"\n"):
                    return start + self._heal(line, start)
                self._index(line, start)
                start += len(line)
        return start

    def _heal(self, tail: bytes, start: int) -> int:
        """Complete a last line that lacks only its end; cut off any other."""
        if parse_line(tail) is None:
            os.ftruncate(self._descriptor, start)
            log.info("%s: removed the torn end (%d bytes)", self.path, len(tail))
            return 0
        _write_all(self._descriptor, b"\n")
        self._index(tail + b"\n", start)
        return len(tail) + 1

    def _index(self, line: bytes, start: int) -> None:
        entry = parse_line(line)
        if entry is None:
            self.num_damaged += 1
        else:
            self._places.setdefault(entry["key"], (start, len(line)))


def format_line(entry: dict[str, Any]) -> bytes:
    """crc32 in hexadecimal, a space, the entry as one line of ASCII JSON."""
    body = json.dumps(entry, separators=(",", ":")).encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(body), body)


def parse_line(line: bytes) -> dict[str, Any] | None:
    """The entry of a line, None if the line is damaged or cut short."""
    body = line[CRC_LENGTH + 1 :].rstrip(b"\n")
    if line[: CRC_LENGTH + 1] != b"%08x " % zlib.crc32(body):
        return None
    entry: dict[str, Any] = json.loads(body)
    return entry


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
