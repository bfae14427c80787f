"""What an answer's headers say: of the limits per minute, and of a rest that is asked for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

Kind = Literal["requests", "tokens"]
KINDS: tuple[Kind, ...] = ("requests", "tokens")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Told:
    """What an answer's headers say of one limit."""

    limit: float
    """A minute."""
    remaining: float | None
    reset_seconds: float | None
    """Until the bucket is full."""


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


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds of rest that the teacher asks for: `retry-after-ms`, seconds, or an HTTP date."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[name]) * scale)
        except (KeyError, ValueError):
            continue
    try:
        until = parsedate_to_datetime(headers["retry-after"])
    except (KeyError, ValueError):
        return None
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - now).total_seconds())
