"""Many questions to one teacher by the Batch API: cut, sent, followed, taken, asked again."""

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

from chainsight.config import DistillSection
from chainsight.context import Shelf, Task
from chainsight.errors import ChainsightError, RecordError, TeacherError
from chainsight.store import LocalStore
from chainsight.teacher import asking
from chainsight.teacher.batches import rows
from chainsight.teacher.batches.api import Api, GoneError, State, UnsureError, unpaid
from chainsight.teacher.batches.cutting import MEGABYTE, Asking, Cut, Cutter, Limits, line
from chainsight.teacher.batches.intents import Intent, Intents, Owner, run_key
from chainsight.teacher.cost import Budget, price_of
from chainsight.teacher.endpoint import Endpoint
from chainsight.teacher.ledger import Entry, Ledger
from chainsight.teacher.reply import Reply
from chainsight.teacher.request import Question, body
from chainsight.teacher.sizing import Size, Sizer, size

log = logging.getLogger(__name__)

QUEUE_IS_FULL = ("token_limit_exceeded",)
"""Code of a batch that failed, as the account's queue had no room for it."""
PASSING = ("server_error", "internal_error", "timeout")
"""Codes of a batch that failed for no fault of its own."""
LONELY_REFUSALS = 6
"""So often a batch may find no room in the queue although none of ours is in it."""
LONGEST_REST_SECONDS = 900.0


@dataclass
class Asked(asking.Asked):
    """What came of asking; `num_retried` counts questions that were put into one more batch."""

    num_batches: int = 0
    """Created here."""
    num_adopted: int = 0
    """Found, as an earlier or another run had created them."""


@dataclass(frozen=True)
class Stake:
    """What a question in a batch takes, and the money that is set aside for it."""

    size: Size
    usd: float


@dataclass
class Flight:
    """A batch on its way."""

    intent: Intent
    batch: str | None = None
    """Its id; none: not created yet, or by somebody who is at it."""
    state: State | None = None
    """As of the last look."""
    stakes: dict[str, Stake] = field(default_factory=dict)
    """Of the questions in it that this run wants."""
    num_shown: int = 0
    """Answers that the progress has counted."""


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
) -> Asked:
    """Ask what `questions` gives, and wait until all of it is answered or given up.

    `questions` is called again for those that a batch left without an answer. `folder` is the
    teacher's in the ledger: it names the teacher, and has the intents where there is no shelf.

    Raises:
        TeacherError: why the asking stopped, and how many answers are safe.
    """
    if config.also:
        log.warning("distill.mode batch asks distill.teacher alone; distill.also is left out")
    folder.mkdir(parents=True, exist_ok=True)
    intents = Intents(shelf or LocalStore(folder), folder.name)
    batching = Batching(
        config, endpoint, ledger, intents=intents, budget=budget, folder=folder, task=task
    )
    try:
        asyncio.run(batching.run(questions))
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
        budget: Budget,
        folder: Path,
        task: Task,
    ) -> None:
        self._config, self._endpoint, self._ledger = config, endpoint, ledger
        self._intents, self._budget, self._folder, self._task = intents, budget, folder, task
        self._api = Api(config, endpoint)
        self._price, self._sizer = price_of(config), Sizer(config)
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
        self._looked = -math.inf
        self._started = time.monotonic()
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
                    self._askings(questions()),
                    self._folder,
                    is_open=self._is_open,
                    afford=self._afford,
                )
                while not cutter.is_done or self.num_waiting:
                    await self._step(cutter)

    async def _step(self, cutter: Cutter) -> None:
        if time.monotonic() - self._looked >= self._poll:
            await self._look()
            self._looked = time.monotonic()
        room = not (cutter.is_done or self._is_short) and self._queue.has_room(self._flights)
        if not room or not await self._send(cutter):
            await asyncio.sleep(0 if self._is_idle(cutter) else self._poll)

    def _is_idle(self, cutter: Cutter) -> bool:
        return cutter.is_done and not self.num_waiting

    # --- what is to be asked -----------------------------------------------------------------

    def _askings(self, questions: Iterator[Question]) -> Iterator[Asking]:
        for question in questions:
            if self._is_open(question) and (asking := self._prepared(question)):
                yield asking

    def _is_open(self, question: Question) -> bool:
        """Whether it is to be asked; one that is on its way is waited for."""
        key = question.key
        if key in self._ledger or key in self._given_up:
            return False
        flight = self._flight_of.get(key)
        if flight and key not in flight.stakes:
            asked = size(self._config, question.example)
            flight.stakes[key] = Stake(asked, self._budget.hold(self._usd(asked)))
        return flight is None

    def _prepared(self, question: Question) -> Asking | None:
        """With its line; None for one that cannot be sent."""
        most_mb, most_tokens = self._config.batch.max_mb, self._config.batch.queued_tokens
        try:
            asked = size(self._config, question.example)
            request = body(self._config, question, self._model)
        except RecordError as error:
            return self._fail(question.key, str(error))
        asking = Asking(question, asked, line(question.key, self._api.path, request))
        if len(asking.line) > most_mb * MEGABYTE:
            return self._fail(question.key, f"larger than distill.batch.max_mb {most_mb:g}")
        if most_tokens and asked.prompt_tokens > most_tokens:
            return self._fail(
                question.key, f"more tokens than distill.batch.queued_tokens {most_tokens}"
            )
        return asking

    def _fail(self, key: str, why: str) -> None:
        log.warning("%s: no answer: %s", key[:12], why)
        self._given_up.add(key)
        self.asked.num_failed += 1
        self._task.advance()

    def _usd(self, asked: Size) -> float:
        """What is set aside: the mean once answers have shown it, the most before."""
        sizer = self._sizer
        likely = sizer.expected(asked) if sizer.trusted else sizer.most(asked)
        return likely.cost_usd(self._price, batch=True)

    def _afford(self, asking: Asking) -> bool:
        usd = self._usd(asking.size)
        if not self._budget.fits(usd):
            return False
        self._stakes[asking.question.key] = Stake(asking.size, self._budget.reserve(usd))
        return True

    # --- sending -----------------------------------------------------------------------------

    async def _send(self, cutter: Cutter) -> bool:
        """Cut the next file and create its batch; whether there was one."""
        batch = self._config.batch
        tokens = self._queue.room(self._flights)
        limits = Limits(batch.max_requests, int(batch.max_mb * MEGABYTE), tokens)
        with self._intents.cutting():
            self._sight()
            cut = cutter.cut(limits)
            flight = self._announce(cut) if cut else None
        if cutter.unaffordable:
            self._wait_for_money(cutter.unaffordable)
        if cut is None or flight is None:
            return False
        self._queue.note(cut.prompt_tokens)
        with cut.file:
            flight.batch = await self._create(flight.intent, cut.file)
        return True

    def _wait_for_money(self, asking: Asking) -> None:
        """Batches on their way may cost less than is set aside for them; else this is the end."""
        if not self.num_waiting:
            self._budget.reserve(self._usd(asking.size))
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

    async def _create(self, intent: Intent, file: IO[bytes]) -> str | None:
        uploaded = await self._api.upload(file, intent.file_name)
        if self._intents.is_off(intent.run_key):  # we were so slow that we were taken for dead
            return self._intents.batch_of(intent.run_key)
        return await self._create_from(intent, uploaded)

    async def _create_from(self, intent: Intent, uploaded: str) -> str:
        """Create the batch of a run key that has none, and record it."""
        for _ in range(self._config.max_retries + 1):
            try:
                state = await self._api.create(uploaded, intent.run_key)
            except UnsureError as error:
                log.info("batch %s: %s; looking for it", intent.run_key[:12], error)
                found = await self._found(intent.run_key, patient=True)
                if found is None:
                    continue
                state = found
            self.asked.num_batches += 1
            return await self._record(intent, state)
        raise TeacherError(f"{self._api.address}: the Batch API creates no batch; try again later")

    async def _record(self, intent: Intent, state: State) -> str:
        recorded = self._intents.record(intent.run_key, state.id)
        if recorded != state.id:  # created twice, by two that each took the other for dead
            await self._api.cancel(state.id)
        return recorded

    async def _found(self, key: str, *, patient: bool) -> State | None:
        """The batch of a run key at the API; what was just created shows a little later."""
        found = None if patient else await self._api.find(key)
        if found is None:
            await asyncio.sleep(2 * self._poll)
            found = await self._api.find(key)
        return found

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
        self._tell()

    async def _adopted(self, flight: Flight) -> str | None:
        """The batch of an intent that this run has not created itself."""
        key, intent = flight.intent.run_key, flight.intent
        recorded = self._intents.batch_of(key)
        if recorded is None and intent.owner.is_dead():
            with self._intents.cutting():
                recorded = self._intents.batch_of(key) or await self._taken_over(flight)
        self.asked.num_adopted += recorded is not None
        return recorded

    async def _taken_over(self, flight: Flight) -> str | None:
        """Go on where the owner of an intent died: after the batch, the file or neither."""
        intent = flight.intent
        if found := await self._found(intent.run_key, patient=False):
            return await self._record(intent, found)
        if uploaded := await self._api.find_file(intent.file_name, intent.num_bytes):
            return await self._create_from(intent, uploaded)
        self._intents.end(intent.run_key, "nothing was sent")
        self._land(flight, is_try=False)
        return None

    async def _follow(self, flight: Flight, batch: str) -> None:
        """Look at one batch, and bring in its answers if it has ended."""
        try:
            state = flight.state = await self._api.look(batch)
        except GoneError:
            self._end(flight, "the API knows it no more")
            return
        self._show(flight, state.num_completed)
        if state.status == "failed":
            await self._refused(flight, state)
        elif state.has_ended:
            await self._take(flight, state)

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
                self._budget.release(stake.usd)
                self._fail(row.key, said)
            return
        response = self._endpoint.clean(row.response)
        self._ledger.record(row.key, Entry(response, by=self._api.address, batch=True))
        self._settle(flight, row.key, Reply.of(response))

    def _settle(self, flight: Flight, key: str, reply: Reply) -> None:
        stake = flight.stakes.pop(key, None)
        if stake is None:
            return
        if self._budget.limit_usd is not None and not (reply.prompt_tokens or reply.error):
            raise TeacherError(
                f"{self._api.address}: reports no token counts, so that distill.budget_usd cannot "
                "be kept; remove the budget to go on without one"
            )
        self._budget.settle(stake.usd, reply.cost_usd(self._price, batch=True))
        self._sizer.learn(stake.size, reply)
        self._count(reply)
        flight.num_shown -= 1
        if flight.num_shown < 0:
            flight.num_shown = 0
            self._task.advance()

    def _count(self, reply: Reply) -> None:
        self.asked.num_asked += 1
        self.asked.num_unanswerable += bool(reply.error)
        self.asked.prompt_tokens += reply.prompt_tokens
        self.asked.completion_tokens += reply.completion_tokens

    def _end(self, flight: Flight, why: str) -> None:
        self._intents.end(flight.intent.run_key, why)
        self._queue.clear()
        self._land(flight, is_try=True)

    def _land(self, flight: Flight, *, is_try: bool) -> None:
        """Forget a batch; what it left without an answer is asked again, or given up."""
        del self._flights[flight.intent.run_key]
        for key in flight.intent.keys:
            del self._flight_of[key]
        self._is_short = False
        for key, stake in flight.stakes.items():
            if entry := self._ledger.get(key):  # another run has taken it
                cost = Reply.of(entry.response).cost_usd(self._price, batch=entry.batch)
                self._budget.settle(stake.usd, cost)
                continue
            self._budget.release(stake.usd)
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
            self._queue.refuse(self._flights, said)
        elif state.code in rows.OUT_OF_MONEY:
            raise TeacherError(unpaid(self._api.address, said))
        elif state.code not in PASSING and flight.stakes:
            raise TeacherError(
                f"{self._api.address}: the Batch API does not take batch {state.id} ({said}); "
                f"{_way_out(state.code)}"
            )

    # --- telling -----------------------------------------------------------------------------

    def _show(self, flight: Flight, num_completed: int) -> None:
        """Count what the API says is done; of a batch that others want too, our share at most."""
        done = min(num_completed, len(flight.stakes))
        if done > flight.num_shown:
            self._task.advance(done - flight.num_shown)
            flight.num_shown = done

    def _tell(self) -> None:
        """Say how far the batches are."""
        flights = [flight for flight in self._flights.values() if flight.stakes]
        states = [flight.state for flight in flights if flight.state]
        ends = [state.expires_at for state in states if state.expires_at]
        num_answered = sum(state.num_completed for state in states)
        num_questions = sum(len(flight.intent.keys) for flight in flights)
        told = self._budget.told()
        self._task.note(
            f"{len(flights)} batches under way, {num_answered} of {num_questions} answered, "
            f"{_hours(time.monotonic() - self._started)} waited"
            + (f", {_hours(min(ends) - time.time())} left for the first" if ends else "")
            + (f", {told}" if told else "")
        )


class Queue:
    """How much may wait at the API: what the configuration says, or what the API has refused."""

    def __init__(self, config: DistillSection) -> None:
        self._limit, self._poll = config.batch.queued_tokens, config.batch.poll_seconds
        self._largest = 0
        self._is_careful = False
        self._num_lonely = 0
        self._rest_until = -math.inf

    def note(self, prompt_tokens: int) -> None:
        """A batch of so many tokens was cut."""
        self._largest = max(self._largest, prompt_tokens)

    def room(self, flights: dict[str, Flight]) -> int | None:
        """Tokens that fit; None: nobody knows."""
        if self._limit is None:
            return None
        return self._limit - sum(f.intent.prompt_tokens for f in flights.values())

    def has_room(self, flights: dict[str, Flight]) -> bool:
        """Whether to send now. Half a batch is not worth a file: rather wait for more room.

        After a refusal one batch at a time has to be taken before the next one is sent.
        """
        room = self.room(flights)
        if room is not None and room < max(1, self._largest / 2):
            return False
        if time.monotonic() < self._rest_until:
            return False
        return not (self._is_careful and any(map(_is_untried, flights.values())))

    def refuse(self, flights: dict[str, Flight], said: str) -> None:
        """The API had no room: wait until one of `flights` has ended, or for longer and longer.

        Raises:
            TeacherError: none of ours is in the queue, and still there is no room.
        """
        self._is_careful = True
        if any(flight.batch for flight in flights.values()):
            self._rest_until = math.inf
            return
        self._num_lonely += 1
        if self._num_lonely > LONELY_REFUSALS:
            raise TeacherError(
                f"the account's queue has no room although no batch of ours is in it ({said}); set "
                "distill.batch.queued_tokens to half of the limit, or wait for the account's "
                "other batches"
            )
        rest = min(LONGEST_REST_SECONDS, self._poll * 2**self._num_lonely)
        log.info("batches: no room in the account's queue (%s); trying again in %.0f s", said, rest)
        self._rest_until = time.monotonic() + rest

    def clear(self) -> None:
        """A batch has ended: there is room."""
        self._num_lonely = 0
        self._rest_until = -math.inf


def _is_untried(flight: Flight) -> bool:
    """Whether the API has not yet said that it takes this batch."""
    return flight.state is None or flight.state.status == "validating"


def _way_out(code: str) -> str:
    if "large" in code or "size" in code:
        return "lower distill.batch.max_mb"
    if "request" in code and ("many" in code or "limit" in code):
        return "lower distill.batch.max_requests"
    if "model" in code:
        return "name a model in distill.teacher_model that the Batch API has"
    return "mend what it names, or write distill.mode: sync"


def _hours(seconds: float) -> str:
    minutes = max(0, round(seconds / 60))
    return f"{minutes // 60}:{minutes % 60:02d} h"
