"""Segments: what a ledger is written in. One process appends to one, anybody reads it.

    9a3f01c2 {"key": "<sha256 of what was asked>", "response": {<as the teacher sent it>}}

A line's first field is the crc32 of the rest. The writer holds the file's lock for as long as it
lives, so that whoever gets the lock of a segment knows that it will grow no more, and may cut off
the end that a killed writer tore.
"""

import fcntl
import json
import os
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CRC_LENGTH = 8
MOST_ROWS = 2_000
MOST_BYTES = 4 * 2**20
"""A segment that has as many rows or bytes is sealed: an upload after 50 more answers is small."""
_KEY = b'{"key":"'
_sync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


def format_line(entry: dict[str, Any]) -> bytes:
    """crc32 in hexadecimal, a space, the entry as one line of ASCII JSON."""
    body = json.dumps(entry, separators=(",", ":")).encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(body), body)


def parse_line(line: bytes) -> dict[str, Any] | None:
    """The entry of a line, None if the line is damaged or cut short."""
    body = _body(line)
    return None if body is None else dict(json.loads(body))


def key_of(line: bytes) -> str | None:
    """The key of a line, None if the line is damaged; the answer is not parsed."""
    body = _body(line)
    if body is None:
        return None
    key, quote, _ = body.removeprefix(_KEY).partition(b'"')
    if not body.startswith(_KEY) or not quote or b"\\" in key:
        return str(json.loads(body)["key"])
    return key.decode("ascii")


def _body(line: bytes) -> bytes | None:
    body = line[CRC_LENGTH + 1 :].rstrip(b"\n")
    return body if line[: CRC_LENGTH + 1] == b"%08x " % zlib.crc32(body) else None


class Segment:
    """A segment as far as it has been read: whole lines only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.end = 0
        """Bytes that have been read."""
        self.num_damaged = 0
        """Lines that were skipped because their crc32 does not fit."""

    def news(self) -> Iterator[tuple[str, int, int]]:
        """Key, start and length of each line that came since the last call."""
        with self.path.open("rb") as file:
            file.seek(self.end)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                start, self.end = self.end, self.end + len(line)
                key = key_of(line)
                if key is None:
                    self.num_damaged += 1
                else:
                    yield key, start, len(line)

    def read(self, start: int, length: int) -> dict[str, Any] | None:
        """The entry that stands there, None if it is damaged."""
        with self.path.open("rb") as file:
            file.seek(start)
            return parse_line(file.read(length))

    def is_torn(self) -> bool:
        """Whether the file goes on after the last whole line."""
        return self.path.stat().st_size > self.end

    def heal(self) -> int:
        """Complete a last line that lacks only its end, cut off any other; only a dead writer's.

        Returns the number of bytes that were cut off.
        """
        with alone(self.path) as descriptor:
            if descriptor is None:
                return 0
            size = os.fstat(descriptor).st_size
            rest = os.pread(descriptor, size - self.end, self.end)
            tail = rest[rest.rfind(b"\n") + 1 :]
            if _body(tail) is not None:
                os.pwrite(descriptor, b"\n", size)
                return 0
            os.ftruncate(descriptor, size - len(tail))
            return len(tail)


@contextmanager
def alone(path: Path, *, wait: bool = False) -> Iterator[int | None]:
    """Hold a segment's lock; gives the open file, or None while another process holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield None
        else:
            yield descriptor
    finally:
        os.close(descriptor)  # gives the lock back


class Writer:
    """Appends to a new segment, alone. Its methods may be called from many threads."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.num_rows = 0
        self.synced = 0
        """Bytes that are on the disk."""
        self._failure: OSError | None = None
        self._syncing = threading.Lock()
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self._descriptor = os.open(segment.path, flags, 0o644)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        _sync_folder(segment.path.parent)

    @property
    def is_full(self) -> bool:
        return self.num_rows >= MOST_ROWS or self.segment.end >= MOST_BYTES

    def append(self, line: bytes) -> int:
        """Write a line and say where it starts; one call at a time. OSError leaves no part of it.

        It counts after `sync`.
        """
        start = self.segment.end
        try:
            _write_all(self._descriptor, line)
        except OSError:
            os.ftruncate(self._descriptor, start)
            raise
        self.segment.end += len(line)
        self.num_rows += 1
        return start

    def sync(self) -> None:
        """Wait until all that was appended before is on the disk: one call serves all who wait."""
        wanted = self.segment.end
        with self._syncing:
            if self.synced >= wanted:
                return
            if self._failure:  # the kernel reports a lost page once; it stays lost
                raise self._failure
            end = self.segment.end
            try:
                _sync(self._descriptor)
                self.segment.path.stat()  # a deleted file takes all that is written into it
            except OSError as error:
                self._failure = error
                raise
            self.synced = end

    def close(self) -> None:
        """Seal the segment: it grows no more."""
        os.close(self._descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
