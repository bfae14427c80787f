"""Questions to files of the Batch API: so many bytes, requests and queued tokens in each.

A file is written while it is cut, so that memory stays flat, and has no name: it is gone with the
process, however that ends.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from chainsight.teacher.request import Question
from chainsight.teacher.sizing import Size

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Request:
    """A question, what it takes, and its line in the file."""

    question: Question
    size: Size
    line: bytes


@dataclass(frozen=True)
class Limits:
    """What a file may hold."""

    num_requests: int
    num_bytes: int
    prompt_tokens: int | None = None
    """The API counts those alone in its queue; none: any number."""

    def have_room(self, cut: "Cut", request: Request) -> bool:
        """Whether one more request fits."""
        tokens = cut.prompt_tokens + request.size.prompt_tokens
        return (
            len(cut.keys) < self.num_requests
            and cut.num_bytes + len(request.line) <= self.num_bytes
            and (self.prompt_tokens is None or tokens <= self.prompt_tokens)
        )


@dataclass
class Cut:
    """A file that is ready to be uploaded."""

    file: IO[bytes]
    keys: list[str] = field(default_factory=list)
    num_bytes: int = 0
    prompt_tokens: int = 0
    _digest: Any = field(default_factory=hashlib.sha256)

    def add(self, request: Request) -> None:
        """Write one more request."""
        self.file.write(request.line)
        self._digest.update(request.line)
        self.keys.append(request.question.key)
        self.num_bytes += len(request.line)
        self.prompt_tokens += request.size.prompt_tokens

    @property
    def sha256(self) -> str:
        return str(self._digest.hexdigest())


class Cutter:
    """Cuts a stream of requests, in order.

    `is_open` says of each request, when its turn comes, whether it is still to be asked; `afford`,
    whether there is money for it: it gets it, or the file ends before it.
    """

    def __init__(
        self,
        requests: Iterator[Request],
        folder: Path,
        *,
        is_open: Callable[[Question], bool],
        afford: Callable[[Request], bool],
    ) -> None:
        self._requests, self._folder = requests, folder
        self._is_open, self._afford = is_open, afford
        self._next: Request | None = None
        self.unaffordable: Request | None = None
        """The request that there was no money for at the last cut."""
        self.is_done = False

    def cut(self, limits: Limits) -> Cut | None:
        """The next file, None if there is nothing to be asked, or no money for it."""
        cut = Cut(tempfile.TemporaryFile(dir=self._folder))  # noqa: SIM115 - the caller closes it
        self.unaffordable = None
        while request := self._peek():
            if not limits.have_room(cut, request):
                break
            if not self._afford(request):
                self.unaffordable = request
                break
            cut.add(request)
            self._next = None
        self.is_done = request is None
        if cut.keys:
            cut.file.seek(0)
            return cut
        cut.file.close()
        return None

    def _peek(self) -> Request | None:
        while self._next is None or not self._is_open(self._next.question):
            self._next = next(self._requests, None)
            if self._next is None:
                return None
        return self._next


def line(key: str, path: str, body: dict[str, Any]) -> bytes:
    """One request of an input file."""
    asked = {"custom_id": key, "method": "POST", "url": path, "body": body}
    return json.dumps(asked, separators=(",", ":")).encode("ascii") + b"\n"
