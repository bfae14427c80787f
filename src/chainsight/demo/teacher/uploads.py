"""Files that callers upload and fetch: the Batch API's input and output."""

import itertools
import re
import time
from dataclasses import dataclass, field
from typing import Any

from chainsight.demo.teacher.wire import Problem, Request

NAME = re.compile(rb'name="([^"]*)"')
FILENAME = re.compile(rb'filename="([^"]*)"')


@dataclass(frozen=True)
class Upload:
    """One file."""

    id: str
    owner: str
    """The account that may see it."""
    name: str
    purpose: str
    content: bytes = field(repr=False)
    created_at: int = field(default_factory=lambda: int(time.time()))

    def shown(self) -> dict[str, Any]:
        """As the API describes it."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": self.created_at,
            "filename": self.name,
            "purpose": self.purpose,
            "status": "processed",
        }


class Uploads:
    """All files, in memory."""

    def __init__(self) -> None:
        self._files: dict[str, Upload] = {}
        self._numbers = itertools.count(1)

    def add(self, owner: str, name: str, purpose: str, content: bytes) -> Upload:
        """Keep a file under a new id."""
        file = Upload(f"file-{next(self._numbers):06d}", owner, name, purpose, content)
        self._files[file.id] = file
        return file

    def get(self, owner: str, number: str) -> Upload:
        """A file by its id.

        Raises:
            Problem: HTTP 404.
        """
        file = self._files.get(number)
        if file is None or file.owner != owner:
            raise Problem(404, f"No such File object: {number}", kind="invalid_request_error")
        return file

    def drop(self, owner: str, number: str) -> None:
        """Delete a file, as `get`."""
        del self._files[self.get(owner, number).id]

    def of(self, owner: str) -> list[Upload]:
        """All of an account, newest first."""
        return [file for file in reversed(self._files.values()) if file.owner == owner]


def read_form(request: Request) -> dict[str, tuple[str, bytes]]:
    """File name ("" for plain fields) and content of each field of a multipart form.

    Raises:
        Problem: HTTP 400, if it is none.
    """
    boundary = request.headers.get("content-type", "").partition("boundary=")[2].strip('"')
    if not boundary:
        raise Problem(400, "expected multipart/form-data", kind="invalid_request_error")
    fields = {}
    for part in request.body.split(b"--" + boundary.encode())[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        name, filename = NAME.search(head), FILENAME.search(head)
        if name:
            said = filename[1].decode() if filename else ""
            fields[name[1].decode()] = (said, content.removesuffix(b"\r\n"))
    return fields
