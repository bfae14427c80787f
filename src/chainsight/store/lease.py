"""A lease on a name: one holder at a time, and a dead one not for ever.

Turns are objects `<name>/000001`, `<name>/000002`, ..., each made by put-if-absent. The newest
one holds until it is marked done or its time is over; the next holder takes the next number. A
holder that was frozen for longer than its time may wake up beside its successor, so what is done
under a lease must still look, afterwards, whether it was alone.
"""

import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # which imports the store
    from chainsight.context import Shelf


SECONDS = 60.0
"""Time of a turn; a few calls to a server on the same network take less than one."""
_PAUSE_SECONDS = 0.1
_DONE = ".done"


@contextmanager
def held(
    store: "Shelf",
    name: str,
    *,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Wait until the lease `name` is free and hold it for the block."""
    mine = _take(store, name, seconds, clock, sleep)
    try:
        yield
    finally:
        store.create(f"{_turn(name, mine)}{_DONE}", b"done")
        for old in store.names(name):  # the newest alone says who holds
            if _number(old) < mine:
                store.drop(old)


def _take(
    store: "Shelf",
    name: str,
    seconds: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> int:
    while True:
        taken = set(store.names(name))
        last = max(map(_number, taken), default=0)
        if last == 0 or _is_free(store, name, last, taken, clock()):
            turn = {"holder": _me(), "until": clock() + seconds}
            if store.create(_turn(name, last + 1), json.dumps(turn).encode()):
                if max(map(_number, store.names(name))) == last + 1:
                    return last + 1
                store.drop(_turn(name, last + 1))  # a number of the past, dropped meanwhile
        else:
            sleep(_PAUSE_SECONDS)


def _is_free(store: "Shelf", name: str, last: int, taken: set[str], now: float) -> bool:
    if _turn(name, last) + _DONE in taken:
        return True
    data = store.read(_turn(name, last))
    if data is None:  # dropped since by a later holder
        return False
    turn = json.loads(data)
    return bool(turn["until"] <= now or is_gone(*turn["holder"][:2]))


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
