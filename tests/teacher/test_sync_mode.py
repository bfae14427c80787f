"""The synchronous mode over real sockets, against the mock teacher with its faults."""

import asyncio
from typing import Any

from virtual_time import Memory, Tally

from chainsight.config import DistillSection
from chainsight.demo.teacher import Faults, Handle, Limits, Oddities, serve
from chainsight.records import Example
from chainsight.teacher.asking import Asked, Asking
from chainsight.teacher.cost import Budget
from chainsight.teacher.endpoint import NO_KEY, Endpoint
from chainsight.teacher.reply import Reply
from chainsight.teacher.request import Question, first


def ask(handle: Handle, examples: list[Example], **settings: Any) -> tuple[Asked, Memory]:
    config = DistillSection(**{"teacher": handle.url, "concurrency": 8, **settings})
    ledger = Memory()
    asking = Asking(
        config,
        (Endpoint("mock", handle.url, NO_KEY, "m"),),
        ledger=ledger,  # type: ignore[arg-type]
        budget=Budget(config.budget_usd, len(examples)),
        total=len(examples),
        task=Tally(),
        backoff_seconds=0.01,
    )
    asked = asyncio.run(asking.run(Question(e.id, e, first(config)) for e in examples))
    return asked, ledger


def test_every_fault_on_the_way_is_survived_and_what_it_may_have_cost_is_counted(
    charts: list[Example],
) -> None:
    rates = {"http_500": 0.1, "http_503": 0.05, "reset": 0.1, "broken": 0.1, "truncated": 0.1}
    with serve(faults=Faults(garbage=0.1, **rates)) as handle:
        asked, ledger = ask(handle, charts, max_retries=20)
        bill = handle.bill
    assert asked.num_asked == len(ledger) == 40
    assert asked.num_failed == 0
    assert asked.num_retried > 10
    assert bill.num_billed - 40 <= asked.num_maybe_paid
    assert asked.num_sent == bill.num_requests


def test_a_hung_connection_is_closed_and_not_used_again(charts: list[Example]) -> None:
    with serve(faults=Faults(hang=0.15)) as handle:
        asked, ledger = ask(handle, charts, timeout_seconds=0.5, max_retries=20)
        bill = handle.bill
    assert len(ledger) == 40
    assert asked.num_hung == asked.num_maybe_paid == bill.fates["hang"] > 0


def test_limits_that_the_headers_tell_are_kept(charts: list[Example]) -> None:
    limits = Limits(requests_per_minute=1200, tokens_per_minute=10_000_000, burst_seconds=1.0)
    with serve(latency_seconds=0.05, limits=limits) as handle:
        asked, _ = ask(handle, charts, concurrency=32)
    assert asked.num_asked == 40
    assert asked.num_limited <= 2


def test_a_filtered_request_is_an_answer_that_costs_nothing(charts: list[Example]) -> None:
    with serve(oddities=Oddities(policy=0.2)) as handle:
        asked, ledger = ask(handle, charts)
        requests = handle.bill.num_requests
    replies = [Reply.of(entry.response) for entry in ledger.entries.values()]
    filtered = [reply for reply in replies if reply.finish_reason == "content_filter"]
    assert (asked.num_asked, asked.num_failed) == (40, 0)
    assert asked.num_unanswerable == len(filtered) > 0
    assert all(reply.refusal and not reply.prompt_tokens for reply in filtered)
    assert requests == 40
