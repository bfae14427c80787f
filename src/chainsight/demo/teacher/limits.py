"""Requests and tokens per minute as OpenAI enforces them: buckets that refill all the time."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from chainsight.demo.teacher.behaviour import Limits
from chainsight.demo.teacher.reading import Asked
from chainsight.demo.teacher.wire import Problem

Clock = Callable[[], float]
PLACE = "organization org-scripted"


@dataclass
class Bucket:
    """Holds at most `capacity`, gains `per_second`."""

    capacity: float
    per_second: float
    clock: Clock
    level: float = field(init=False)
    seen: float = field(init=False)

    def __post_init__(self) -> None:
        self.level, self.seen = self.capacity, self.clock()

    def fill(self) -> float:
        """What is in it now."""
        now = self.clock()
        self.level = min(self.capacity, self.level + (now - self.seen) * self.per_second)
        self.seen = now
        return self.level

    def seconds_until(self, amount: float) -> float:
        """How long until it holds `amount`."""
        return max(0.0, amount - self.fill()) / self.per_second


class Account:
    """The buckets of one key."""

    def __init__(self, limits: Limits, clock: Clock = time.monotonic) -> None:
        self.limits = limits
        self.requests = _bucket(limits.requests_per_minute, limits.burst_seconds, clock)
        self.tokens = _bucket(limits.tokens_per_minute, limits.burst_seconds, clock)

    def admit(self, model: str, tokens: float) -> dict[str, str]:
        """Take one request and its tokens out; the headers that say what is left.

        A request that is refused for its tokens still counts as a request, as at OpenAI.

        Raises:
            Problem: HTTP 429, with the headers.
        """
        for kind, bucket, amount in (
            ("requests", self.requests, 1.0),
            ("tokens", self.tokens, tokens),
        ):
            if bucket and bucket.fill() < amount:
                raise self._refusal(model, kind, bucket, amount)
            if bucket:
                bucket.level -= amount
        return self.headers()

    def headers(self) -> dict[str, str]:
        """`x-ratelimit-*` as they stand."""
        shown: dict[str, str] = {}
        for kind, bucket, limit in (
            ("requests", self.requests, self.limits.requests_per_minute),
            ("tokens", self.tokens, self.limits.tokens_per_minute),
        ):
            if bucket and limit and self.limits.shown:
                left = max(0, math.floor(bucket.fill()))
                shown |= {
                    f"x-ratelimit-limit-{kind}": f"{limit:.0f}",
                    f"x-ratelimit-remaining-{kind}": str(left),
                    f"x-ratelimit-reset-{kind}": duration(bucket.seconds_until(bucket.capacity)),
                }
        return shown

    def _refusal(self, model: str, kind: str, bucket: Bucket, amount: float) -> Problem:
        unit = {"requests": "requests per min (RPM)", "tokens": "tokens per min (TPM)"}[kind]
        limit, used = bucket.per_second * 60, bucket.capacity - bucket.level
        about = f"for {model} in {PLACE} on {unit}: Limit {limit:.0f}, "
        if amount > bucket.capacity:
            message = f"Request too large {about}Requested {amount:.0f}. It must be reduced."
            return Problem(429, message, code="rate_limit_exceeded", kind=kind)
        seconds = bucket.seconds_until(amount)
        message = (
            f"Rate limit reached {about}Used {used:.0f}, Requested {amount:.0f}. "
            f"Please try again in {duration(seconds)}."
        )
        headers = self.headers() | (rest(seconds) if self.limits.shown else {})
        return Problem(429, message, code="rate_limit_exceeded", kind=kind, headers=headers)


def _bucket(per_minute: float | None, burst_seconds: float, clock: Clock) -> Bucket | None:
    if per_minute is None:
        return None
    return Bucket(per_minute / 60 * burst_seconds, per_minute / 60, clock)


def counted(asked: Asked, completion_tokens: int, limits: Limits) -> int:
    """Tokens that a request takes out of the bucket (`behaviour.Counted`)."""
    if limits.counted == "used":
        return asked.prompt_tokens + completion_tokens
    wanted = (asked.max_tokens or 0) * asked.choices
    if limits.counted == "sum":
        return asked.prompt_tokens + wanted
    return max(asked.prompt_tokens, wanted)


def rest(seconds: float) -> dict[str, str]:
    """The headers that ask for a rest: whole seconds, and milliseconds."""
    return {
        "retry-after": str(math.ceil(seconds)),
        "retry-after-ms": str(math.ceil(seconds * 1000)),
    }


def duration(seconds: float) -> str:
    """As Go writes it, which OpenAI sends: 12ms, 1.5s, 6m0s, 1h2m3s."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest_seconds = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    parts = (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "")
    return f"{parts}{round(rest_seconds, 3):g}s"
