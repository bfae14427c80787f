"""Many questions to one teacher by the Batch API: cut, sent, followed, taken, asked again."""

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Set
from functools import partial
from pathlib import Path

from chainsight.config import DistillSection
from chainsight.context import Shelf, Task
from chainsight.errors import ChainsightError, RecordError, TeacherError
from chainsight.store import LocalStore
from chainsight.teacher.asked import Asked
from chainsight.teacher.batches import rows
from chainsight.teacher.batches.api import Api, GoneError, State
from chainsight.teacher.batches.creating import Creator
from chainsight.teacher.batches.cutting import MEGABYTE, Cut, Cutter, Limits, Request, line
from chainsight.teacher.batches.failures import (
    OUT_OF_MONEY,
    PASSING,
    QUEUE_IS_FULL,
    refused,
    unpaid,
)
from chainsight.teacher.batches.flights import Flight, Queue
from chainsight.teacher.batches.intents import Intent, Intents, Owner, run_key
from chainsight.teacher.batches.purse import Purse, Stake
from chainsight.teacher.batches.telling import Teller
from chainsight.teacher.cost import Budget
from chainsight.teacher.endpoint import Endpoint
from chainsight.teacher.ledger import Entry, Ledger
from chainsight.teacher.request import Question, body
from chainsight.teacher.sizing import Sizer, size

log = logging.getLogger(__name__)


def ask(
    config: DistillSection,
    endpoint: Endpoint,
    ledger: Ledger,
    questions: Callable[[], Iterator[Question]],
    *,
    budget: Budget,
    folder: Path,
    shelf: Shelf | None,
    task: Task,
    sizer: Sizer | None = None,
    wanted: Set[str] = frozenset(),
) -> Asked:
    """Ask what `questions` gives, and wait until all of it is answered or given up.

    `questions` is called again for those that a batch left without an answer. `folder` is the
    teacher's in the ledger: it names the teacher, and has the intents where there is no shelf.
    `sizer` has learned from the answers of before.
    `wanted` has the keys of all questions: an earlier run's batch may have ended before `questions`
    comes to what is in it, and its answers are to be counted, by the budget too.

    Raises:
        TeacherError: why the asking stopped, and how many answers are safe.
    """
    if config.also:
        log.warning("distill.mode batch asks distill.teacher alone; distill.also is left out")
    folder.mkdir(parents=True, exist_ok=True)
    intents = Intents(shelf or LocalStore(folder), folder.name)
    purse = Purse(config, budget, sizer or Sizer(config))
    batching = Batching(
        config,
        endpoint,
        ledger,
        intents=intents,
        purse=purse,
        folder=folder,
        task=task,
        wanted=wanted,
    )
    try:
        asyncio.run(batching.run(questions))
    except (KeyboardInterrupt, SystemExit):
        if batching.num_waiting:
            log.warning(
                "stopped here, but %d batches go on at the API and will be billed: the same "
                "command takes in their answers",
                batching.num_waiting,
            )
        raise
    except ChainsightError as error:
        raise type(error)(
            f"{error}. {len(ledger)} answers are in {ledger.where}, {batching.num_waiting} batches "
            "go on at the API: the same command goes on from there and pays nothing again"
        ) from error
    return batching.asked


class Batching:
    """One run's batches, its own and those that it found."""

    def __init__(
        self,
        config: DistillSection,
        endpoint: Endpoint,
        ledger: Ledger,
        *,
        intents: Intents,
        purse: Purse,
        folder: Path,
        task: Task,
        wanted: Set[str],
    ) -> None:
        self._wanted = wanted
        self._config, self._endpoint, self._ledger = config, endpoint, ledger
        self._intents, self._folder = intents, folder
        self._purse, self._teller = purse, Teller(task)
        self._api = Api(config, endpoint)
        self._model = endpoint.model or config.teacher_model
        self._poll = config.batch.poll_seconds
        self._flights: dict[str, Flight] = {}
        self._flight_of: dict[str, Flight] = {}
        self._tries: Counter[str] = Counter()
        self._given_up: set[str] = set()
        self._stakes: dict[str, Stake] = {}
        self._is_again = True
        self._is_short = False
        self._unpaid = ""
        self._queue = Queue(config)
        self._creator = Creator(
            self._api, intents, lag_seconds=2 * self._poll, tries=config.max_retries + 1
        )
        self._looked = -math.inf
        self.asked = Asked()

    @property
    def num_waiting(self) -> int:
        """Batches on their way that this run wants answers from."""
        return sum(bool(flight.stakes) for flight in self._flights.values())

    async def run(self, questions: Callable[[], Iterator[Question]]) -> None:
        """Send all of them, follow the batches, and send again what came back without an answer.

        Raises:
            TeacherError: no Batch API, no money, a key or a file that is refused.
        """
        async with self._api:
            await self._api.check()
            while self._is_again:
                self._is_again = False
                cutter = Cutter(
                    self._requests(questions()),
                    self._folder,
                    is_open=self._is_open,
                    afford=self._afford,
                )
                while not cutter.is_done or self.num_waiting:
                    await self._step(cutter)
        self.asked.num_batches = self._creator.num_created

    async def _step(self, cutter: Cutter) -> None:
        if time.monotonic() - self._looked >= self._poll:
            await self._look()
            self._looked = time.monotonic()
        wanted = not (cutter.is_done or self._is_short)
        room = wanted and self._queue.has_room(self._flights.values())
        if not room or not await self._send(cutter):
            await asyncio.sleep(0 if self._is_idle(cutter) else self._poll)

    def _is_idle(self, cutter: Cutter) -> bool:
        return cutter.is_done and not self.num_waiting

    # --- what is to be asked -----------------------------------------------------------------

    def _requests(self, questions: Iterator[Question]) -> Iterator[Request]:
        for question in questions:
            if self._is_open(question) and (request := self._prepared(question)):
                yield request

    def _is_open(self, question: Question) -> bool:
        """Whether it is to be asked; one that is on its way is waited for."""
        key = question.key
        if key in self._ledger or key in self._given_up:
            return False
        flight = self._flight_of.get(key)
        if flight and key not in flight.stakes:
            flight.stakes[key] = self._purse.hold(size(self._config, question.example))
        return flight is None

    def _prepared(self, question: Question) -> Request | None:
        """With its line; None for one that cannot be sent."""
        most_mb, most_tokens = self._config.batch.max_mb, self._config.batch.queued_tokens
        try:
            taken = size(self._config, question.example)
            asked = body(self._config, question, self._model)
        except RecordError as error:
            self._fail(question.key, str(error))
            return None
        request = Request(question, taken, line(question.key, self._api.path, asked))
        if len(request.line) > most_mb * MEGABYTE:
            self._fail(question.key, f"larger than distill.batch.max_mb {most_mb:g}")
            return None
        if most_tokens and taken.prompt_tokens > most_tokens:
            self._fail(question.key, f"more than distill.batch.queued_tokens {most_tokens}")
            return None
        return request

    def _fail(self, key: str, why: str) -> None:
        log.warning("%s: no answer: %s", key[:12], why)
        self._given_up.add(key)
        self.asked.num_failed += 1
        self._teller.failed()

    def _afford(self, request: Request) -> bool:
        stake = self._purse.afford(request.size)
        if stake:
            self._stakes[request.question.key] = stake
        return stake is not None

    # --- sending -----------------------------------------------------------------------------

    async def _send(self, cutter: Cutter) -> bool:
        """Cut the next file and create its batch; whether there was one."""
        batch = self._config.batch
        tokens = self._queue.room(self._flights.values())
        limits = Limits(batch.max_requests, int(batch.max_mb * MEGABYTE), tokens)
        with self._intents.cutting() as turn:
            self._sight()
            cut = cutter.cut(limits)
            turn.check()
            flight = self._announce(cut) if cut else None
        if cutter.unaffordable:
            self._wait_for_money(cutter.unaffordable)
        if cut is None or flight is None:
            return False
        self._queue.note(cut.prompt_tokens)
        with cut.file:
            flight.batch = await self._creator.create(flight.intent, cut.file)
        return True

    def _wait_for_money(self, request: Request) -> None:
        """Batches on their way may cost less than is set aside for them; else this is the end."""
        if not self.num_waiting:
            self._purse.refuse(request.size)
        self._is_short = True

    def _announce(self, cut: Cut) -> Flight:
        turn = 1 + max(self._tries[key] for key in cut.keys)
        while not self._intents.announce(intent := self._intent(cut, turn)):
            if not self._intents.is_over(intent.run_key):
                raise TeacherError("another run asks the same at the same moment; run again")
            turn += 1
        flight = self._add(intent)
        flight.stakes, self._stakes = self._stakes, {}
        return flight

    def _intent(self, cut: Cut, turn: int) -> Intent:
        return Intent(
            run_key=run_key(cut.keys, turn),
            keys=tuple(cut.keys),
            round=turn,
            sha256=cut.sha256,
            num_bytes=cut.num_bytes,
            prompt_tokens=cut.prompt_tokens,
            owner=Owner.me(),
        )

    # --- following ---------------------------------------------------------------------------

    def _add(self, intent: Intent) -> Flight:
        flight = self._flights[intent.run_key] = Flight(intent)
        self._flight_of.update(dict.fromkeys(intent.keys, flight))
        return flight

    def _sight(self) -> None:
        """See which intents there are, and what other runs have brought in."""
        if self._intents.look():
            self._ledger.refresh()
        for key in [key for key in self._flights if key not in self._intents.open]:
            self._land(self._flights[key], is_try=True)
        for key, intent in self._intents.open.items():
            if key not in self._flights:
                self._add(intent)

    async def _look(self) -> None:
        """Look at every batch once."""
        self._sight()
        for flight in list(self._flights.values()):
            flight.batch = flight.batch or await self._adopted(flight)
            if flight.batch and flight.intent.run_key in self._flights:
                await self._follow(flight, flight.batch)
        self._teller.tell(self._flights.values())

    async def _adopted(self, flight: Flight) -> str | None:
        """The batch of an intent that this run has not created itself."""
        intent = flight.intent
        batch = self._intents.batch_of(intent.run_key)
        if batch is None and flight.stakes and intent.owner.is_dead():
            batch = await self._creator.take_over(intent)
            if batch is None:
                self._land(flight, is_try=False)
        self.asked.num_adopted += batch is not None
        return batch

    async def _follow(self, flight: Flight, batch: str) -> None:
        """Look at one batch, and bring in its answers if it has ended."""
        try:
            state = flight.state = await self._api.look(batch)
        except GoneError as error:
            if flight.stakes:
                raise TeacherError(self._unknown(flight, error)) from None
            return
        self._teller.seen(flight)
        if state.status == "failed":
            await self._refused(flight, state)
        elif state.has_ended:
            await self._take(flight, state)

    def _unknown(self, flight: Flight, error: GoneError) -> str:
        return (
            f"{error}. Batch {flight.batch} was created with the key of another account; run with "
            f"that one, or delete {self._intents.name(flight.intent.run_key)}* in the store to pay "
            "its questions anew"
        )

    async def _take(self, flight: Flight, state: State) -> None:
        """Bring the answers of an ended batch into the ledger."""
        keys = frozenset(flight.intent.keys)
        try:
            for file in state.files:
                await self._api.read(file, partial(self._receive, flight, keys))
        except GoneError:
            self._ledger.refresh()  # another run has taken them and deleted the file
        if not self._ledger.flush():
            return  # the store is away: looked at again
        self._end(flight, state.status)
        for file in (state.input_file, *state.files):
            await self._api.delete(file)
        if self._unpaid:
            raise TeacherError(unpaid(self._api.address, self._unpaid))

    def _receive(self, flight: Flight, keys: frozenset[str], text: bytes) -> None:
        row = rows.read(text)
        if row.key not in keys or row.key in self._ledger:
            return
        if row.response is None:
            self._unpaid = self._unpaid or row.trouble * row.is_unpaid
            said = self._endpoint.hide(row.trouble)
            log.debug("%s: no answer: %s", row.key[:12], said)
            if row.is_final and (stake := flight.stakes.pop(row.key, None)):
                self._purse.release(stake)
                self._fail(row.key, said)
            return
        response = self._endpoint.clean(row.response)
        entry = Entry(response, by=self._api.address, batch=True)
        self._ledger.record(row.key, entry)
        self._settle(flight, row.key, entry)

    def _settle(self, flight: Flight, key: str, entry: Entry) -> None:
        """Count an answer that this run wanted."""
        stake = flight.stakes.pop(key, None)
        if stake is None and key not in self._wanted:
            return
        reply = self._purse.settle(stake, entry) if stake else self._purse.pay(entry)
        self._teller.settled(flight)
        self.asked.num_asked += 1
        self.asked.num_unanswerable += bool(reply.error)

    def _end(self, flight: Flight, why: str) -> None:
        self._intents.end(flight.intent.run_key, why)
        self._queue.clear()
        self._land(flight, is_try=True)

    def _land(self, flight: Flight, *, is_try: bool) -> None:
        """Forget a batch; what it left without an answer is asked again, or given up."""
        del self._flights[flight.intent.run_key]
        for key in flight.intent.keys:
            self._flight_of.pop(key, None)
        self._is_short = False
        for key, stake in list(flight.stakes.items()):
            if entry := self._ledger.get(key):  # another run has brought it in
                self._settle(flight, key, entry)
                continue
            self._purse.release(stake)
            self._tries[key] += is_try
            if self._tries[key] >= self._config.batch.max_rounds:
                self._fail(key, f"in {self._tries[key]} batches (distill.batch.max_rounds)")
            else:
                self._is_again = True
                self.asked.num_retried += is_try

    async def _refused(self, flight: Flight, state: State) -> None:
        """A batch that the API did not take at all: nothing of it is billed."""
        self._intents.end(flight.intent.run_key, f"failed: {state.code}")
        self._land(flight, is_try=state.code not in QUEUE_IS_FULL)
        await self._api.delete(state.input_file)
        said = self._endpoint.hide(f"{state.code}: {state.message}")
        if state.code in QUEUE_IS_FULL:
            self._queue.refuse(self._flights.values(), said)
        elif state.code in OUT_OF_MONEY:
            raise TeacherError(unpaid(self._api.address, said))
        elif state.code not in PASSING and flight.stakes:
            raise TeacherError(refused(self._api.address, state.id, state.code, said))
