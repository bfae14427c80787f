"""HTTP/1.1 over asyncio, as little as a teacher needs, and every way that an answer can go wrong.

Kept connections, bodies with Content-Length. The standard library's servers hold a thread for
each request that waits; this one holds thousands.
"""

import asyncio
import json
import re
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

LARGEST_BODY = 600 * 2**20
READ_AHEAD = 2**20
PAGE = b"<html><head><title>502 Bad Gateway</title></head><body>Bad Gateway</body></html>"


@dataclass(frozen=True)
class Request:
    """What a caller sent."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What is sent back, and how it goes wrong on the way."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    fault: str = ""
    """One of `FAULTS`, or none."""
    drip_seconds: float = 0.0
    delivered: Callable[[], None] = lambda: None
    """Called when all of it has left."""
    kind: str = "application/json"


class Problem(Exception):  # noqa: N818 - the caller's, not ours
    """An HTTP error to send, in OpenAI's form."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        kind: str = "scripted_teacher",
        headers: dict[str, str] | None = None,
        more: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers or {}
        said = {"message": message, "type": kind, "param": None, "code": code}
        self.body: dict[str, Any] = {"error": said | (more or {})}

    def answer(self) -> Answer:
        """To be sent."""
        return reply(self.body, self.status, self.headers)


Handler = Callable[[Request], Awaitable[Answer]]
Route = tuple[str, re.Pattern[str], Callable[[Request, str], Awaitable[Answer]]]
"""Method, path, and who answers; he gets what the path's groups have matched, too."""


def reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """An answer in JSON."""
    return Answer(status, json.dumps(body).encode(), headers or {})


@dataclass(frozen=True)
class Wire:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Write and wait until it has left."""
        self.writer.write(data)
        await self.writer.drain()

    async def wait_for_the_end(self) -> None:
        """Say nothing until the caller goes."""
        while await self.reader.read(READ_AHEAD):
            pass

    def reset(self) -> None:
        """A TCP reset, where closing would send an orderly end."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


async def converse(wire: Wire, handle: Handler) -> None:
    """Answer one connection's requests until it ends. A caller that was killed is no news."""
    try:
        while request := await _read(wire):
            if not await _send(wire, await handle(request)):
                return
    except Problem as problem:  # after which nobody knows where the next request begins
        await _send(wire, problem.answer())
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return
    except asyncio.CancelledError:  # the server ends; Python 3.11 logs it where it gets out
        return
    finally:
        wire.writer.close()


async def _read(wire: Wire) -> Request | None:
    try:
        head = await wire.reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    method, _, target = first.partition(" ")
    url = urlsplit(target.partition(" ")[0])
    length = headers.get("content-length", "0" if method in ("GET", "DELETE") else "")
    if not length.isdecimal() or int(length) > LARGEST_BODY:
        raise Problem(413, f"Content-Length must be a number up to {LARGEST_BODY}")
    if headers.get("expect", "").lower() == "100-continue":
        await wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await wire.reader.readexactly(int(length))
    return Request(method, url.path, dict(parse_qsl(url.query)), headers, body)


async def _send(wire: Wire, answer: Answer) -> bool:
    """Send an answer; whether the connection is still good."""
    if answer.fault:
        await FAULTS[answer.fault](wire, answer)
        return answer.fault in KEEP
    await wire.send(_head(answer, len(answer.body)) + answer.body)
    answer.delivered()
    return True


def _head(answer: Answer, length: int) -> bytes:
    headers = {"Content-Type": answer.kind, "Content-Length": str(length)} | answer.headers
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    reason = HTTPStatus(answer.status).phrase
    return f"HTTP/1.1 {answer.status} {reason}\r\n{''.join(lines)}\r\n".encode("latin-1")


# --- faults ----------------------------------------------------------------------------------


async def _reset(wire: Wire, answer: Answer) -> None:  # noqa: ARG001
    wire.reset()


async def _broken(wire: Wire, answer: Answer) -> None:
    await wire.send(_head(answer, len(answer.body)) + answer.body[: len(answer.body) // 2])
    await asyncio.sleep(0.02)  # else the reset overtakes what was sent
    wire.reset()


async def _hang(wire: Wire, answer: Answer) -> None:  # noqa: ARG001
    await wire.wait_for_the_end()


async def _silence(wire: Wire, answer: Answer) -> None:
    await wire.send(_head(answer, len(answer.body)))
    await wire.wait_for_the_end()


async def _truncated(wire: Wire, answer: Answer) -> None:
    half = answer.body[: len(answer.body) // 2]
    await wire.send(_head(answer, len(half)) + half)


async def _garbage(wire: Wire, answer: Answer) -> None:  # noqa: ARG001
    await wire.send(_head(Answer(200, PAGE, kind="text/html"), len(PAGE)) + PAGE)


async def _drip(wire: Wire, answer: Answer) -> None:
    await wire.send(_head(answer, len(answer.body)))
    for byte in answer.body:
        await asyncio.sleep(answer.drip_seconds)
        await wire.send(bytes([byte]))
    answer.delivered()


FAULTS: dict[str, Callable[[Wire, Answer], Awaitable[None]]] = {
    "reset": _reset,
    "broken": _broken,
    "hang": _hang,
    "silence": _silence,
    "truncated": _truncated,
    "garbage": _garbage,
    "drip": _drip,
}
KEEP = ("truncated", "garbage", "drip")
"""Faults after which the connection is still good."""
