"""One bucket at the server and our copy of it, step by step."""

import pytest

from chainsight.teacher.headers import KINDS, Told, told_of
from chainsight.teacher.limits import Limits, Meter

PER_SECOND = 1000.0
MINUTE = 60 * PER_SECOND


class Server:
    """A bucket of a minute, full at first, that charges `factor` of what we predict."""

    def __init__(self, factor: float = 1.0) -> None:
        self.level, self.seen, self.factor = MINUTE, 0.0, factor

    def admit(self, amount: float, now: float) -> Told:
        self.level = min(MINUTE, self.level + (now - self.seen) * PER_SECOND)
        self.seen = now
        self.level -= amount * self.factor
        return Told(MINUTE, self.level, (MINUTE - self.level) / PER_SECOND)


def converse(
    meter: Meter, server: Server, seconds: float, *, each: float = 500.0, delay: float = 2.0
) -> float:
    """Ask as fast as the meter lets us, each answer `delay` seconds late; when it ended."""
    now, late = 0.0, []
    while now < seconds:
        while late and late[0][0] <= now:
            at, told, mark = late.pop(0)
            meter.told(told, mark, at)
        if meter.wait(now) == 0.0 and (meter.limit or len(late) < 3):
            mark = meter.take(each, 2 * each, now)
            late.append((now + delay, server.admit(each, now), mark))
        now += 0.05
    return now


def test_nothing_is_held_back_until_a_limit_is_told() -> None:
    limits = Limits(None, None)
    for _ in range(100):
        limits.take(1e6, 1e6, 0.0)
    assert limits.wait(0.0) == 0.0
    assert not limits.known


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.9])
def test_what_is_charged_is_learned_and_the_copy_is_right(factor: float) -> None:
    meter, server = Meter(), Server(factor)
    now = converse(meter, server, 120.0)
    assert meter.scale == pytest.approx(factor, rel=0.02)
    assert meter.level(now) == pytest.approx(server.level, abs=0.02 * MINUTE)
    assert server.level > 0


def test_a_charge_that_grows_is_followed() -> None:
    meter, server = Meter(), Server(1.0)
    converse(meter, server, 60.0)
    server.factor, server.seen, server.level = 1.8, 0.0, MINUTE
    later = Meter()
    later.scale = meter.scale
    converse(later, server, 120.0)
    assert later.scale == pytest.approx(1.8, rel=0.05)


def test_before_a_charge_is_known_the_most_is_assumed() -> None:
    meter = Meter()
    meter.take(500.0, 1500.0, 0.0)
    assert meter.scale == 3.0


def test_a_full_bucket_is_used_up_and_a_little_stays_in_it() -> None:
    meter, server = Meter(), Server()
    converse(meter, server, 150.0)
    assert 0.03 * MINUTE < server.level < 0.08 * MINUTE


def test_the_emptier_the_bucket_the_slower_and_never_quite_still() -> None:
    meter = Meter()
    mark = meter.take(1.0, 1.0, 0.0)
    rates = []
    for remaining in (MINUTE, 0.5 * MINUTE, 0.05 * MINUTE, 0.0):
        meter = Meter()
        meter.told(Told(MINUTE, remaining, None), mark, 0.0)
        rates.append(meter.rate(0.0))
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 2 * PER_SECOND
    assert rates[2] == pytest.approx(PER_SECOND, rel=1e-3)
    assert rates[3] >= 0.1 * PER_SECOND


def test_what_others_take_makes_us_slower() -> None:
    meter, server = Meter(), Server()
    now = converse(meter, server, 100.0)
    before = meter.rate(now)
    server.level -= 0.04 * MINUTE
    mark = meter.take(500.0, 500.0, now)
    for _ in range(5):
        meter.told(server.admit(0.0, now), mark, now)
    assert meter.rate(now) < 0.95 * before


def test_a_refused_request_is_put_back() -> None:
    meter = Meter(MINUTE)
    level = meter.level(0.0)
    mark = meter.take(500.0, 500.0, 0.0)
    assert meter.level(0.0) == level - 500.0
    meter.give_back(mark)
    assert meter.level(0.0) == level


def test_refused_requests_do_not_make_the_others_look_cheaper() -> None:
    meter, server = Meter(), Server()
    now = converse(meter, server, 60.0)
    for _ in range(60):
        refused = meter.give_back(meter.take(500.0, 500.0, now))
        meter.told(server.admit(0.0, now), refused, now)
        mark = meter.take(500.0, 500.0, now)
        meter.told(server.admit(500.0, now), mark, now)
        now += 1.0
    assert meter.scale == pytest.approx(1.0, rel=0.05)


def test_a_small_bucket_is_seen_by_how_soon_it_is_full() -> None:
    meter = Meter()
    mark = meter.take(100.0, 100.0, 0.0)
    meter.told(Told(MINUTE, 900.0, 0.1), mark, 0.0)
    assert meter.level(100.0) == pytest.approx(1000.0)
    assert meter.rate(100.0) < 3 * PER_SECOND


@pytest.mark.parametrize("start", [0.0, 1e6])
def test_the_users_limit_is_kept_evenly_from_the_start(start: float) -> None:
    limits = Limits(60, None)
    sent, now = 0, start
    while now < start + 30.0:
        if limits.wait(now) == 0.0:
            limits.take(1.0, 1.0, now)
            sent += 1
        now += 0.05
    assert 26 <= sent <= 34


def test_a_refusal_without_headers_makes_the_users_limit_count_for_more() -> None:
    limits = Limits(None, 60_000)
    (before,) = [limits.per_second(500.0, 0.0)]
    limits.refused()
    after = limits.per_second(500.0, 0.0)
    assert before is not None
    assert after is not None
    assert after < 0.9 * before


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({}, None),
        ({"x-ratelimit-limit-tokens": "0"}, None),
        ({"x-ratelimit-limit-tokens": "-1"}, None),
        ({"x-ratelimit-limit-tokens": "many"}, None),
        ({"x-ratelimit-limit-tokens": "9"}, Told(9.0, None, None)),
        (
            {
                "x-ratelimit-limit-tokens": "800000",
                "x-ratelimit-remaining-tokens": "799000",
                "x-ratelimit-reset-tokens": "75ms",
            },
            Told(800000.0, 799000.0, 0.075),
        ),
        (
            {"x-ratelimit-limit-tokens": "9", "x-ratelimit-reset-tokens": "1h2m3.5s"},
            Told(9.0, None, 3723.5),
        ),
        (
            {"x-ratelimit-limit-tokens": "9", "x-ratelimit-reset-tokens": "1792000000"},
            Told(9.0, None, None),
        ),
    ],
)
def test_headers_are_read_as_openai_writes_them(headers: dict[str, str], told: Told | None) -> None:
    assert told_of("tokens", headers) == told
    assert KINDS == ("requests", "tokens")
