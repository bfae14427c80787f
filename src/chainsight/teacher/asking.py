"""Many questions to one teacher, one by one: as fast as its places allow, each answer recorded.

One loop decides what is sent next, where and when: a question whose time to be asked again has
come, or else the next new one. Every request in flight is a task of its own. Questions are taken
from their iterator as they can be sent and encoded when they are, so that memory stays flat.
"""

import asyncio
import contextlib
import heapq
import logging
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from chainsight.config import DistillSection
from chainsight.context import Task
from chainsight.errors import ChainsightError, RecordError, TeacherError
from chainsight.teacher.asked import Asked
from chainsight.teacher.client import Answer, Line, Teacher
from chainsight.teacher.cost import Budget, price_of
from chainsight.teacher.endpoint import Endpoint
from chainsight.teacher.ledger import Entry, Ledger
from chainsight.teacher.limits import Ticket
from chainsight.teacher.pool import Pool, Site
from chainsight.teacher.reply import Reply, unanswerable
from chainsight.teacher.request import Question, payload
from chainsight.teacher.sizing import Size, Sizer, size
from chainsight.teacher.speed import Speed
from chainsight.teacher.troubles import Trouble

log = logging.getLogger(__name__)

LEAST_SILENCE = 8
"""Questions in a row without an answer before a whole teacher is called silent."""
BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 60.0
CONNECT_RETRIES = 3
"""At a place that has never answered."""

Connect = Callable[[DistillSection, Endpoint], Line]


@dataclass
class Job:
    """A question under way."""

    question: Question
    size: Size
    born: float
    tries: int = 0
    """That ended without an answer, refusals for the rate of asking left out."""
    attempts: int = 0
    """All that ended without an answer."""
    num_cut: int = 0
    """Tries that were cut for their silence."""
    num_unreached: int = 0
    reserved: float = 0.0


def ask(
    config: DistillSection,
    endpoints: tuple[Endpoint, ...],
    ledger: Ledger,
    questions: Iterator[Question],
    *,
    budget: Budget,
    total: int,
    task: Task,
    sizer: Sizer | None = None,
) -> Asked:
    """Ask all of them; `total` counts those answered before, too, from which `sizer` has learned.

    Raises:
        TeacherError: why the asking stopped, and how many answers are safe.
    """
    asking = Asking(
        config, endpoints, ledger=ledger, budget=budget, total=total, task=task, sizer=sizer
    )
    return asyncio.run(asking.run(questions))


class Asking:
    """One pass over the open questions.

    A reason to stop (no money, no key, no teacher, too many failures) lets the requests in
    flight end and be recorded, and is raised once, after them.
    """

    def __init__(
        self,
        config: DistillSection,
        endpoints: tuple[Endpoint, ...],
        *,
        ledger: Ledger,
        budget: Budget,
        total: int,
        task: Task,
        sizer: Sizer | None = None,
        connect: Connect = Teacher,
        backoff_seconds: float = BACKOFF_SECONDS,
        chance: random.Random | None = None,
    ) -> None:
        self._config, self._ledger, self._budget = config, ledger, budget
        self._total, self._task, self._backoff = total, task, backoff_seconds
        self._pool = Pool([Site.of(config, place, connect(config, place)) for place in endpoints])
        self._price, self._sizer = price_of(config), sizer or Sizer(config)
        self._chance = chance or random.Random()  # noqa: S311 - jitter
        self._waiting: list[tuple[float, int, Job]] = []
        self._stop: ChainsightError | None = None
        self._is_exhausted = False
        self._num_in_flight = self._num_queued = self._silence = 0
        self._changed = asyncio.Event()
        self._speed = Speed(budget)
        self.asked = Asked()

    async def run(self, questions: Iterator[Question]) -> Asked:
        """Ask all of them.

        Raises:
            TeacherError: see `ask`.
        """
        lines = [site.line for site in self._pool.sites]
        try:
            async with asyncio.TaskGroup() as group:
                await self._dispatch(questions, group)
        finally:
            await asyncio.gather(*(line.close() for line in lines))
        if self._stop:
            raise type(self._stop)(
                f"{self._stop}. {len(self._ledger)} answers are in {self._ledger.where}: the same "
                "command goes on from there and pays none of them again"
            )
        return self.asked

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    # --- what is sent next, where and when -----------------------------------------------------

    async def _dispatch(self, questions: Iterator[Question], group: asyncio.TaskGroup) -> None:
        try:
            while job := await self._next(questions):
                most = self._sizer.most(job.size).cost_usd(self._price)
                job.reserved = await self._budget.room(most)
                site = await self._place()
                if site is None:
                    self._budget.release(job.reserved)
                    return
                group.create_task(self._try(site, job, self._take(site, job)))
        except ChainsightError as error:
            self._end(error)

    async def _next(self, questions: Iterator[Question]) -> Job | None:
        """The next job to send; None when all is done, or none shall be sent any more."""
        while self._stop is None:
            now = self._now()
            if self._waiting and self._waiting[0][0] <= now:
                return heapq.heappop(self._waiting)[2]
            if job := self._new(questions):
                return job
            if not self._waiting and not self._num_in_flight:
                return None
            await self._pause(self._waiting[0][0] - now if self._waiting else math.inf)
        return None

    def _new(self, questions: Iterator[Question]) -> Job | None:
        """A question that was not asked before, as long as few enough are under way."""
        while not self._is_exhausted and self._num_under_way < self._config.concurrency:
            question = next(questions, None)
            if question is None:
                self._is_exhausted = True
                break
            try:
                return Job(question, size(self._config, question.example), self._now())
            except RecordError as error:
                self._fail(question, str(error), "")
        return None

    @property
    def _num_under_way(self) -> int:
        return self._num_in_flight + len(self._waiting)

    async def _place(self) -> Site | None:
        """The place to send to, once it may be; None when nothing shall be sent any more."""
        while self._stop is None:
            site, seconds = self._pool.pick(self._now())
            if seconds <= 0:
                return site
            await self._pause(seconds)
        return None

    async def _pause(self, seconds: float) -> None:
        """Until a request has ended, but no longer than this."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                await self._changed.wait()

    def _take(self, site: Site, job: Job) -> Ticket:
        self._num_in_flight += 1
        self.asked.num_sent += 1
        self.asked.num_retried += job.attempts > 0
        most = job.size.prompt_tokens + self._config.max_tokens * self._config.samples
        return site.take(self._sizer.expected(job.size).tokens, most, self._now())

    # --- one try -------------------------------------------------------------------------------

    async def _try(self, site: Site, job: Job, ticket: Ticket) -> None:
        try:
            outcome, seconds = await self._send(site, job)
            site.ended(outcome, ticket, seconds, self._now())
            self._changed.set()
            if isinstance(outcome, Answer):
                await self._keep(site, job, outcome.response)
            else:
                await self._mend(site, job, outcome)
        except TeacherError as error:
            self._end(error)
        finally:
            self._num_in_flight -= 1
            self._changed.set()

    async def _send(self, site: Site, job: Job) -> tuple[Answer | Trouble, float]:
        start = self._now()
        try:
            encoded = await asyncio.to_thread(payload, self._config, job.question, site.model)
            start = self._now()
            outcome = await site.line.send(encoded, site.patience.seconds(job.num_cut))
        except RecordError as error:
            outcome = Trouble("refused", str(error))
        return outcome, self._now() - start

    async def _keep(self, site: Site, job: Job, response: dict[str, Any]) -> None:
        """Record an answer, and count it only then."""
        entry = Entry(response, by=site.line.address)
        reply = Reply.of(response)
        self._budget.settle(job.reserved, reply.cost_usd(self._price))
        await asyncio.to_thread(self._ledger.record, job.question.key, entry)
        self._budget.check(reply, entry.by)
        self._sizer.learn(job.size, reply)
        self._count(reply)
        note = self._speed.note(
            reply, self._pool.tokens_per_minute, self.asked.num_limited, now=self._now()
        )
        if note:
            self._task.note(note)

    def _count(self, reply: Reply) -> None:
        self.asked.num_asked += 1
        self._task.advance()
        if not reply.error:
            self._silence = 0

    # --- when there is no answer ---------------------------------------------------------------

    async def _mend(self, site: Site, job: Job, trouble: Trouble) -> None:
        """Ask again soon, or give the question up; refuse it for good if it is its own fault."""
        self._bear(job, trouble)
        if trouble.kind == "own":
            self.asked.num_unanswerable += 1
            job.reserved = self._budget.hold(0.0)
            await self._keep(site, job, unanswerable(trouble.code, trouble.message))
            self._grow_silent(site.line.address, trouble.message)
        elif self._stop is None and self._tries_again(site, job, trouble):
            log.debug("%s: %s; trying again", job.question.example.id, trouble.message)
            self._queue(job, quick=trouble.kind == "unreachable" and not site.reached)
        elif self._stop is None:
            said = f"{trouble.message}, {job.attempts} tries"
            self._fail(job.question, said, site.line.address)

    def _bear(self, job: Job, trouble: Trouble) -> None:
        """Count a try without an answer, and what it may have cost."""
        if trouble.means.maybe_paid:
            self._budget.lose(job.reserved)
        else:
            self._budget.release(job.reserved)
        job.attempts += 1
        job.tries += trouble.means.is_try
        job.num_cut += trouble.kind == "silent"
        job.num_unreached += trouble.kind == "unreachable"
        self.asked.num_limited += trouble.kind == "limited"
        self.asked.num_hung += trouble.kind == "silent"
        self.asked.num_maybe_paid += trouble.means.maybe_paid

    def _tries_again(self, site: Site, job: Job, trouble: Trouble) -> bool:
        """Whether the question is to be asked again.

        Raises:
            TeacherError: nobody is left to be asked.
        """
        most = self._config.max_retries
        if trouble.kind == "closed":
            self._pool.leave_out(site, trouble.message)
            return True
        if trouble.kind == "unreachable":
            alone = len(self._pool.sites) == 1
            num_away = job.num_unreached if alone else site.num_unreached
            if num_away > (most if site.reached and alone else min(most, CONNECT_RETRIES)):
                job.num_unreached = job.tries = 0
                self._pool.rest(site, f"{trouble.message}, {num_away} tries", self._now())
            return True
        longest = self._config.timeout_seconds * (most + 1)
        in_time = self._now() - job.born < longest
        return job.tries <= most and in_time and not trouble.means.final

    def _queue(self, job: Job, *, quick: bool) -> None:
        """Full jitter, ever longer; `quick`: but not longer, as nobody may be there."""
        ceiling = self._backoff * (1 if quick else 2 ** min(job.attempts - 1, 16))
        delay = self._chance.uniform(0, min(LONGEST_BACKOFF_SECONDS, ceiling))
        self._num_queued += 1
        heapq.heappush(self._waiting, (self._now() + delay, self._num_queued, job))

    def _fail(self, question: Question, why: str, address: str) -> None:
        log.warning("%s: no answer: %s", question.example.id, why)
        self.asked.num_failed += 1
        self._task.advance()
        allowed = self._config.max_failed_rate * self._total
        self._grow_silent(address, why)
        if self.asked.num_failed > allowed:
            self._end(
                TeacherError(
                    f"{address}: {self.asked.num_failed} of {self._total} questions "
                    "got no answer, more than distill.max_failed_rate "
                    f"{self._config.max_failed_rate:g} allows; the last: {why}"
                )
            )

    def _grow_silent(self, address: str, why: str) -> None:
        self._silence += 1
        if self._silence >= max(LEAST_SILENCE, self._config.concurrency):
            self._end(
                TeacherError(
                    f"{address}: {self._silence} questions in a row got no answer; the last: {why}"
                )
            )

    def _end(self, error: ChainsightError) -> None:
        """Send nothing any more."""
        self._stop = self._stop or error
        self._changed.set()
