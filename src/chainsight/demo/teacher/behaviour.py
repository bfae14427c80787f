"""How the scripted teacher treats its callers: every setting, all off unless asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Counted = Literal["max", "sum", "used"]
"""How a request counts against the tokens per minute, on arrival:

`max`: the larger of `n` times `max_tokens` and the prompt (OpenAI's guide on rate limits: "the
maximum of max_tokens and the estimated number of tokens based on the character count");
`sum`: prompt and `n` times `max_tokens` (Azure's guide on quotas, and what callers of OpenAI
report of `x-ratelimit-remaining-tokens`);
`used`: prompt and completion, as billed (gateways before open models).
"""


@dataclass(frozen=True)
class Limits:
    """What one account may ask. Buckets refill continuously and hold `burst_seconds` worth."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    counted: Counted = "max"
    burst_seconds: float = 60.0
    """What a rested account may ask at once: OpenAI's headers start from a whole minute."""
    shown: bool = True
    """Answers carry `x-ratelimit-*` and refusals `retry-after`; False: as vLLM, neither."""
    queued_tokens: int | None = None
    """Prompt tokens that may wait in unfinished batches."""


@dataclass(frozen=True)
class Faults:
    """Shares of requests that go wrong on the way; drawn anew for each try.

    Not billed: 429, 500, 503, `reset`. Billed, as the teacher worked: all others.
    """

    http_429: float = 0.0
    """Refused although within the limits, with `retry-after-ms`."""
    http_500: float = 0.0
    http_503: float = 0.0
    reset: float = 0.0
    """The connection breaks before an answer."""
    broken: float = 0.0
    """The connection breaks in the middle of the answer."""
    hang: float = 0.0
    """Never an answer, the connection stays open."""
    silence: float = 0.0
    """Headers, then nothing more."""
    truncated: float = 0.0
    """Status 200 and half a JSON document, whole by its Content-Length."""
    garbage: float = 0.0
    """Status 200 and a proxy's HTML page."""
    drip: float = 0.0
    """The answer comes byte by byte, `drip_seconds` apart."""
    drip_seconds: float = 0.5
    burst_every: int = 0
    """After so many admitted requests ..."""
    burst_length: int = 0
    """... so many are answered 429."""
    retry_after_ms: int = 50
    """Rest that 429s drawn here ask for."""


@dataclass(frozen=True)
class Oddities:
    """Shares of answers that are odd; drawn with the answer, so the same at temperature 0."""

    refusal: float = 0.0
    """`message.refusal`, no content."""
    content_filter: float = 0.0
    """Cut by the filter: `finish_reason` says so."""
    policy: float = 0.0
    """HTTP 400, half of them as OpenAI's `content_policy_violation`, half as Azure's
    `content_filter` with `innererror`; not billed."""
    length: float = 0.0
    """Cut in the middle, `finish_reason` "length" (as whatever passes `max_tokens`)."""
    answer_first: float = 0.0
    """The rationale begins with the answer."""
    repetitive: float = 0.0
    """A sentence over and over before the answer."""
    long: float = 0.0
    """Two thousand words before the answer."""
    no_usage: float = 0.0
    """No `usage` in the response."""


@dataclass(frozen=True)
class Batching:
    """The Batch API."""

    seconds: float = 0.0
    """From creation to the end, a tenth of it `validating` and a tenth `finalizing`."""
    expire_rate: float = 0.0
    """Share of batches that expire instead of completing."""
    expired_rows: float = 0.5
    """Share of the rows that such a one leaves undone."""
    row_error_rate: float = 0.0
    """Share of rows that end as HTTP 500 in the error file; not billed."""
    fail_rate: float = 0.0
    """Share of batches that fail at validation."""
    list_lag_seconds: float = 0.0
    """Time until a created batch shows in the list (by id it is there at once)."""
    http_500: float = 0.0
    """Share of calls about files and batches that fail before they are heard."""
    lost_creates: int = 0
    """So many first creations are done, but the connection breaks before the answer."""
    max_requests: int = 50_000
    max_bytes: int = 200_000_000
    """Of an input file (OpenAI; 100 MB in 2024)."""
    price: float = 0.5
    """Share of the price."""


@dataclass(frozen=True)
class Behaviour:
    """How the server treats its callers."""

    error_rate: float = 0.1
    """Share of wrong answers."""
    seed: int = 0
    """Which requests get a wrong answer, a failure, how long a wait."""
    bills: Path | None = None
    """File that gets a line for each request that a real teacher would charge for."""
    fail_rate: float = 0.0
    """Share of requests whose first try ends in HTTP 429 or 500, and no other."""
    latency_seconds: float = 0.0
    """Time between a request's arrival (and billing) and its answer: the median."""
    latency_spread: float = 0.0
    """Standard deviation of the logarithm of that time; GPT-4o's is about 0.4."""
    slow_rate: float = 0.0
    """Share of answers that take `slow_factor` times as long."""
    slow_factor: float = 10.0
    required_key: str | None = None
    """Bearer token that every caller must send; None: anybody may ask."""
    limits: Limits = Limits()
    """Of all callers together, where `accounts` is empty."""
    accounts: Mapping[str, Limits] = field(default_factory=dict)
    """Limits by key; any other key is refused."""
    faults: Faults = Faults()
    oddities: Oddities = Oddities()
    batch: Batching = Batching()
    usd_per_million: tuple[float, float] = (5.0, 15.0)
    """Prompt and completion tokens (GPT-4o of May 2024, as in the paper)."""
