"""The scripted teacher as a server: in a thread of its own, or until interrupted."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from chainsight.demo.teacher.app import Teacher
from chainsight.demo.teacher.behaviour import Behaviour
from chainsight.demo.teacher.bill import Bill
from chainsight.demo.teacher.wire import READ_AHEAD, converse
from chainsight.errors import ConfigError

BACKLOG = 2048


@dataclass(frozen=True)
class Handle:
    """A running server."""

    url: str
    """Base URL for `distill.teacher`, ends in /v1."""
    teacher: Teacher = field(repr=False)

    @property
    def bill(self) -> Bill:
        """What would have been charged so far."""
        return self.teacher.bill

    def change(self, **behaviour: Any) -> None:
        """Replace fields of the `Behaviour` from the next request on."""
        self.teacher.behaviour = replace(self.teacher.behaviour, **behaviour)


@contextmanager
def serve(host: str = "127.0.0.1", port: int = 0, **behaviour: Any) -> Iterator[Handle]:
    """Run the teacher in a thread; port 0 takes a free one. Keywords: `Behaviour`'s fields.

    Raises:
        ConfigError: the address is taken or not this machine's.
    """
    listener, url = _listen(host, port)
    teacher, loop = Teacher(Behaviour(**behaviour)), asyncio.new_event_loop()
    thread = threading.Thread(target=_run, args=(loop, listener, teacher), daemon=True)
    thread.start()
    try:
        yield Handle(url, teacher)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def run(host: str, port: int, announce: Callable[[str], None], **behaviour: Any) -> None:
    """Serve until interrupted; `announce` gets the base URL. Keywords: `Behaviour`'s fields.

    Raises:
        ConfigError: the address is taken or not this machine's.
    """
    listener, url = _listen(host, port)
    announce(url)
    try:
        _run(asyncio.new_event_loop(), listener, Teacher(Behaviour(**behaviour)))
    except KeyboardInterrupt:
        return


def _listen(host: str, port: int) -> tuple[socket.socket, str]:
    """A listening socket, and the base URL of what listens there."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConfigError(
            f"{host}:{port}: the teacher cannot listen there ({error}); choose another address, "
            "or port 0 for any free one"
        ) from None
    return listener, f"http://{host}:{listener.getsockname()[1]}/v1"


def _run(loop: asyncio.AbstractEventLoop, listener: socket.socket, teacher: Teacher) -> None:
    """Serve until the loop is stopped, then drop all connections."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await converse(reader, writer, teacher)

    start = asyncio.start_server(answer, sock=listener, limit=READ_AHEAD, backlog=BACKLOG)
    server = loop.run_until_complete(start)
    try:
        loop.run_forever()
    finally:
        server.close()
        loop.run_until_complete(_drop(asyncio.all_tasks(loop)))
        loop.close()


async def _drop(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
