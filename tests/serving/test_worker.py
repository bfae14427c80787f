"""The line before the model: who is answered together, who is refused, what an end leaves."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

import pytest

from chainsight.serving.protocol import Answer, Choice, Question, RefusedError, Sampling
from chainsight.serving.worker import Worker

GREEDY, LONGER = Sampling(8), Sampling(9)


def question(name: str, sampling: Sampling = GREEDY) -> Question:
    return Question((), b"", sampling, name)


def answer(name: str) -> Answer:
    return Answer((Choice(name, "stop"),), 1, 1)


class Slow:
    """A model that waits for leave, and remembers what it was asked."""

    def __init__(self) -> None:
        self.leave, self.busy = threading.Event(), threading.Event()
        self.batches: list[list[str]] = []

    def ask(self, questions: Sequence[Question]) -> list[Answer | RefusedError]:
        self.batches.append([one.key for one in questions])
        self.busy.set()
        assert self.leave.wait(10)
        return [
            RefusedError(400, "bad") if one.key == "bad" else answer(one.key) for one in questions
        ]


@pytest.fixture
def slow() -> Slow:
    return Slow()


def begin(slow: Slow, batch_size: int = 4, max_waiting: int = 64) -> Worker:
    """A worker that is busy with a first question."""
    worker = Worker(slow.ask, batch_size=batch_size, max_waiting=max_waiting)
    worker.start()
    worker.submit(question("first"))
    assert slow.busy.wait(10)
    return worker


def text(future: "Future[Answer]") -> str:
    return future.result(10).choices[0].text


def test_waiting_questions_alike_are_answered_together_and_none_is_passed_over(slow: Slow) -> None:
    worker = begin(slow)
    asked = [("a", GREEDY), ("b", LONGER), ("c", GREEDY), ("d", LONGER), ("e", GREEDY)]
    futures = [worker.submit(question(*one)) for one in asked]
    slow.leave.set()
    assert [text(future) for future in futures] == ["a", "b", "c", "d", "e"]
    assert slow.batches == [["first"], ["a", "c", "e"], ["b", "d"]]


def test_a_batch_holds_as_many_answers_as_it_has_room_for(slow: Slow) -> None:
    worker = begin(slow, batch_size=4)
    pairs = replace(GREEDY, temperature=1.0, num_candidates=2)
    many = replace(pairs, num_candidates=9)
    futures = [worker.submit(question(name, pairs)) for name in "abc"]
    futures.append(worker.submit(question("d", many)))  # alone, though there is no room for it
    slow.leave.set()
    assert [text(future) for future in futures] == ["a", "b", "c", "d"]
    assert slow.batches[1:] == [["a", "b"], ["c"], ["d"]]


def test_a_full_line_refuses_with_429(slow: Slow) -> None:
    worker = begin(slow, max_waiting=2)
    for name in "ab":
        worker.submit(question(name))
    with pytest.raises(RefusedError) as caught:
        worker.submit(question("c"))
    assert (caught.value.status, caught.value.code) == (429, "queue_full")
    assert worker.num_waiting == 2
    slow.leave.set()


def test_a_bad_question_is_refused_and_its_neighbours_are_answered(slow: Slow) -> None:
    worker = begin(slow)
    futures = [worker.submit(question(name)) for name in ("a", "bad", "c")]
    slow.leave.set()
    assert text(futures[0]) == "a"
    assert text(futures[2]) == "c"
    with pytest.raises(RefusedError, match="bad"):
        futures[1].result(10)


def test_a_cancelled_question_is_not_asked(slow: Slow) -> None:
    worker = begin(slow)
    gone, kept = worker.submit(question("gone")), worker.submit(question("kept"))
    assert gone.cancel()
    slow.leave.set()
    assert text(kept) == "kept"
    assert slow.batches[1:] == [["kept"]]


def test_a_stop_finishes_what_runs_and_refuses_what_waits_and_what_comes(slow: Slow) -> None:
    worker = begin(slow)
    waiting = worker.submit(question("waiting"))
    worker.stop()
    with pytest.raises(RefusedError) as caught:
        waiting.result(10)
    assert caught.value.status == 503
    with pytest.raises(RefusedError, match="the server is stopping"):
        worker.submit(question("late"))
    assert not worker.join(0.05)
    slow.leave.set()
    assert worker.join(10)
    assert slow.batches == [["first"]]


def test_a_failure_of_torch_is_an_error_for_its_batch_alone() -> None:
    def ask(questions: Sequence[Question]) -> list[Answer | RefusedError]:
        if questions[0].key == "large":
            raise RuntimeError("out of memory")
        return [answer(one.key) for one in questions]

    worker = Worker(ask, batch_size=1)
    worker.start()
    with pytest.raises(RefusedError) as caught:
        worker.submit(question("large")).result(10)
    assert caught.value.status == 500
    assert text(worker.submit(question("small"))) == "small"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_answers_everyone_and_ends_the_worker() -> None:
    def ask(questions: Sequence[Question]) -> list[Answer | RefusedError]:
        raise KeyError("bug")

    worker = Worker(ask, batch_size=1)
    futures = [worker.submit(question(name)) for name in "ab"]
    worker.start()
    for future in futures:
        with pytest.raises(RefusedError):
            future.result(10)
    assert worker.join(10)
