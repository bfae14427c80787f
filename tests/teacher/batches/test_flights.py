import pytest
from calling import section

from chainsight.errors import TeacherError
from chainsight.teacher.batches.api import State
from chainsight.teacher.batches.flights import LONELY_REFUSALS, Flight, Queue
from chainsight.teacher.batches.intents import Intent, Owner


def flight(status: str = "in_progress", tokens: int = 100, batch: str | None = "b") -> Flight:
    intent = Intent("k", ("q",), 1, "", 1, tokens, Owner.me())
    return Flight(intent, batch, State("b", status, "k", 0, "f", (), None))


def queue(limit: int | None = None, poll_seconds: float = 100.0) -> Queue:
    return Queue(
        section("http://x/v1", batch={"queued_tokens": limit, "poll_seconds": poll_seconds})
    )


def test_an_unknown_queue_takes_all_until_it_refuses() -> None:
    assert queue().has_room([flight("validating")] * 50)
    assert queue().room([flight()]) is None


@pytest.mark.parametrize(("num", "has_room"), [(0, True), (2, True), (3, False)])
def test_less_than_half_a_batch_is_waited_with(num: int, has_room: bool) -> None:
    known = queue(300)
    known.note(180)
    assert known.has_room([flight()] * num) is has_room
    assert known.room([flight()] * num) == 300 - 100 * num


def test_what_is_not_created_takes_no_room() -> None:
    assert queue(300).room([flight(), flight(batch=None)]) == 200


def test_after_a_refusal_nothing_is_sent_until_a_batch_has_ended() -> None:
    full = queue()
    full.refuse([flight()], "full")
    assert not full.has_room([flight()])
    full.clear()
    assert full.has_room([flight()])


def test_after_a_refusal_each_batch_is_to_be_taken_before_the_next_is_sent() -> None:
    full = queue()
    full.refuse([flight()], "full")
    full.clear()
    assert not full.has_room([flight("validating")])
    assert full.has_room([flight("in_progress")])


def test_alone_in_a_full_queue_it_rests_and_at_last_gives_up() -> None:
    full = queue(poll_seconds=100.0)
    for _ in range(LONELY_REFUSALS):
        full.refuse([], "Limit: 90,000")
        assert not full.has_room([])
    with pytest.raises(TeacherError, match=r"Limit: 90,000.*distill\.batch\.queued_tokens"):
        full.refuse([], "Limit: 90,000")


def test_a_batch_that_ended_makes_the_lonely_refusals_forgotten() -> None:
    full = queue()
    for _ in range(3):
        for _ in range(LONELY_REFUSALS):
            full.refuse([], "full")
        full.clear()
    assert full.has_room([])
