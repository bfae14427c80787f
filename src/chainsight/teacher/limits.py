"""How fast a place may be asked: its requests and tokens per minute, as its answers tell them.

The account is a bucket at the server that refills all the time. `Meter` keeps a copy of it: it
takes out what is sent, and is put right by `x-ratelimit-remaining-*`. What a request really takes
out (OpenAI counts `max_tokens`, gateways count what was used, others ask on the same account) is
no rule here but learned: `scale`, what is charged per token that we predict.

Requests go out evenly: at the rate of the refill, faster while the bucket is full and slower when
it is nearly empty, so that it comes to rest a little above empty and a request is rarely refused.

Nothing here knows a clock: `now` is in seconds, from anywhere.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from chainsight.teacher.headers import KINDS, Kind, Told, told_of

MARGIN = 0.05
"""Of the bucket that is left in it, against what is not yet known of others and of charges."""
MARGIN_REQUESTS, MOST_MARGIN = 3, 0.4
"""A small bucket leaves room for a few requests."""
SPARE_SECONDS = 20.0
"""In which a full bucket is used up, and an empty one filled to the margin (ours)."""
SLOWEST = 0.1
"""Of the refill, that is sent however empty the bucket seems."""
GAIN = 0.3
"""Of a difference to what is told, that is believed at once: it is told by many answers."""
LESSON_SECONDS, LESSON_REQUESTS = 3.0, 10
"""Between two looks at what requests are charged, at least."""
NEARLY_FULL = 0.98
"""A bucket that runs over tells nothing of what was taken out."""
RETURNED = 1000
ROUNDING = 1e-4
"""Of a bucket: times and counts in headers are rounded."""
LEAST_SCALE, MOST_SCALE = 0.1, 10.0
REFUSED_FACTOR = 1.15
"""Without headers: what is charged seems so much more after a refusal ..."""
FORGET = 0.98
"""... and so much less after every `FORGET_AFTER` requests without one."""
FORGET_AFTER = 50


@dataclass(frozen=True)
class Mark:
    """When a request was sent, in the books of a meter."""

    at: float
    amount: float
    """Predicted."""
    taken: float
    """Sum of all that was predicted so far, this request's among it."""


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
        self._next = self._taken = 0.0
        self._seen: float | None = None
        self._num_taken = 0
        self._newest = -math.inf
        self._is_taught = False
        self._returned: deque[Mark] = deque(maxlen=RETURNED)
        """Requests that took nothing out after all, the last ones."""
        self._charged = 0.0
        """What one request is charged, about."""
        self._anchor: tuple[Mark, float, int] | None = None
        """A request, what remained after it, and how many had been sent until it was answered."""

    def level(self, now: float) -> float:
        """What is left in the bucket."""
        seen = now if self._seen is None else self._seen
        refill = (now - seen) * (self.limit or 0.0) / 60
        self._level = min(self._capacity, self._level + max(0.0, refill))
        self._seen = max(now, seen)
        return self._level

    def rate(self, now: float) -> float:
        """What may be sent per second: the refill, more of a full bucket, less of an empty one."""
        assert self.limit is not None
        refill = self.limit / 60
        margin = max(MARGIN, min(MOST_MARGIN, MARGIN_REQUESTS * self._charged / self._capacity))
        spare = self.level(now) - margin * self._capacity
        horizon = min(SPARE_SECONDS, max(1.0, self._capacity / refill / 3))
        return max(SLOWEST * refill, refill + spare / horizon)

    def wait(self, now: float) -> float:
        """Seconds until the next request may go."""
        return max(0.0, self._next - now) if self.limit else 0.0

    def take(self, amount: float, most: float, now: float) -> Mark:
        """Send a request that is predicted to take `amount`, `most` at most."""
        if self.scale is None:
            self.scale = most / amount
        self._charged = charged = amount * self.scale
        if self.limit:
            self._next = max(self._next, now) + charged / self.rate(now)
        self._level = self.level(now) - charged
        self._taken += amount
        self._num_taken += 1
        if self.is_ours and self._num_taken % FORGET_AFTER == 0:
            self.scale = max(1.0, self.scale * FORGET)
        return Mark(now, amount, self._taken)

    def give_back(self, mark: Mark) -> Mark:
        """The request was refused or never arrived: it took nothing out."""
        self._level += mark.amount * (self.scale or 1.0)
        self._returned.append(mark)
        return Mark(mark.at, 0.0, mark.taken - mark.amount)

    def refused(self) -> None:
        """A request was refused for its rate, and nothing tells why: more is charged than seems."""
        if self.is_ours and self.scale:
            self.scale *= REFUSED_FACTOR

    def told(self, told: Told, mark: Mark, now: float) -> None:
        """Put the copy right by an answer to the request of `mark`.

        What remains is what the server saw when the request came in; what was sent since then has
        been taken out, too. (If it looks when it answers instead, as much has been refilled.)
        """
        is_first, self.limit = not self._capacity, told.limit
        self._capacity = _capacity(told)
        if told.remaining is None or mark.at < self._newest:
            return
        self._newest = mark.at
        self._learn(mark, told.remaining)
        self._bound(mark, told.remaining)
        sent = self._sent_between(mark.taken, self._taken)
        since = sent * (self.scale or 1.0)
        right = told.remaining + (now - mark.at) * told.limit / 60 - since
        missed = min(right, self._capacity) - self.level(now)
        self._level += missed if is_first else GAIN * missed

    def _sent_between(self, start: float, end: float) -> float:
        """What was predicted of the requests between two sums, less those that took nothing."""
        back = (mark.amount for mark in self._returned if start < mark.taken <= end)
        return end - start - sum(back)

    def _bound(self, mark: Mark, remaining: float) -> None:
        """No request was charged more than what is missing from a full bucket after it."""
        missing = self._capacity - remaining
        if mark.amount and missing > ROUNDING * self._capacity and self.scale:
            self.scale = min(self.scale, max(LEAST_SCALE, missing / mark.amount))

    def _learn(self, mark: Mark, remaining: float) -> None:
        """What is charged: what went out of the bucket since an earlier request was sent."""
        if self._anchor is None or remaining > NEARLY_FULL * self._capacity:
            self._anchor = (mark, remaining, self._num_taken)
            return
        since, before, num_taken = self._anchor
        seconds = mark.at - since.at
        if seconds < LESSON_SECONDS or self._num_taken - num_taken < LESSON_REQUESTS:
            return
        assert self.limit is not None
        self._anchor = (mark, remaining, self._num_taken)
        sent = self._sent_between(since.taken, mark.taken)
        if before > NEARLY_FULL * self._capacity or sent <= 0:
            return
        charged = before + seconds * self.limit / 60 - remaining
        scale = min(max(charged / sent, LEAST_SCALE), MOST_SCALE)
        known = self.scale if self._is_taught and self.scale else scale
        self.scale = known + GAIN * (scale - known)
        self._is_taught = True


def _capacity(told: Told) -> float:
    """What the bucket holds: a minute's worth, or less where a full one is nearer."""
    if told.reset_seconds is None or told.remaining is None:
        return told.limit
    return min(told.limit, told.remaining + told.reset_seconds * told.limit / 60)


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
