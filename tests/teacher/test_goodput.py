"""As fast as the account allows and never more: minutes of asking, simulated with a clock of its
own. Gated on what the accounts counted, not on how long the test took."""

import pytest
from virtual_time import Usual, Wire, simulate

from chainsight.demo.teacher.behaviour import Limits
from chainsight.records import Example

TOKENS, REQUESTS = 800_000, 10_000


def openai(tokens: int = TOKENS, **more: float) -> Limits:
    return Limits(REQUESTS, tokens, **more)  # type: ignore[arg-type]


RULES = {
    "prompt and max_tokens": lambda usual: usual.prompt_tokens + usual.max_tokens,
    "what is used": lambda usual: usual.prompt_tokens + usual.completion_tokens,
}


def larger(usual: Usual) -> float:
    return max(usual.prompt_tokens, usual.max_tokens)


def test_of_what_the_account_allows_in_five_minutes_a_twentieth_is_left(
    charts: list[Example],
) -> None:
    number = int(5 * TOKENS / larger(Usual()))
    outcome = simulate([openai()], charts[0], number, wire={"counted": larger})
    assert outcome.asked.num_asked == number == len(outcome.ledger)
    assert outcome.share >= 0.95
    assert outcome.limited_rate < 0.005


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_what_the_account_charges_is_learned(charts: list[Example], rule: object) -> None:
    number = int(2.5 * TOKENS / rule(Usual()))  # type: ignore[operator]
    outcome = simulate([openai()], charts[0], number, wire={"counted": rule})
    assert outcome.share >= 0.90  # the last answers' time weighs more in a short run
    assert outcome.limited_rate < 0.005


@pytest.mark.parametrize("burst_seconds", [1.0, 5.0])
def test_a_limit_that_is_kept_by_the_second_is_not_overrun(
    charts: list[Example], burst_seconds: float
) -> None:
    outcome = simulate([openai(burst_seconds=burst_seconds)], charts[0], 2000)
    assert outcome.share >= 0.90  # what is learned at the start weighs more in a short run
    assert outcome.limited_rate < 0.005


def test_errors_and_hangs_cost_little_of_the_speed(charts: list[Example]) -> None:
    usual = Usual(failed=0.05, hung=0.02)
    outcome = simulate([openai()], charts[0], 3000, wire={"usual": usual})
    (wire,) = outcome.wires
    assert outcome.share >= 0.90
    assert outcome.limited_rate < 0.005
    assert outcome.asked.num_asked == 3000
    assert outcome.asked.num_failed == 0
    assert outcome.asked.num_hung == outcome.asked.num_maybe_paid == wire.fates["silent"] > 20
    assert wire.fates["failed"] > 80


def test_the_first_requests_are_few_until_an_answer_tells_the_limit(charts: list[Example]) -> None:
    outcome = simulate([openai()], charts[0], 200)
    (wire,) = outcome.wires
    assert sum(at < 1.0 for at in wire.sent) == 4


def test_others_on_the_same_account_are_felt(charts: list[Example]) -> None:
    def others(now: float) -> float:
        return 6000.0 if 60 < now < 180 else 0.0  # of 13,333 a second

    outcome = simulate([openai()], charts[0], 1500, wire={"others": others})
    assert outcome.limited_rate < 0.01
    taken = 6000 * 120 / (TOKENS / 60 * outcome.seconds + TOKENS)
    assert outcome.share + taken >= 0.93


def test_requests_per_minute_are_kept_as_well(charts: list[Example]) -> None:
    outcome = simulate([Limits(300, 10_000_000)], charts[0], 1200)
    assert outcome.limited_rate < 0.005
    assert 1200 / (300 * (outcome.seconds / 60 + 1)) >= 0.9


def test_two_places_add_up(charts: list[Example]) -> None:
    outcome = simulate([openai(600_000), openai(200_000)], charts[0], 1800)
    shares = [wire.fates["answered"] / 1800 for wire in outcome.wires]
    assert outcome.share >= 0.94
    assert outcome.limited_rate < 0.005
    assert shares[0] == pytest.approx(0.75, abs=0.06)
    assert {entry.by for entry in outcome.ledger.entries.values()} == {"place 0", "place 1"}


def test_a_limit_of_the_user_is_kept_below_that_of_the_account(charts: list[Example]) -> None:
    outcome = simulate([openai()], charts[0], 800, tokens_per_minute=200_000)
    used = 800 * (1015 + 150)
    assert outcome.limited_rate == 0.0
    assert 0.75 <= used / (200_000 * outcome.seconds / 60) <= 1.1


def test_without_headers_the_limit_is_found_by_what_is_refused(charts: list[Example]) -> None:
    outcome = simulate([openai(shown=False)], charts[0], 2500)  # type: ignore[arg-type]
    assert outcome.asked.num_asked == 2500
    assert outcome.share >= 0.85
    assert outcome.limited_rate < 0.02


def test_a_server_that_only_queues_is_not_flooded(charts: list[Example]) -> None:
    outcome = simulate([Limits()], charts[0], 3000, concurrency=512, wire={"slots": 40})
    (wire,) = outcome.wires
    best = 40 / (4.0 * 1.083)  # answers a second: slots by the mean latency
    assert wire.most_in_flight < 300
    assert 3000 / outcome.seconds >= 0.8 * best
    assert outcome.asked.num_maybe_paid < 60


def test_the_same_chance_gives_the_same_run(charts: list[Example]) -> None:
    runs = [simulate([openai()], charts[0], 300, wire={"usual": Usual(failed=0.1)}) for _ in "ab"]
    assert runs[0].seconds == runs[1].seconds
    assert runs[0].wires[0].sent == runs[1].wires[0].sent


def test_the_line_is_closed(charts: list[Example]) -> None:
    wires: list[Wire] = simulate([openai()], charts[0], 10).wires
    assert all(wire.closed for wire in wires)
