"""From what the mock saw to the figures of the table. All times since the first request.

Allowed are `tokens_per_minute`, and at the start what the account's bucket held: a minute's worth.
Three shares of the allowed tokens are told:

* `whole`: what the bucket gave out from the first request until the last answer had left, of the
  limit times that time. The head start of the full bucket can bring it above 1, the end, when the
  last answers are waited for, below.
* `steady`: the same between `STEADY`, when the head start is spent and questions are left for all.
* `useful`: `whole`, but only the first whole answer to each question counts: no failures, no
  hung requests, nothing asked twice.

`wasted` is the share of the billed tokens that brought no answer or one that was there before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

STEADY = (60.0, 150.0)
"""Seconds."""


@dataclass(frozen=True)
class Figures:
    """What one side got out of its limits."""

    answers: int
    seconds: float
    whole: float
    steady: float
    useful: float
    refused: float
    """Share of the requests that were answered 429."""
    wasted: float
    most_in_flight: int


def reckon(events: Sequence[dict[str, Any]], limit: float, most_in_flight: int) -> Figures:
    """Figures of one run against a mock of `limit` tokens per minute."""
    first: dict[str, dict[str, Any]] = {}
    whole = [event for event in events if event["fate"] == "200" and event["ended"] is not None]
    for event in sorted(whole, key=lambda event: float(event["ended"])):
        first.setdefault(event["digest"], event)
    start = min(event["seconds"] for event in events)
    seconds = max(event["ended"] for event in whole) - start
    allowed = limit / 60
    window = [event for event in events if STEADY[0] <= event["seconds"] - start < STEADY[1]]
    billed = sum(event["billed"] for event in events)
    return Figures(
        answers=len(first),
        seconds=seconds,
        whole=_counted(events) / (allowed * seconds),
        steady=_counted(window) / (allowed * (STEADY[1] - STEADY[0])),
        useful=_counted(list(first.values())) / (allowed * seconds),
        refused=sum(event["fate"] == "429" for event in events) / len(events),
        wasted=1 - sum(event["billed"] for event in first.values()) / billed,
        most_in_flight=most_in_flight,
    )


def _counted(events: Sequence[dict[str, Any]]) -> float:
    return sum(event["counted"] for event in events)
