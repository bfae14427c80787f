"""A lease in the store: one holder at a time, and none for ever."""

import json
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chainsight.errors import StoreError
from chainsight.store import Store, held, open_store
from chainsight.store.lease import Turn

FORK = multiprocessing.get_context("fork")
NAME = "registrations/m"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"), tmp_path / "cache")


def taken_elsewhere(store: Store, number: int, until: float) -> None:
    turn = {"holder": ["another-host", 1, "x"], "until": until}
    assert store.create(f"{NAME}/{number:06d}", json.dumps(turn).encode())


class Clock:
    """A clock that sleeping sets forward."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept = 0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += 1


@contextmanager
def hold(store: Store, clock: Clock) -> Iterator[None]:
    with held(store, NAME, seconds=60.0, clock=clock, sleep=clock.sleep):
        yield


def test_a_free_name_is_held_at_once_and_again(store: Store) -> None:
    clock = Clock()
    for _ in range(3):
        with hold(store, clock):
            pass
    assert clock.slept == 0
    assert store.names(NAME) == (f"{NAME}/000003", f"{NAME}/000003.done")  # the past is swept


def test_a_holder_elsewhere_is_waited_for_until_its_time_is_over(store: Store) -> None:
    taken_elsewhere(store, 1, until=1030.0)
    clock = Clock()
    with hold(store, clock):
        assert clock.now == pytest.approx(1030.0, abs=0.2)


def test_a_failed_holder_lets_go(store: Store) -> None:
    clock = Clock()
    with pytest.raises(ZeroDivisionError), hold(store, clock):
        _ = 1 / 0
    with hold(store, clock):
        assert clock.slept == 0


def test_a_dead_process_of_this_host_is_not_waited_for(store: Store) -> None:
    def die() -> None:
        with hold(store, Clock()):
            os.kill(os.getpid(), signal.SIGKILL)

    child = FORK.Process(target=die)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    clock = Clock()
    with hold(store, clock):
        assert clock.slept == 0


def test_a_living_process_of_this_host_is_waited_for(store: Store) -> None:
    turn = {"holder": [socket.gethostname(), os.getppid(), "x"], "until": 1010.0}
    store.create(f"{NAME}/000001", json.dumps(turn).encode())
    clock = Clock()
    with hold(store, clock):
        assert clock.now >= 1010.0


def test_a_holder_that_overslept_does_not_end_its_successors_turn(store: Store) -> None:
    clock = Clock()
    with hold(store, clock):
        clock.now += 61.0
        taken_elsewhere(store, 2, until=clock.now + 60.0)
    late = Clock()
    late.now = clock.now
    with hold(store, late):
        assert late.now >= clock.now + 60.0


def test_a_lasting_lease_is_held_for_as_long_as_its_holder_lives(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    order: list[str] = []

    def wait() -> None:
        with held(store, NAME, lasting=True, seconds=2.0):
            order.append("the other")

    other = threading.Thread(target=wait)
    with held(store, NAME, lasting=True, seconds=2.0) as turn:
        other.start()
        time.sleep(3.0)
        turn.check()
        order.append("the first")
    other.join(10)
    assert order == ["the first", "the other"]
    me = f"process {os.getpid()} on {socket.gethostname()}"
    assert caplog.messages == [f"{NAME}: {me} is at the same work; waiting for it"]


def check_for_a_while(turn: Turn) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        turn.check()
        time.sleep(0.01)


def test_who_slept_too_long_is_told_of_its_successor(store: Store) -> None:
    with held(store, NAME, lasting=True, seconds=0.2) as turn:
        taken_elsewhere(store, 2, until=time.time() + 60.0)
        with pytest.raises(StoreError, match="another one has taken over"):
            check_for_a_while(turn)
    data = json.loads(store.read(f"{NAME}/000002") or b"")
    assert data["holder"] == ["another-host", 1, "x"]


def test_a_lasting_lease_outlives_a_store_that_is_away_for_a_moment(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put, failures = store.put, iter(range(2))

    def unsteady(path: Path, name: str) -> None:
        if next(failures, None) is not None:
            raise StoreError("away")
        put(path, name)

    monkeypatch.setattr(store, "put", unsteady)
    with held(store, NAME, lasting=True, seconds=0.4) as turn:
        first = store.read(f"{NAME}/000001")
        time.sleep(1.0)
        turn.check()
        assert store.read(f"{NAME}/000001") != first
    assert [message.rpartition(": ")[2] for message in caplog.messages] == ["away", "away"]


def test_many_processes_are_never_inside_together(store: Store, tmp_path: Path) -> None:
    """Each adds to a number that it reads and writes in two steps."""
    count = tmp_path / "count"
    count.write_text("0")

    def add() -> None:
        for _ in range(5):
            with held(store, NAME, sleep=lambda _: None):
                found = int(count.read_text())
                os.sched_yield()
                count.write_text(str(found + 1))

    children = [FORK.Process(target=add) for _ in range(6)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * 6
    assert count.read_text() == "30"
