from collections.abc import Callable
from typing import Any

import openai
import pytest

from chainsight.demo import teacher
from chainsight.demo.teacher.limits import Account, Bucket, counted, duration
from chainsight.demo.teacher.reading import Asked
from chainsight.demo.teacher.wire import Problem

Make = Callable[..., Any]
ASKED = Asked(
    "m", "p", (), prompt_tokens=900, max_tokens=500, choices=1, temperature=0.0, seed=None
)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_refills_all_the_time_and_never_above_its_capacity() -> None:
    clock = Clock()
    bucket = Bucket(capacity=60.0, per_second=2.0, clock=clock)
    bucket.level -= 50.0
    assert bucket.seconds_until(30.0) == 10.0
    clock.now += 5.0
    assert bucket.fill() == 20.0
    clock.now += 1000.0
    assert bucket.fill() == 60.0


def test_what_is_left_and_when_it_is_full_again_stand_in_the_headers() -> None:
    clock = Clock()
    account = Account(teacher.Limits(600, 60_000), clock)
    headers = account.admit("m", 21_000)
    assert headers == {
        "x-ratelimit-limit-requests": "600",
        "x-ratelimit-remaining-requests": "599",
        "x-ratelimit-reset-requests": "100ms",
        "x-ratelimit-limit-tokens": "60000",
        "x-ratelimit-remaining-tokens": "39000",
        "x-ratelimit-reset-tokens": "21s",
    }
    assert Account(teacher.Limits(600, 60_000, shown=False), clock).admit("m", 21_000) == {}


def test_a_refusal_says_how_long_and_still_counts_as_a_request() -> None:
    clock = Clock()
    account = Account(teacher.Limits(600, 60_000), clock)
    account.admit("m", 60_000)
    with pytest.raises(
        Problem, match=r"Used 60000, Requested 1500\. Please try .* 1\.5s"
    ) as caught:
        account.admit("m", 1_500)
    assert caught.value.headers["retry-after"] == "2"
    assert caught.value.headers["retry-after-ms"] == "1500"
    assert caught.value.headers["x-ratelimit-remaining-requests"] == "598"
    assert caught.value.body["error"]["type"] == "tokens"
    clock.now += 1.5
    account.admit("m", 1_500)
    with pytest.raises(Problem, match="Request too large"):
        account.admit("m", 60_001)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.012, "12ms"), (1.5, "1.5s"), (360, "6m0s"), (3723, "1h2m3s"), (3600, "1h0m0s")],
)
def test_durations_are_written_as_go_does(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("rule", "tokens"), [("max", 900), ("sum", 1400), ("used", 950)])
def test_tokens_count_by_one_of_three_rules(rule: Any, tokens: int) -> None:
    assert counted(ASKED, 50, teacher.Limits(counted=rule)) == tokens


def test_max_tokens_count_once_for_every_choice() -> None:
    twice = Asked("m", "p", (), 900, max_tokens=500, choices=2, temperature=1.0, seed=None)
    assert counted(twice, 50, teacher.Limits(counted="max")) == 1000
    assert counted(twice, 50, teacher.Limits(counted="sum")) == 1900


def test_a_served_limit_refuses_in_openais_words(question: Make, client: Make) -> None:
    with teacher.serve(limits=teacher.Limits(tokens_per_minute=1200)) as handle:
        caller = client(handle)
        raw = caller.chat.completions.with_raw_response.create(**question(0, max_tokens=1000))
        assert 200 <= int(raw.headers["x-ratelimit-remaining-tokens"]) < 210
        with pytest.raises(openai.RateLimitError) as caught:
            caller.chat.completions.create(**question(1, max_tokens=1000))
        assert caught.value.code == "rate_limit_exceeded"
        assert float(caught.value.response.headers["retry-after-ms"]) > 30_000
        with pytest.raises(openai.BadRequestError) as bad:
            caller.chat.completions.create(model="m", messages=[])
        assert bad.value.response.headers["x-ratelimit-limit-tokens"] == "1200"
    assert handle.bill.fates == {"200": 1, "429": 1, "400": 1}
    assert handle.bill.num_billed == 1


def test_every_account_has_its_own_limit_and_no_other_key_may_ask(
    question: Make, client: Make, statuses: Make
) -> None:
    accounts = {"sk-a": teacher.Limits(requests_per_minute=2), "sk-b": teacher.Limits()}
    with teacher.serve(accounts=accounts) as handle:
        asked = [question(number) for number in range(3)]
        assert statuses(client(handle, "sk-a"), asked) == [200, 200, 429]
        assert statuses(client(handle, "sk-b"), asked) == [200, 200, 200]
        assert statuses(client(handle, "sk-c"), asked[:1]) == [401]
