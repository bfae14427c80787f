import asyncio
import io
import time
from pathlib import Path
from typing import Any

import pytest

from chainsight.errors import TeacherError
from chainsight.store import LocalStore
from chainsight.teacher.batches.api import State, UnsureError
from chainsight.teacher.batches.creating import Creator
from chainsight.teacher.batches.intents import Intent, Intents, Owner, run_key

KEYS = ("a" * 64,)
LAG = 0.02
INTENT = Intent(run_key(KEYS, 1), KEYS, 1, "", 7, 10, Owner.me())


def state(name: str) -> State:
    return State(name, "validating", INTENT.run_key, 0, "file-1", (), None)


class Desk:
    """An API whose answers are laid out; what it was asked stands in `calls`."""

    def __init__(self, **answers: list[Any]) -> None:
        self._answers = answers
        self.calls: list[str] = []
        self.times: list[float] = []

    def __getattr__(self, call: str) -> Any:
        async def answer(*_: Any) -> Any:
            self.calls.append(call)
            self.times.append(time.monotonic())
            given = self._answers[call].pop(0)
            if isinstance(given, Exception):
                raise given
            return given

        return answer


@pytest.fixture
def intents(tmp_path: Path) -> Intents:
    found = Intents(LocalStore(tmp_path), "t")
    found.announce(INTENT)
    return found


def create(desk: Desk, intents: Intents) -> str | None:
    creator = Creator(desk, intents, lag_seconds=LAG, tries=3)  # type: ignore[arg-type]
    return asyncio.run(creator.create(INTENT, io.BytesIO(b"content")))


def take_over(desk: Desk, intents: Intents) -> str | None:
    creator = Creator(desk, intents, lag_seconds=LAG, tries=3)  # type: ignore[arg-type]
    return asyncio.run(creator.take_over(INTENT))


def test_a_batch_is_created_from_its_file_and_recorded(intents: Intents) -> None:
    desk = Desk(upload=["file-1"], create=[state("b1")])
    assert create(desk, intents) == intents.batch_of(INTENT.run_key) == "b1"
    assert desk.calls == ["upload", "create"]


def test_a_creation_without_an_answer_is_looked_up_and_made_again_only_if_it_is_not_there(
    intents: Intents,
) -> None:
    desk = Desk(
        upload=["file-1"],
        create=[UnsureError("reset"), UnsureError("reset")],
        find=[None, state("b2")],
    )
    assert create(desk, intents) == "b2"
    assert desk.calls == ["upload", "create", "find", "create", "find"]


def test_an_owner_that_was_taken_for_dead_creates_nothing(intents: Intents) -> None:
    intents.record(INTENT.run_key, "b0")
    desk = Desk(upload=["file-1"])
    assert create(desk, intents) == "b0"
    assert desk.calls == ["upload"]


def test_of_two_batches_the_one_that_was_recorded_first_stays(intents: Intents) -> None:
    class Late(Desk):
        async def create(self, *_: Any) -> State:
            intents.record(INTENT.run_key, "b0")  # by another, just now
            return state("b1")

    desk = Late(upload=["file-1"], cancel=[None])
    assert create(desk, intents) == "b0"
    assert desk.calls == ["upload", "cancel"]


@pytest.mark.parametrize(
    "answers",
    [
        {"upload": [TeacherError("refused")]},
        {"upload": ["file-1"], "create": [TeacherError("refused")]},
    ],
)
def test_an_intent_whose_batch_is_refused_is_ended(
    intents: Intents, answers: dict[str, list[Any]]
) -> None:
    with pytest.raises(TeacherError):
        create(Desk(**answers), intents)
    assert intents.is_over(INTENT.run_key)


def test_an_intent_whose_batch_may_be_there_stays_open(intents: Intents) -> None:
    desk = Desk(upload=["file-1"], create=[UnsureError("reset")], find=[TeacherError("away")])
    with pytest.raises(TeacherError):
        create(desk, intents)
    assert not intents.is_over(INTENT.run_key)


def test_a_dead_runs_batch_is_found_although_the_list_lags(intents: Intents) -> None:
    desk = Desk(find=[None, state("b1")])
    assert take_over(desk, intents) == "b1"
    assert desk.calls == ["find", "find"]
    assert desk.times[1] - desk.times[0] >= LAG


def test_a_dead_runs_file_is_used(intents: Intents) -> None:
    desk = Desk(find=[None, None], find_file=["file-1"], create=[state("b1")])
    assert take_over(desk, intents) == intents.batch_of(INTENT.run_key) == "b1"


def test_a_dead_run_that_sent_nothing_leaves_its_questions_open(intents: Intents) -> None:
    assert take_over(Desk(find=[None, None], find_file=[None]), intents) is None
    assert intents.is_over(INTENT.run_key)


def test_what_another_run_has_recorded_meanwhile_is_taken(intents: Intents) -> None:
    intents.record(INTENT.run_key, "b0")
    assert take_over(Desk(), intents) == "b0"
