"""Hours of asking in a second: an event loop whose clock jumps, and a teacher without a network.

The code under test is the real one, from the dispatcher to the ledger's interface; what it would
send over the network is answered by `Wire`, which keeps the mock teacher's accounts.
"""

import asyncio
import random
import selectors
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from chainsight.config import DistillSection
from chainsight.demo.teacher.behaviour import Limits
from chainsight.demo.teacher.limits import Account
from chainsight.demo.teacher.wire import Problem
from chainsight.records import Example
from chainsight.teacher import asking
from chainsight.teacher.asked import Asked
from chainsight.teacher.client import Answer
from chainsight.teacher.cost import Budget
from chainsight.teacher.endpoint import NO_KEY, Endpoint
from chainsight.teacher.headers import retry_after
from chainsight.teacher.ledger import Entry
from chainsight.teacher.request import Question, first
from chainsight.teacher.troubles import Kind, Trouble


class _Jumping(selectors.DefaultSelector):
    """Waits by moving the clock."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise AssertionError("everything waits and nothing will ever happen")
        self.now += max(0.0, timeout)
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.jumping = _Jumping()
        super().__init__(self.jumping)
        self.set_default_executor(Inline())

    def time(self) -> float:
        return self.jumping.now


class Inline(ThreadPoolExecutor):
    """Does the work at once, in the caller's thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """As `asyncio.run`, in no time."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(work)


def now() -> float:
    return asyncio.get_running_loop().time()


@dataclass
class Usual:
    """What a request is to the teacher, and what may go wrong with it."""

    prompt_tokens: int = 1015
    completion_tokens: int = 150
    max_tokens: int = 1024
    latency: float = 4.0
    spread: float = 0.4
    failed: float = 0.0
    hung: float = 0.0


@dataclass
class Wire:
    """A place: its account, its work and its bill."""

    account: Account
    counted: Callable[[Usual], float] = lambda usual: usual.prompt_tokens + usual.max_tokens
    usual: Usual = field(default_factory=Usual)
    address: str = "virtual"
    others: Callable[[float], float] = lambda _now: 0.0
    """Tokens a second that others take from the account."""
    slots: float = float("inf")
    """Requests that are worked on at once; more of them wait for their turn."""
    fates: Counter[str] = field(default_factory=Counter)
    tokens: float = 0.0
    """Charged to the account, ours."""
    sent: list[float] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    closed: bool = False
    _random: random.Random = field(default_factory=lambda: random.Random(0))
    _last: float = 0.0

    async def send(self, body: bytes, seconds: float) -> Answer | Trouble:
        self.sent.append(now())
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            async with asyncio.timeout(seconds):
                return await self._answer()
        except TimeoutError:
            self.fates["silent"] += 1
            return Trouble("silent", "cut")
        finally:
            self.in_flight -= 1

    async def _answer(self) -> Answer | Trouble:
        amount = self.counted(self.usual)
        self._take_for_others()
        try:
            headers = self.account.admit("m", amount)
        except Problem as problem:
            self.fates["limited"] += 1
            await asyncio.sleep(0.1)
            pause = retry_after(problem.headers, None)  # type: ignore[arg-type]
            return Trouble("limited", "429", pause_seconds=pause, headers=problem.headers)
        self.tokens += amount
        if kind := self._fault():
            await asyncio.sleep(0.5 if kind == "failed" else 1e6)
            self.fates[kind] += 1
            return Trouble(kind, kind, headers=headers)
        await asyncio.sleep(self._latency())
        self.fates["answered"] += 1
        return Answer(self._completion(), headers)

    def _take_for_others(self) -> None:
        bucket, passed = self.account.tokens, now() - self._last
        self._last = now()
        if bucket:
            bucket.level = max(0.0, bucket.fill() - passed * self.others(now()))

    def _fault(self) -> Kind | None:
        draw = self._random.random()
        if draw < self.usual.failed:
            return "failed"
        return "silent" if draw < self.usual.failed + self.usual.hung else None

    def _latency(self) -> float:
        usual = self.usual
        seconds = usual.latency * self._random.lognormvariate(0, usual.spread)
        return seconds * max(1.0, self.in_flight / self.slots)

    def _completion(self) -> dict[str, Any]:
        message = {"role": "assistant", "content": "So.\n\n### Answer: 4"}
        usage = {
            "prompt_tokens": self.usual.prompt_tokens,
            "completion_tokens": self.usual.completion_tokens,
        }
        return {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}

    async def close(self) -> None:
        self.closed = True


class Memory:
    """A ledger that forgets nothing until the test ends."""

    where = "memory"

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def record(self, key: str, entry: Entry) -> None:
        assert key not in self.entries
        self.entries[key] = entry


class Tally:
    """A task that counts."""

    def __init__(self) -> None:
        self.count = 0
        self.notes: list[str] = []

    def advance(self, count: int = 1) -> None:
        self.count += count

    def note(self, text: str) -> None:
        self.notes.append(text)


@dataclass
class Outcome:
    """What a simulation came to."""

    asked: Asked
    wires: list[Wire]
    ledger: Memory
    task: Tally
    seconds: float

    @property
    def share(self) -> float:
        """Of the tokens that the accounts allowed, a full bucket at the start among them."""
        allowed = 1e-9 + sum(
            wire.account.tokens.capacity + wire.account.tokens.per_second * self.seconds
            for wire in self.wires
            if wire.account.tokens
        )
        return sum(wire.tokens for wire in self.wires) / allowed

    @property
    def limited_rate(self) -> float:
        return sum(wire.fates["limited"] for wire in self.wires) / self.asked.num_sent


def simulate(
    limits: list[Limits], example: Example, num_questions: int, *, seed: int = 0, **settings: Any
) -> Outcome:
    """Ask so many questions of places with these limits; more of `Wire` as lists in `wires`."""
    wire_settings = settings.pop("wire", {})
    config = DistillSection(**{"concurrency": 128, **settings})

    async def go() -> Outcome:
        wires = [
            Wire(Account(one, now), address=f"place {i}", **wire_settings)
            for i, one in enumerate(limits)
        ]
        endpoints = tuple(
            Endpoint(
                "virtual",
                str(i),
                NO_KEY,
                config.teacher_model,
                requests_per_minute=config.requests_per_minute,
                tokens_per_minute=config.tokens_per_minute,
            )
            for i in range(len(wires))
        )
        ledger, task = Memory(), Tally()
        work = asking.Asking(
            config,
            endpoints,
            ledger=ledger,  # type: ignore[arg-type]
            budget=Budget(config.budget_usd, num_questions),
            total=num_questions,
            task=task,
            connect=lambda _, endpoint: wires[int(endpoint.base_url or 0)],
            chance=random.Random(seed),
        )
        asked = await work.run(questions(config, example, num_questions))
        return Outcome(asked, wires, ledger, task, now())

    outcome: Outcome = run(go())
    return outcome


def questions(config: DistillSection, example: Example, number: int) -> Iterator[Question]:
    return (Question(str(i), example, first(config)) for i in range(number))
