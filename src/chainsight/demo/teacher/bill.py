"""What a real teacher would have charged, counted on arrival: a killed caller still pays."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

MILLION = 1_000_000


@dataclass(frozen=True)
class Event:
    """One request's fate, for benchmarks."""

    seconds: float
    """Since the first request."""
    fate: str
    """An HTTP status, or the name of a fault."""
    digest: str
    counted: int = 0
    """Tokens taken out of the account's bucket; 0 for refusals."""
    billed: int = 0
    """Prompt and completion tokens."""
    ended: float | None = None
    """When the whole answer had left, since the first request."""


@dataclass
class Bill:
    """Counts of one server; read it at any time."""

    path: Path | None = None
    usd_per_million: tuple[float, float] = (0.0, 0.0)
    num_requests: int = 0
    """That arrived, whatever became of them."""
    num_billed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    times: Counter[str] = field(default_factory=Counter)
    """How often each request was billed, by the sha256 of its body (of a batch's row: of the
    body as the openai client would have sent it)."""
    rows: Counter[str] = field(default_factory=Counter)
    """How often each row of a batch was billed, by custom_id."""
    fates: Counter[str] = field(default_factory=Counter)
    """How many requests ended with each HTTP status or fault."""
    in_flight: int = 0
    most_in_flight: int = 0
    events: list[Event] = field(default_factory=list)
    _start: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def now(self) -> float:
        """Seconds since the first call."""
        with self._lock:
            self._start = time.monotonic() if self._start is None else self._start
        return time.monotonic() - self._start

    def charge(
        self, digest: str, prompt_tokens: int, completion_tokens: int, share: float = 1.0
    ) -> None:
        """Bill one answer, at a share of the price."""
        prices = self.usd_per_million
        with self._lock:
            self.num_billed += 1
            self.prompt_tokens += prompt_tokens
            self.completion_tokens += completion_tokens
            cost = prompt_tokens * prices[0] + completion_tokens * prices[1]
            self.usd += share * cost / MILLION
            self.times[digest] += 1
            if self.path:
                with self.path.open("a", encoding="ascii") as file:
                    file.write(f"{digest}\n")

    def note(self, event: Event) -> Callable[[], None]:
        """Count a request's fate; call the result when its answer has left."""
        self.fates[event.fate] += 1
        number = len(self.events)
        self.events.append(event)

        def delivered() -> None:
            self.events[number] = replace(event, ended=self.now())

        return delivered

    @property
    def num_twice(self) -> int:
        """Answers billed beyond the first of their request."""
        return self.num_billed - len(self.times)

    def summary(self) -> dict[str, Any]:
        """For GET /bill."""
        named = (
            "num_requests", "num_billed", "num_twice", "prompt_tokens", "completion_tokens",
            "usd", "most_in_flight", "in_flight",
        )  # fmt: skip
        counts = {"times": self.times, "rows": self.rows, "fates": self.fates}
        return {name: getattr(self, name) for name in named} | {
            name: dict(counter) for name, counter in counts.items()
        }
