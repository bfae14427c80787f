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
from chainsight.demo.teacher.desk import Desk
from chainsight.demo.teacher.wire import READ_AHEAD, Wire, converse
from chainsight.errors import ConfigError

BACKLOG = 2048


@dataclass(frozen=True)
class Handle:
    """A running server."""

    url: str
    """Base URL for `distill.teacher`, ends in /v1."""
    desk: Desk = field(repr=False)

    @property
    def bill(self) -> Bill:
        """What would have been charged so far."""
        return self.desk.bill

    def change(self, **behaviour: Any) -> None:
        """Replace fields of the `Behaviour` from the next request on."""
        self.desk.behaviour = replace(self.desk.behaviour, **behaviour)


@contextmanager
def serve(host: str = "127.0.0.1", port: int = 0, **behaviour: Any) -> Iterator[Handle]:
    """Run the teacher in a thread; port 0 takes a free one. Keywords: `Behaviour`'s fields.

    Raises:
        ConfigError: the address is taken or not this machine's.
    """
    listener, url = _listen(host, port)
    desk, loop, stop = Desk(Behaviour(**behaviour)), asyncio.new_event_loop(), asyncio.Event()
    work = (loop, listener, Teacher(desk), stop)
    thread = threading.Thread(target=_run, args=work, daemon=True)
    thread.start()
    try:
        yield Handle(url, desk)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def run(host: str, port: int, announce: Callable[[str], None], **behaviour: Any) -> None:
    """Serve until interrupted; `announce` gets the base URL. Keywords: `Behaviour`'s fields.

    Raises:
        ConfigError: the address is taken or not this machine's.
    """
    listener, url = _listen(host, port)
    announce(url)
    try:
        asyncio.run(_serve(listener, Teacher(Desk(Behaviour(**behaviour))), asyncio.Event()))
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


def _run(
    loop: asyncio.AbstractEventLoop, listener: socket.socket, teacher: Teacher, stop: asyncio.Event
) -> None:
    """Serve until told to stop, then drop all connections, those that wait too."""
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(_serve(listener, teacher, stop))


async def _serve(listener: socket.socket, teacher: Teacher, stop: asyncio.Event) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await converse(Wire(reader, writer), teacher)

    server = await asyncio.start_server(answer, sock=listener, limit=READ_AHEAD, backlog=BACKLOG)
    try:
        await stop.wait()
    finally:
        server.close()
