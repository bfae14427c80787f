"""Several places side by side, and what happens when one of them is down."""

import asyncio
import logging
from typing import Any

import pytest
from virtual_time import Memory, Tally

from chainsight.config import DistillSection
from chainsight.errors import TeacherError
from chainsight.records import Example
from chainsight.teacher.asking import Asked, Asking
from chainsight.teacher.client import Answer
from chainsight.teacher.cost import Budget
from chainsight.teacher.endpoint import NO_KEY, Endpoint
from chainsight.teacher.pool import Site
from chainsight.teacher.request import Question, first
from chainsight.teacher.troubles import Trouble

GOOD: Any = {
    "choices": [{"message": {"role": "assistant", "content": "So."}}],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 100},
}
EACH = 0.0065  # dollars, of the paper's teacher


class Scripted:
    """A place that says what it is told to, the last thing for ever."""

    def __init__(self, address: str, *outcomes: Answer | Trouble) -> None:
        self.address, self.outcomes, self.sent = address, list(outcomes), 0

    async def send(self, body: bytes, seconds: float) -> Answer | Trouble:
        self.sent += 1
        await asyncio.sleep(0.001)
        return self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]

    async def close(self) -> None:
        return None


def ask(
    lines: list[Scripted], examples: list[Example], **settings: Any
) -> tuple[Asked, Memory, Budget]:
    config = DistillSection(**{"concurrency": 4, **settings})
    ledger, budget = Memory(), Budget(config.budget_usd, len(examples))
    endpoints = tuple(Endpoint("e", str(i), NO_KEY, "m") for i in range(len(lines)))
    asking = Asking(
        config,
        endpoints,
        ledger=ledger,  # type: ignore[arg-type]
        budget=budget,
        total=len(examples),
        task=Tally(),
        connect=lambda _, endpoint: lines[int(endpoint.base_url or 0)],
        backoff_seconds=0.001,
    )
    asked = asyncio.run(asking.run(Question(e.id, e, first(config)) for e in examples))
    return asked, ledger, budget


FINE = Answer(GOOD)
CLOSED = Trouble("closed", "there: the account is used up")
AWAY = Trouble("unreachable", "nobody listens")


@pytest.mark.parametrize("trouble", [CLOSED, AWAY], ids=["no money", "down"])
def test_a_place_that_is_closed_is_left_out_and_the_others_go_on(
    charts: list[Example], caplog: pytest.LogCaptureFixture, trouble: Trouble
) -> None:
    caplog.set_level(logging.WARNING)
    lines = [Scripted("there", trouble), Scripted("here", FINE)]
    asked, ledger, _ = ask(lines, charts)
    assert (asked.num_asked, asked.num_failed) == (40, 0)
    assert {entry.by for entry in ledger.entries.values()} == {"here"}
    assert lines[0].sent < 20
    assert "the other places go on" in caplog.text


def test_all_places_closed_is_an_error(charts: list[Example]) -> None:
    with pytest.raises(TeacherError, match="used up"):
        ask([Scripted("there", CLOSED), Scripted("here", CLOSED)], charts)


def test_a_place_that_was_away_is_not_asked_again_at_once_but_its_question_is(
    charts: list[Example],
) -> None:
    lines = [Scripted("there", AWAY, AWAY, AWAY, AWAY, FINE), Scripted("here", FINE)]
    asked, ledger, _ = ask(lines, charts, concurrency=2)
    assert asked.num_asked == len(ledger) == 40


def test_a_requests_own_error_is_recorded_and_never_sent_again(charts: list[Example]) -> None:
    own = Trouble("own", "not an image", "invalid_image")
    line = Scripted("here", FINE, own, FINE)
    asked, ledger, budget = ask([line], charts[:5], budget_usd=1.0)
    assert (asked.num_asked, asked.num_unanswerable, asked.num_failed) == (5, 1, 0)
    assert line.sent == 5
    errors = [entry.response for entry in ledger.entries.values() if "error" in entry.response]
    assert errors == [
        {"error": {"code": "invalid_image", "message": "not an image"}, "choices": []}
    ]
    assert budget.spent_usd == pytest.approx(4 * EACH)
    assert budget.reserved_usd == 0.0


def test_what_may_have_been_paid_is_counted_and_kept_out_of_the_budget(
    charts: list[Example],
) -> None:
    silent, broken = Trouble("silent", "cut"), Trouble("broken", "reset")
    line = Scripted("here", silent, broken, Trouble("failed", "HTTP 500"), FINE)
    asked, _, budget = ask([line], charts[:5], budget_usd=1.0)
    assert (asked.num_hung, asked.num_maybe_paid, asked.num_retried) == (1, 2, 3)
    assert (budget.num_lost, budget.num_answers) == (2, 5)
    assert budget.lost_usd > 2 * EACH
    assert budget.reserved_usd == 0.0


def test_refusals_for_the_rate_use_up_no_tries(charts: list[Example]) -> None:
    limited = Trouble("limited", "HTTP 429")
    asked, _, _ = ask([Scripted("here", *[limited] * 8, FINE)], charts[:1], max_retries=0)
    assert (asked.num_asked, asked.num_limited) == (1, 8)


def test_a_question_is_given_up_after_so_much_time_whatever_the_reason(
    charts: list[Example],
) -> None:
    with pytest.raises(TeacherError, match=r"1 of 1 questions got no answer.*HTTP 429"):
        ask(
            [Scripted("here", Trouble("limited", "HTTP 429"))],
            charts[:1],
            max_retries=0,
            timeout_seconds=0.1,
        )


def test_retries_do_not_wait_for_the_end(charts: list[Example]) -> None:
    line = Scripted("here", Trouble("failed", "HTTP 500"), FINE)
    _, ledger, _ = ask([line], charts, concurrency=1)
    assert list(ledger.entries)[:3] == [example.id for example in charts[:3]]


def test_questions_are_taken_as_they_can_be_sent(charts: list[Example]) -> None:
    taken, most = [0], [0]
    line = Scripted("here", FINE)

    def counted() -> Any:
        for example in charts:
            taken[0] += 1
            most[0] = max(most[0], taken[0] - line.sent)
            yield example

    class Lazy(list[Example]):
        def __iter__(self) -> Any:
            return counted()

    ask([line], Lazy(charts), concurrency=3)
    assert taken[0] == 40
    assert most[0] <= 4


def test_a_place_whose_requests_are_cut_is_waited_for_longer() -> None:
    line = Scripted("here", FINE)
    site = Site.of(DistillSection(), Endpoint("e", "0", NO_KEY, "m"), line)
    for second in range(40):
        site.ended(FINE, site.take(10.0, 10.0, second), 3.0, second)
    assert site.patience.seconds(0) == 12.0
    for second in range(40):
        site.ended(Trouble("silent", "cut"), site.take(10.0, 10.0, second), 12.0, second)
    assert site.patience.seconds(0) > 40.0
    assert site.in_flight == 0
