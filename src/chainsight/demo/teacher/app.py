"""The scripted teacher's addresses: who may ask, what is billed, what goes wrong."""

import asyncio
import dataclasses
import hashlib
import math
import random
import re
from collections import Counter
from dataclasses import replace

from chainsight.demo.teacher.answering import draw, respond
from chainsight.demo.teacher.batches import Batches
from chainsight.demo.teacher.bill import Event
from chainsight.demo.teacher.desk import Desk
from chainsight.demo.teacher.limits import counted, rest
from chainsight.demo.teacher.reading import MODEL, parse
from chainsight.demo.teacher.wire import Answer, Problem, Request, Route, reply

STATUSES = {
    "http_429": (429, "rate limit reached", "rate_limit_exceeded"),
    "http_500": (500, "the server had an error", "server_error"),
    "http_503": (503, "the engine is currently overloaded", "overloaded"),
}
"""Of the faults that are an HTTP error: status, message, code."""
NOT_BILLED = (*STATUSES, "reset")


class Teacher:
    """What a server does with a request."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.bill = desk, desk.bill
        self._tries: Counter[str] = Counter()
        self._failed: set[str] = set()
        self._burst = 0
        self._routes: list[Route] = [
            ("GET", re.compile("/health"), self._health),
            ("GET", re.compile("/bill(/events)?"), self._show_bill),
            ("GET", re.compile("/v1/models"), self._models),
            # OpenAI's address, or Azure's with the deployment.
            ("POST", re.compile("/(?:v1|openai/deployments/[^/]+)/chat/completions"), self._chat),
            *Batches(desk).routes(),
        ]

    async def __call__(self, request: Request) -> Answer:
        """Answer, whatever is asked."""
        try:
            for method, path, route in self._routes:
                if method == request.method and (found := path.fullmatch(request.path)):
                    return await route(request, "".join(part or "" for part in found.groups()))
            raise Problem(404, f"no such address: {request.path}")
        except Problem as problem:
            return problem.answer()

    async def _health(self, request: Request, part: str) -> Answer:  # noqa: ARG002
        return reply({"status": "ok"})

    async def _models(self, request: Request, part: str) -> Answer:  # noqa: ARG002
        return reply({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    async def _show_bill(self, request: Request, part: str) -> Answer:  # noqa: ARG002
        if part:
            return reply([dataclasses.asdict(event) for event in self.bill.events])
        return reply(self.bill.summary())

    # --- chat completions --------------------------------------------------------------------

    async def _chat(self, request: Request, part: str) -> Answer:  # noqa: ARG002
        bill, arrived = self.bill, self.bill.now()
        bill.num_requests += 1
        bill.in_flight += 1
        bill.most_in_flight = max(bill.most_in_flight, bill.in_flight)
        digest = hashlib.sha256(request.body).hexdigest()
        try:
            return await self._complete(request, Event(arrived, "200", digest))
        except Problem as problem:
            bill.note(Event(arrived, str(problem.status), digest))
            raise
        finally:
            bill.in_flight -= 1

    async def _complete(self, request: Request, event: Event) -> Answer:
        account, digest = self.desk.account_of(self.desk.key_of(request)), event.digest
        asked = parse(request.body, account.headers())
        attempt = self._tries[digest]
        self._tries[digest] += 1
        self._fail_first(digest)
        fault = self._fault(digest, attempt)
        response = respond(asked, self.desk.behaviour, digest, self.bill.times[digest])
        cost = counted(asked, response.completion_tokens, account.limits)
        headers = account.admit(asked.model, cost) | {"x-request-id": f"{digest[:16]}-{attempt}"}
        if fault in STATUSES:
            raise self._refusal(fault, headers)
        event = replace(event, fate=fault or "200", counted=cost)
        if fault not in NOT_BILLED:
            event = replace(event, billed=response.prompt_tokens + response.completion_tokens)
            self.bill.charge(digest, response.prompt_tokens, response.completion_tokens)
        delivered = self.bill.note(event)
        await asyncio.sleep(self._wait(digest, attempt))
        return replace(
            reply(response.body, 200, headers),
            fault=fault,
            drip_seconds=self.desk.behaviour.faults.drip_seconds,
            delivered=delivered,
        )

    def _fail_first(self, digest: str) -> None:
        """Fail the first try of some requests."""
        rng = random.Random(f"{self.desk.behaviour.seed}/admit/{digest}")
        if rng.random() < self.desk.behaviour.fail_rate and digest not in self._failed:
            self._failed.add(digest)
            if rng.random() < 0.5:
                raise Problem(429, "rate limit reached", headers={"Retry-After": "0"})
            raise Problem(500, "the server had an error")

    def _fault(self, digest: str, attempt: int) -> str:
        """What goes wrong with this try, "" for nothing."""
        faults = self.desk.behaviour.faults
        self._burst += 1
        if self._burst > faults.burst_every > 0:
            if self._burst <= faults.burst_every + faults.burst_length:
                return "http_429"
            self._burst = 1
        return draw(faults, f"{self.desk.behaviour.seed}/fault/{digest}/{attempt}")

    def _refusal(self, fault: str, headers: dict[str, str]) -> Problem:
        status, message, code = STATUSES[fault]
        if status == 429:
            headers = headers | rest(self.desk.behaviour.faults.retry_after_ms / 1000)
        return Problem(status, message, code=code, headers=headers)

    def _wait(self, digest: str, attempt: int) -> float:
        """Seconds until the answer, drawn around the median."""
        behaviour = self.desk.behaviour
        rng = random.Random(f"{behaviour.seed}/wait/{digest}/{attempt}")
        seconds = behaviour.latency_seconds * math.exp(rng.gauss(0, behaviour.latency_spread))
        return seconds * (behaviour.slow_factor if rng.random() < behaviour.slow_rate else 1.0)
