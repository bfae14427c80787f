"""Many questions to one teacher: so many in flight, each answer recorded, one reason to stop."""

import asyncio
import logging
from collections.abc import Iterator

from chainsight.config import DistillSection
from chainsight.context import Task
from chainsight.errors import ChainsightError, TeacherError
from chainsight.teacher.client import NoAnswerError, Teacher
from chainsight.teacher.cost import Budget, price_of
from chainsight.teacher.endpoint import Endpoint
from chainsight.teacher.ledger import Entry, Ledger
from chainsight.teacher.reply import Reply
from chainsight.teacher.request import Question
from chainsight.teacher.sizing import Size, Sizer, size

log = logging.getLogger(__name__)

LEAST_SILENCE = 8
"""Questions in a row without an answer before a whole teacher is called silent."""


class Asking:
    """One pass over the open questions.

    A reason to stop (no money, no key, no teacher, too many failures) lets the requests in
    flight end and be recorded, and is raised once, after them.
    """

    def __init__(
        self, config: DistillSection, *, ledger: Ledger, budget: Budget, total: int, task: Task
    ) -> None:
        self._config, self._ledger, self._budget = config, ledger, budget
        self._total, self._task = total, task
        self._price, self._sizer = price_of(config), Sizer(config)
        self._stop: ChainsightError | None = None
        self._silence = 0
        self.num_asked = 0
        self.num_failed = 0

    async def run(self, endpoint: Endpoint, questions: Iterator[Question]) -> None:
        """Ask all of them, in order, `config.concurrency` at a time.

        Raises:
            TeacherError: why the asking stopped, and how many answers are safe.
        """
        async with Teacher(self._config, endpoint) as teacher, asyncio.TaskGroup() as group:
            for _ in range(self._config.concurrency):
                group.create_task(self._work(teacher, questions))
        if self._stop:
            raise type(self._stop)(
                f"{self._stop}. {len(self._ledger)} answers are in {self._ledger.path}: the same "
                "command goes on from there and pays none of them again"
            )

    async def _work(self, teacher: Teacher, questions: Iterator[Question]) -> None:
        while self._stop is None:
            try:
                question = next(questions, None)
                if question is None:
                    return
                asked = size(self._config, question.example)
                most = self._sizer.most(asked).cost_usd(self._price)
                reserved = await self._budget.room(most)
                await self._ask(teacher, question, asked, reserved)
            except ChainsightError as error:
                self._stop = self._stop or error

    async def _ask(
        self, teacher: Teacher, question: Question, asked: Size, reserved: float
    ) -> None:
        try:
            response = await teacher.ask(question, lambda: self._stop is None)
        except NoAnswerError as error:
            self._budget.lose(reserved)
            self._count_failure(teacher.address, question.example.id, str(error))
            return
        await asyncio.to_thread(
            self._ledger.record, question.key, Entry(response, by=teacher.address)
        )
        reply = Reply.of(response)
        if self._budget.limit_usd is not None and not reply.prompt_tokens:
            raise TeacherError(
                f"{teacher.address}: reports no token counts, so that distill.budget_usd cannot be "
                "kept; remove the budget to go on without one"
            )
        self._budget.settle(reserved, reply.cost_usd(self._price))
        self._sizer.learn(asked, reply)
        self.num_asked += 1
        self._silence = 0
        self._task.advance()

    def _count_failure(self, address: str, example_id: str, why: str) -> None:
        if self._stop:
            return  # its retries were cut short: not the question's fault
        log.warning("%s: no answer: %s", example_id, why)
        self.num_failed += 1
        self._silence += 1
        self._task.advance()
        allowed = self._config.max_failed_rate * self._total
        if self._silence >= max(LEAST_SILENCE, self._config.concurrency):
            self._stop = TeacherError(
                f"{address}: {self._silence} questions in a row got no answer; the last: {why}"
            )
        elif self.num_failed > allowed:
            self._stop = TeacherError(
                f"{address}: {self.num_failed} of {self._total} questions "
                f"got no answer, more than distill.max_failed_rate "
                f"{self._config.max_failed_rate:g} allows; the last: {why}"
            )
