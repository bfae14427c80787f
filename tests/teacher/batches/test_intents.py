import os
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from chainsight.store import LocalStore
from chainsight.teacher.batches import intents
from chainsight.teacher.batches.intents import TAKE_OVER_SECONDS, Intent, Intents, Owner, run_key

KEYS = ("b" * 64, "a" * 64)


def intent(turn: int = 1) -> Intent:
    return Intent(run_key(KEYS, turn), KEYS, turn, "0" * 64, 10, 20, Owner.me())


@pytest.fixture
def shelf(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def test_the_run_key_is_of_the_requests_and_the_turn_alone() -> None:
    assert run_key(KEYS, 1) == run_key(KEYS[::-1], 1)
    assert len({run_key(KEYS, 1), run_key(KEYS, 2), run_key(KEYS[:1], 1)}) == 3


def test_one_of_two_announces_a_batch_and_the_other_finds_it(shelf: LocalStore) -> None:
    first, second = Intents(shelf, "t"), Intents(shelf, "t")
    assert first.announce(intent())
    assert not second.announce(intent())
    second.look()
    assert second.open == {intent().run_key: next(iter(first.open.values()))}


def test_another_teachers_intents_are_not_seen(shelf: LocalStore) -> None:
    Intents(shelf, "t").announce(intent())
    other = Intents(shelf, "u")
    other.look()
    assert other.open == {}


def test_the_batch_that_was_recorded_first_counts(shelf: LocalStore) -> None:
    mine = Intents(shelf, "t")
    assert not mine.is_off("k")
    assert [mine.record("k", "batch_1"), mine.record("k", "batch_2")] == ["batch_1", "batch_1"]
    assert mine.is_off("k")


def test_an_ended_intent_is_closed_for_all_and_told_to_others_once(shelf: LocalStore) -> None:
    mine, other = Intents(shelf, "t"), Intents(shelf, "t")
    mine.announce(intent())
    assert (other.look(), len(other.open)) == (False, 1)
    mine.end(intent().run_key, "completed")
    assert (mine.open, mine.look()) == ({}, False)
    assert (other.look(), other.open, other.look()) == (True, {}, False)
    assert not mine.announce(intent())
    assert mine.is_over(intent().run_key)


def test_the_owner_is_dead_when_it_can_create_nothing_any_more() -> None:
    me = Owner.me()
    gone = os.fork()
    if not gone:
        os._exit(0)
    os.waitpid(gone, 0)
    assert not me.is_dead()
    assert not replace(me, host="another").is_dead()
    assert replace(me, host="another", at=time.time() - TAKE_OVER_SECONDS - 1).is_dead()
    assert replace(me, process=gone).is_dead()
    # In a pod that starts again every process is number 1.
    assert replace(me, nonce="of an earlier process").is_dead()
    assert not replace(me, process=os.getppid(), nonce="a neighbour's").is_dead()
    assert (me.host, me.nonce) == (socket.gethostname(), intents.PROCESS)
