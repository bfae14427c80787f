"""A lease on a name: one holder at a time, and a dead one not for ever.

Turns are objects `<name>/000001`, `<name>/000002`, ..., each made by put-if-absent. The newest
one holds until it is marked done or its time is over; the next holder takes the next number. A
holder that was frozen for longer than its time may wake up beside its successor, so what is done
under a lease must still look, afterwards, whether it was alone.

A lasting lease is for work of hours: its time is short, too, and is extended while the holder
lives, by writing the own turn anew. That can't harm a successor, whose turn has a higher number;
the holder learns of it then, and is told by `Turn.check`.
"""

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from chainsight.errors import StoreError

if TYPE_CHECKING:  # which imports the store
    from chainsight.context import Shelf

log = logging.getLogger(__name__)

SECONDS = 60.0
"""Time of a turn; a few calls to a server on the same network take less than one."""
_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
"""Between two looks at a lasting lease; each is a request to the store."""
_RENEWALS = 4
"""Renewals in the time of a turn, so that a few may fail."""
_DONE = ".done"


class Turn:
    """A lease that is held."""

    def __init__(self, store: "Shelf", name: str, number: int) -> None:
        self._store, self._name, self._number = store, name, number
        self._is_lost = False

    def check(self) -> None:
        """StoreError when another process has taken over, as this one seemed dead to it."""
        if self._is_lost:
            raise StoreError(
                f"{self._name}: this process was frozen or cut off from the store for so long that "
                "another one has taken over its work; run again to share its results"
            )

    def renew(self, until: float) -> None:
        """Hold it until then, unless there is a successor."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / "turn"
            path.write_text(_written(until))
            self._store.put(path, _turn(self._name, self._number))
        self._is_lost = max(map(_number, self._store.names(self._name))) > self._number


@contextmanager
def held(
    store: "Shelf",
    name: str,
    *,
    lasting: bool = False,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Turn]:
    """Wait until the lease `name` is free and hold it for the block.

    `lasting` extends it while the process lives, and says whom it waits for.
    """
    mine = _take(store, name, lasting, seconds, clock, sleep)
    turn = Turn(store, name, mine)
    try:
        with _renewed(turn, lasting, seconds, clock):
            yield turn
    finally:
        store.create(f"{_turn(name, mine)}{_DONE}", b"done")
        for old in store.names(name):  # the newest alone says who holds
            if _number(old) < mine:
                store.drop(old)


@contextmanager
def _renewed(
    turn: Turn, lasting: bool, seconds: float, clock: Callable[[], float]
) -> Iterator[None]:
    """Renew a lasting turn now and then, in a thread of its own."""
    over = threading.Event()

    def renew() -> None:
        while not over.wait(seconds / _RENEWALS):
            try:
                turn.renew(clock() + seconds)
            except (StoreError, OSError) as error:
                log.warning("a lease is not renewed, which is tried again: %s", error)

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    if lasting:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if lasting:
            thread.join()


def _take(
    store: "Shelf",
    name: str,
    lasting: bool,
    seconds: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> int:
    pause, said = _PAUSE_SECONDS, ""
    while True:
        taken = set(store.names(name))
        last = max(map(_number, taken), default=0)
        if last == 0 or _is_free(store, name, last, taken, clock()):
            if store.create(_turn(name, last + 1), _written(clock() + seconds).encode()):
                if max(map(_number, store.names(name))) == last + 1:
                    return last + 1
                store.drop(_turn(name, last + 1))  # a number of the past, dropped meanwhile
            continue
        if lasting:
            said = _say(store, name, last, said)
        sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS) if lasting else pause


def _say(store: "Shelf", name: str, number: int, said: str) -> str:
    """Name the holder, each one once."""
    if (data := store.read(_turn(name, number))) is None:
        return said
    host, process, _ = json.loads(data)["holder"]
    who = f"process {process} on {host}"
    if who != said:
        log.warning("%s: %s is at the same work; waiting for it", name, who)
    return who


def _is_free(store: "Shelf", name: str, last: int, taken: set[str], now: float) -> bool:
    if _turn(name, last) + _DONE in taken:
        return True
    data = store.read(_turn(name, last))
    if data is None:  # dropped since by a later holder
        return False
    turn = json.loads(data)
    return bool(turn["until"] <= now or is_gone(*turn["holder"][:2]))


def _written(until: float) -> str:
    return json.dumps({"holder": _me(), "until": until})


def _me() -> tuple[str, int, str]:
    """Host, process, and what tells two turns of one process apart."""
    return socket.gethostname(), os.getpid(), uuid.uuid4().hex


def is_gone(host: str, process: int) -> bool:
    """Whether this is a dead process of this host: nobody waits for those."""
    if host != socket.gethostname():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # another user's, so alive
        return False
    return False


def _turn(name: str, number: int) -> str:
    return f"{name}/{number:06d}"


def _number(turn: str) -> int:
    return int(turn.rpartition("/")[2].removesuffix(_DONE))
