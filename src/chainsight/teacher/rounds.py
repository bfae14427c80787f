"""The questions about all examples, round by round: one about each, then retries about some."""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from itertools import chain
from pathlib import Path

from chainsight.config import DistillSection
from chainsight.context import Claim, Context, Turn
from chainsight.errors import RecordError
from chainsight.records import Example
from chainsight.teacher import asking, batches
from chainsight.teacher.asked import Asked
from chainsight.teacher.cost import Budget, budget_of, price_of
from chainsight.teacher.endpoint import Endpoint
from chainsight.teacher.estimate import estimate
from chainsight.teacher.ledger import Entry, Ledger
from chainsight.teacher.reply import Reply
from chainsight.teacher.request import Question, Variant, first, request_key
from chainsight.teacher.sizing import Sizer
from chainsight.teacher.survey import Survey

log = logging.getLogger(__name__)

NOT_SENT = ""
Answered = tuple[int, str, Entry]
"""The number of a round, the request, and its answer."""


class Rounds:
    """The requests of each round, in the order of the examples, and their answers."""

    def __init__(
        self,
        config: DistillSection,
        who: str,
        ledger: Ledger,
        examples: Callable[[], Iterator[Example]],
        context: Context,
        folder: Path,
        total: int,
    ) -> None:
        """`who` is the teacher's identity; `examples` gives the same `total` ones each time;
        `folder` is the ledger's."""
        self._config, self._who, self._ledger = config, who, ledger
        self._examples, self._context, self._folder = examples, context, folder
        self._total = total
        self._rounds: list[list[str]] = []
        """Of each round a request for each example, `NOT_SENT` where there is none."""
        self._asked = Asked()
        self._lost = (0.0, 0)
        """Dollars and tries of this execution that may have been billed and brought no answer."""
        self._forecast: dict[str, float] = {}
        self._sizer = Sizer(config)

    def look(self, sample: int = 0) -> Survey:
        """Read all questions once: their addresses, and what they take.

        `sample` of them may be asked first (`probe`).
        """
        survey, shard = Survey(self._config, self._ledger, sample), self._context.shard
        keys = []
        with self._context.progress.task("distill, estimate", self._total, "question") as task:
            for example in self._examples():
                key = self._key(example, first(self._config))
                # Equal questions fall into one shard.
                mine = not key or shard.has(int(key[:8], 16))
                keys.append(survey.add(key, example) if mine else NOT_SENT)
                task.advance()
        self._rounds, self._sizer = [keys], survey.sizer
        return survey

    def probe(self, endpoints: Sequence[Endpoint], survey: Survey) -> int:
        """Ask the sample of `survey`, whose predictions learn from the answers; return its size.

        Raises:
            TeacherError: why the asking stopped.
        """
        chosen = set(survey.chosen())
        own = [key if key in chosen else NOT_SENT for key in self._rounds[0]]
        self._ask_open(endpoints, own, first(self._config))
        for key in chosen:
            survey.close(key)
        return len(chosen)

    def ask(self, endpoints: Sequence[Endpoint], again: Callable[[Example, Entry], bool]) -> None:
        """Ask about each example, then up to `retries` times about those that need it `again`.

        Raises:
            TeacherError: why the asking stopped.
        """
        forecast = estimate(self._config, self.look())
        self._forecast = forecast.metrics()
        self._context.progress.say(f"distill: {forecast.line()}")
        self._ask_open(endpoints, self._rounds[0], first(self._config))
        for number in range(1, self._config.retries + 1):
            retry = Variant(number, self._config.retry_temperature)
            keys = self._retried(retry, again)
            if not any(keys):
                return
            self._rounds.append(keys)
            self._ask_open(endpoints, keys, retry)

    def counts(self) -> dict[str, float]:
        """What came of asking now, how many answers came from elsewhere or before, and what was
        expected."""
        answered = sum(key in self._ledger for key in self._requests())
        return {
            **self._asked.metrics(),
            "num_from_ledger": float(answered - self._asked.num_asked),
            "maybe_paid_usd": self._lost[0],
            **self._forecast,
        }

    def answers(self) -> Iterator[tuple[Example, list[Answered]]]:
        """The answers about each example, in the order of the rounds."""
        for number, example in enumerate(self._examples()):
            found = [
                (variant, keys[number], entry)
                for variant, keys in enumerate(self._rounds)
                if (entry := self._ledger.get(keys[number]))
            ]
            yield example, found

    def _retried(self, retry: Variant, again: Callable[[Example, Entry], bool]) -> list[str]:
        keys = []
        for key, example in zip(self._rounds[-1], self._examples(), strict=True):
            entry = self._ledger.get(key)
            wanted = entry is not None and again(example, entry)
            keys.append(self._key(example, retry) if wanted else NOT_SENT)
        return keys

    def _key(self, example: Example, variant: Variant) -> str:
        """The request's address, `NOT_SENT` for an image that cannot be sent."""
        try:
            return request_key(self._config, self._who, example, variant)
        except RecordError as error:
            log.warning("%s: not asked: %s", example.id, error)
            return NOT_SENT

    def _ask_open(self, endpoints: Sequence[Endpoint], keys: list[str], variant: Variant) -> None:
        """Ask what has no recorded answer."""
        config, ledger, context = self._config, self._ledger, self._context
        requests = set(keys) - {NOT_SENT}
        if all(key in ledger for key in requests):
            return
        title = f"distill, retry {variant.number}" if variant.number else "distill"
        with _turn(context.claim, ledger, requests) as mine:
            known = sum(key in ledger for key in requests)
            budget = self._budget()
            with context.progress.task(title, len(requests), "question", done=known) as task:
                if config.mode == "batch":
                    asked = batches.ask(
                        config,
                        endpoints[0],
                        ledger,
                        lambda: self._open_questions(keys, variant, mine),
                        budget=budget,
                        folder=self._folder,
                        shelf=context.shelf,
                        task=task,
                        sizer=self._sizer,
                        wanted=requests,
                    )
                else:
                    still_open = {key for key in requests if key not in ledger}
                    batches.refuse_waiting(still_open, self._folder, context.shelf)
                    asked = asking.ask(
                        config,
                        tuple(endpoints),
                        ledger,
                        self._open_questions(keys, variant, mine),
                        budget=budget,
                        total=budget.num_questions,
                        task=task,
                        sizer=self._sizer,
                    )
        self._asked += asked
        self._lost = budget.lost_usd, budget.num_lost

    def _budget(self) -> Budget:
        """The budget less what the recorded answers to all these questions have cost, and what
        the rounds before have lost."""
        requests = self._requests()
        budget = budget_of(self._config, len(requests))
        budget.lost_usd, budget.num_lost = self._lost
        for key in requests:
            if entry := self._ledger.get(key):
                reply = Reply.of(entry.response)
                budget.add(reply.cost_usd(price_of(self._config), batch=entry.batch))
        return budget

    def _requests(self) -> list[str]:
        """The different requests of all rounds so far."""
        return [key for key in dict.fromkeys(chain(*self._rounds)) if key != NOT_SENT]

    def _open_questions(
        self, keys: Sequence[str], variant: Variant, mine: Turn
    ) -> Iterator[Question]:
        """Read images as they are wanted; two rows that ask the same are asked once."""
        taken = set()
        for key, example in zip(keys, self._examples(), strict=True):
            if key != NOT_SENT and key not in self._ledger and key not in taken:
                mine.check()
                taken.add(key)
                yield Question(key, example, variant)


@contextmanager
def _turn(claim: Claim, ledger: Ledger, keys: Collection[str]) -> Iterator[Turn]:
    """Be the one process that asks `keys`, all of them, answered or not; the others wait.

    Within, the ledger knows what a process before has recorded; afterwards, the shelf has what
    was recorded within. So who waited asks only what a dead holder had not put there yet.
    """
    questions = sha256("\n".join(sorted(keys)).encode()).hexdigest()
    with claim(f"asking/{questions[:16]}", lasting=True) as mine:
        ledger.refresh()
        try:
            yield mine
        finally:
            ledger.flush()
