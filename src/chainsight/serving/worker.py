"""One thread that asks the model: requests wait in line, and those alike are answered together."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import zip_longest

from chainsight.serving.protocol import Answer, Question, RefusedError

MAX_WAITING = 64
"""Requests in line; more are refused with 429."""

Ask = Callable[[Sequence[Question]], list[Answer | RefusedError]]
_logger = logging.getLogger("chainsight.serving")


@dataclass(frozen=True, eq=False)
class _Job:
    question: Question
    future: "Future[Answer]" = field(default_factory=Future)


class Worker:
    """Answers questions in the order they came, with later ones of equal sampling beside them."""

    def __init__(self, ask: Ask, *, batch_size: int, max_waiting: int = MAX_WAITING) -> None:
        self._ask = ask
        self._batch_size = batch_size
        self._max_waiting = max_waiting
        self._waiting: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    def submit(self, question: Question) -> "Future[Answer]":
        """Put a question in line.

        Raises:
            RefusedError: the line is full (429), or the server is stopping (503).
        """
        job = _Job(question)
        with self._changed:
            if self._stopped:
                raise _stopping()
            if len(self._waiting) >= self._max_waiting:
                raise RefusedError(
                    429, f"{self._max_waiting} requests wait already; try again later", "queue_full"
                )
            self._waiting.append(job)
            self._changed.notify()
        return job.future

    def stop(self) -> None:
        """Refuse what waits and what comes; what runs is finished."""
        with self._changed:
            self._stopped = True
            while self._waiting:
                self._waiting.popleft().future.set_exception(_stopping())
            self._changed.notify()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the end of what runs; whether it came."""
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while batch := self._next_batch():
                self._answer(batch)
        finally:
            self.stop()  # also after a bug, so that nobody waits for ever

    def _next_batch(self) -> list[_Job]:
        """The oldest question and those like it, or nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopped)
            batch: list[_Job] = []
            room, others = self._batch_size, deque[_Job]()
            while self._waiting:
                job = self._waiting.popleft()
                sampling = job.question.sampling
                alike = not batch or sampling == batch[0].question.sampling
                if alike and (not batch or room >= sampling.num_candidates):
                    room -= sampling.num_candidates
                    batch.append(job)
                else:
                    others.append(job)
            self._waiting = others
            return batch

    def _answer(self, batch: list[_Job]) -> None:
        wanted = [job for job in batch if job.future.set_running_or_notify_cancel()]
        if not wanted:
            return
        answers: list[Answer | RefusedError] = []
        try:
            answers = self._ask([job.question for job in wanted])
        except RuntimeError as error:  # what torch raises, such as for want of memory
            _logger.exception("%d requests failed", len(wanted))
            failed = RefusedError(500, f"the model failed ({type(error).__name__})")
            answers = [failed] * len(wanted)
        finally:
            bug = RefusedError(500, "the server failed")  # which ends this thread, too
            for job, answer in zip_longest(wanted, answers, fillvalue=bug):
                assert isinstance(job, _Job)
                if isinstance(answer, RefusedError):
                    job.future.set_exception(answer)
                else:
                    job.future.set_result(answer)


def _stopping() -> RefusedError:
    return RefusedError(503, "the server is stopping; ask another", "stopping")
