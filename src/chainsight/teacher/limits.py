"""How fast a place may be asked: its requests and tokens per minute, as its answers tell them.

The account is a bucket at the server that refills all the time. `Meter` keeps a copy of it: it
takes out what is sent, and is put right by `x-ratelimit-remaining-*`. What a request really takes
out (OpenAI counts `max_tokens`, gateways count what was used, others ask on the same account) is
no rule here but learned: `scale`, what is charged per token that we predict.

Requests go out evenly: at the rate of the refill, faster while the bucket is full and slower when
it is nearly empty, so that it comes to rest a little above empty and a request is rarely refused.

Nothing here knows a clock: `now` is in seconds, from anywhere.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["requests", "tokens"]
KINDS: tuple[Kind, ...] = ("requests", "tokens")

MARGIN = 0.05
"""Of the bucket that is left in it, against what is not yet known of others and of charges."""
SPARE_SECONDS = 20.0
"""In which a full bucket is used up, and an empty one filled to the margin (ours)."""
SLOWEST = 0.1
"""Of the refill, that is sent however empty the bucket seems."""
LESSON = 10
"""Answers between two corrections of what a request is charged."""
LARGEST_LESSON = 2.0
REFUSED_FACTOR = 1.15
"""Without headers: what is charged seems so much more after a refusal ..."""
FORGET = 0.98
"""... and so much less after every `FORGET_AFTER` requests without one."""
FORGET_AFTER = 50
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Mark:
    """How a meter stood when a request was sent."""

    amount: float
    """Predicted."""
    level: float
    """After it was taken out, as was known then."""
    corrected: float


@dataclass(frozen=True)
class Told:
    """What an answer's headers say of one limit."""

    limit: float
    """A minute."""
    remaining: float | None
    reset_seconds: float | None
    """Until the bucket is full."""


class Meter:
    """A copy of one bucket at the server.

    With a `ceiling` (per minute, the user's) the bucket is our own: headers don't change it, but
    refusals do where no headers tell more. Without one it lets everything pass until it is told.
    """

    def __init__(self, ceiling: float | None = None) -> None:
        self.is_ours = ceiling is not None
        self.limit = ceiling
        """A minute; None: not known."""
        self.scale: float | None = 1.0 if self.is_ours else None
        """Charged per predicted; None: not known, what is predicted at most is assumed."""
        self._capacity = ceiling or 0.0
        self._level = MARGIN * self._capacity
        self._seen = self._next = 0.0
        self._started = self._known = self.is_ours
        self._corrected = 0.0
        self._sum_missed = self._sum_taken = 0.0
        self._num_told = self._num_taken = 0

    def level(self, now: float) -> float:
        """What is left in the bucket."""
        refill = (now - self._seen) * (self.limit or 0.0) / 60
        self._level = min(self._capacity, self._level + max(0.0, refill))
        self._seen = max(now, self._seen)
        return self._level

    def rate(self, now: float) -> float:
        """What may be sent per second: the refill, more of a full bucket, less of an empty one."""
        assert self.limit is not None
        refill = self.limit / 60
        spare = self.level(now) - MARGIN * self._capacity
        horizon = min(SPARE_SECONDS, max(1.0, self._capacity / refill / 3))
        return max(SLOWEST * refill, refill + spare / horizon)

    def wait(self, now: float) -> float:
        """Seconds until the next request may go."""
        return max(0.0, self._next - now) if self.limit else 0.0

    def take(self, amount: float, most: float, now: float) -> Mark:
        """Send a request that is predicted to take `amount`, `most` at most."""
        if self.scale is None:
            self.scale = most / amount
        charged = amount * self.scale
        if self.limit:
            self._next = max(self._next, now) + charged / self.rate(now)
        self._level = self.level(now) - charged
        self._sum_taken += amount
        self._num_taken += 1
        if self.is_ours and self._num_taken % FORGET_AFTER == 0:
            self.scale = max(1.0, self.scale * FORGET)
        return Mark(amount, self._level, self._corrected)

    def give_back(self, mark: Mark) -> Mark:
        """The request was refused or never arrived: it took nothing out."""
        charged = mark.amount * (self.scale or 1.0)
        self._level += charged
        self._sum_taken -= mark.amount
        return Mark(0.0, mark.level + charged, mark.corrected)

    def refused(self) -> None:
        """A request was refused for its rate, and nothing tells why: more is charged than seems."""
        if self.is_ours and self.scale:
            self.scale *= REFUSED_FACTOR

    def told(self, told: Told, mark: Mark, now: float) -> None:
        """Put the copy right by an answer to the request of `mark`."""
        self.limit, self._known = told.limit, True
        if told.remaining is None:
            self._capacity = self._capacity or told.limit
            return
        self._capacity = self._capacity_by(told)
        level = self.level(now)
        if not self._started:  # what was sent since then may not be in it
            self._started, self._seen = True, now
            self._level = told.remaining - max(0.0, mark.level - level)
            self._sum_missed = self._sum_taken = 0.0
            return
        # The server looked at some moment between sending and answer: any level of then is right.
        then = mark.level + self._corrected - mark.corrected
        low, high = min(then, level), max(then, level)
        missed = told.remaining - min(max(told.remaining, low), high)
        self._level += missed
        self._corrected += missed
        self._learn(missed)

    def _capacity_by(self, told: Told) -> float:
        if told.reset_seconds is None or told.remaining is None:
            return told.limit
        full = told.remaining + told.reset_seconds * told.limit / 60
        return min(told.limit, max(full, told.remaining))

    def _learn(self, missed: float) -> None:
        """What had to be put right again and again was charged for what was sent meanwhile."""
        self._sum_missed += missed
        self._num_told += 1
        if self._num_told < LESSON or self._sum_taken <= 0 or not self.scale:
            return
        scale = self.scale - self._sum_missed / self._sum_taken
        self.scale = min(max(scale, self.scale / LARGEST_LESSON), self.scale * LARGEST_LESSON)
        self._sum_missed = self._sum_taken = 0.0
        self._num_told = 0


@dataclass(frozen=True)
class Ticket:
    """A request that was sent, in the books of every meter."""

    marks: tuple[Mark, ...]


class Limits:
    """All limits of one place: the user's, and the server's as it tells them."""

    def __init__(self, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        self._server: dict[Kind, Meter] = {kind: Meter() for kind in KINDS}
        ours = {"requests": requests_per_minute, "tokens": tokens_per_minute}
        self._meters: list[tuple[Kind, Meter]] = [
            *self._server.items(),
            *((kind, Meter(ours[kind])) for kind in KINDS if ours[kind]),
        ]

    @property
    def told(self) -> bool:
        """Whether the server tells its limits."""
        return any(meter.limit for meter in self._server.values())

    @property
    def known(self) -> bool:
        """Whether there is any limit to go by."""
        return any(meter.limit for _, meter in self._meters)

    @property
    def tokens_per_minute(self) -> float | None:
        """What is allowed; None: not known."""
        return min(
            (m.limit for kind, m in self._meters if kind == "tokens" and m.limit), default=None
        )

    def per_second(self, tokens: float, now: float) -> float | None:
        """Requests of so many predicted tokens that may be sent a second now; None: any number."""
        rates = [
            meter.rate(now) / ((meter.scale or 1.0) * (tokens if kind == "tokens" else 1.0))
            for kind, meter in self._meters
            if meter.limit
        ]
        return min(rates, default=None)

    def wait(self, now: float) -> float:
        """Seconds until the next request may be sent."""
        return max(meter.wait(now) for _, meter in self._meters)

    def take(self, tokens: float, most_tokens: float, now: float) -> Ticket:
        """Send a request of so many predicted tokens."""
        return Ticket(
            tuple(
                meter.take(tokens, most_tokens, now)
                if kind == "tokens"
                else meter.take(1.0, 1.0, now)
                for kind, meter in self._meters
            )
        )

    def give_back(self, ticket: Ticket) -> Ticket:
        """The request took nothing out."""
        pairs = zip(self._meters, ticket.marks, strict=True)
        return Ticket(tuple(meter.give_back(mark) for (_, meter), mark in pairs))

    def refused(self) -> None:
        """A request was answered 429."""
        if not self.told:
            for _, meter in self._meters:
                meter.refused()

    def read(self, headers: Mapping[str, str], ticket: Ticket, now: float) -> None:
        """Learn from the headers of the answer to the request of `ticket`."""
        for (kind, meter), mark in zip(self._meters, ticket.marks, strict=True):
            found = None if meter.is_ours else told_of(kind, headers)
            if found:
                meter.told(found, mark, now)


def told_of(kind: Kind, headers: Mapping[str, str]) -> Told | None:
    """What OpenAI's headers, which Azure and gateways send too, say of a limit; None: nothing."""
    limit = _number(headers.get(f"x-ratelimit-limit-{kind}"))
    if not limit:
        return None
    return Told(
        limit,
        _number(headers.get(f"x-ratelimit-remaining-{kind}")),
        _duration(headers.get(f"x-ratelimit-reset-{kind}", "")),
    )


def _number(text: str | None) -> float | None:
    """A count; some gateways send -1 for "no limit"."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def _duration(text: str) -> float | None:
    """Seconds of Go's `6m0s`, `1.5s`, `12ms`; a bare number may be anything, and is nothing."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * SECONDS[unit] for number, unit in parts)
