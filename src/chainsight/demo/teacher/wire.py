"""HTTP/1.1 over asyncio, as little as a teacher needs, and every way that an answer can go wrong.

Kept connections, bodies with Content-Length. The standard library's servers hold a thread for
each request that waits; this one holds thousands.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

LARGEST_BODY = 600 * 2**20
LARGEST_HEAD = 2**16
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


def reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """An answer in JSON."""
    return Answer(status, json.dumps(body).encode(), headers or {})


async def converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handler
) -> None:
    """Answer one connection's requests until it ends. A caller that was killed is no news."""
    try:
        while request := await _read(reader, writer):
            if not await _send(writer, await handle(request)):
                return
    except Problem as problem:  # after which nobody knows where the next request begins
        await _send(writer, problem.answer())
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return
    finally:
        writer.close()


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
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
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await reader.readexactly(int(length))
    return Request(method, url.path, dict(parse_qsl(url.query)), headers, body)


async def _send(writer: asyncio.StreamWriter, answer: Answer) -> bool:
    """Send an answer; whether the connection is still good."""
    if answer.fault:
        await FAULTS[answer.fault](writer, answer)
        return answer.fault in KEEP
    writer.write(_head(answer, len(answer.body)) + answer.body)
    await writer.drain()
    answer.delivered()
    return True


def _head(answer: Answer, length: int) -> bytes:
    headers = {"Content-Type": answer.kind, "Content-Length": str(length)} | answer.headers
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    reason = HTTPStatus(answer.status).phrase
    return f"HTTP/1.1 {answer.status} {reason}\r\n{''.join(lines)}\r\n".encode("latin-1")


# --- faults ----------------------------------------------------------------------------------


async def _reset(writer: asyncio.StreamWriter, answer: Answer) -> None:  # noqa: ARG001
    _break(writer)


async def _broken(writer: asyncio.StreamWriter, answer: Answer) -> None:
    writer.write(_head(answer, len(answer.body)) + answer.body[: len(answer.body) // 2])
    await writer.drain()
    await asyncio.sleep(0.02)  # else the reset overtakes what was sent
    _break(writer)


async def _hang(writer: asyncio.StreamWriter, answer: Answer) -> None:  # noqa: ARG001
    await _wait_for_the_caller(writer)


async def _silence(writer: asyncio.StreamWriter, answer: Answer) -> None:
    writer.write(_head(answer, len(answer.body)))
    await _wait_for_the_caller(writer)


async def _truncated(writer: asyncio.StreamWriter, answer: Answer) -> None:
    half = answer.body[: len(answer.body) // 2]
    writer.write(_head(answer, len(half)) + half)
    await writer.drain()


async def _garbage(writer: asyncio.StreamWriter, answer: Answer) -> None:  # noqa: ARG001
    writer.write(_head(Answer(200, PAGE, kind="text/html"), len(PAGE)) + PAGE)
    await writer.drain()


async def _drip(writer: asyncio.StreamWriter, answer: Answer) -> None:
    writer.write(_head(answer, len(answer.body)))
    for byte in answer.body:
        await asyncio.sleep(answer.drip_seconds)
        writer.write(bytes([byte]))
        await writer.drain()
    answer.delivered()


FAULTS: dict[str, Callable[[asyncio.StreamWriter, Answer], Awaitable[None]]] = {
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


def _break(writer: asyncio.StreamWriter) -> None:
    """A TCP reset, where closing would send an orderly end."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _wait_for_the_caller(writer: asyncio.StreamWriter) -> None:
    """Say nothing until the caller goes."""
    while not writer.transport.is_closing():
        await asyncio.sleep(0.1)
