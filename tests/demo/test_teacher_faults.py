import asyncio
import json
import socket
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest

from chainsight import answers
from chainsight.demo import teacher
from chainsight.demo.teacher.answering import draw
from chainsight.demo.teacher.app import NOT_BILLED, STATUSES, Teacher

Make = Callable[..., Any]


@pytest.mark.parametrize("fault", ["reset", "broken", "hang", "silence", "truncated", "garbage"])
def test_every_fault_leaves_the_caller_without_an_answer(
    fault: str, question: Make, client: Make
) -> None:
    with teacher.serve(faults=teacher.Faults(**{fault: 1.0})) as handle:
        with pytest.raises((openai.APIConnectionError, ValueError, AttributeError, TypeError)):
            assert client(handle, seconds=0.5).chat.completions.create(**question()).choices[0]
        handle.change(faults=teacher.Faults())
        assert client(handle).chat.completions.create(**question()).choices
    assert handle.bill.fates == {fault: 1, "200": 1}
    assert handle.bill.num_billed == (1 if fault in NOT_BILLED else 2)
    whole = [event for event in handle.bill.events if event.ended is not None]
    assert [event.fate for event in whole] == ["200"]


@pytest.mark.parametrize("fault", STATUSES)
def test_http_errors_are_not_billed(fault: str, question: Make, client: Make) -> None:
    with teacher.serve(faults=teacher.Faults(**{fault: 1.0})) as handle:
        with pytest.raises(openai.APIStatusError) as caught:
            client(handle).chat.completions.create(**question())
        assert caught.value.status_code == int(fault.removeprefix("http_"))
        assert ("retry-after-ms" in caught.value.response.headers) == (fault == "http_429")
    assert handle.bill.num_billed == 0


def test_a_dripping_answer_is_whole_in_the_end(question: Make, client: Make) -> None:
    with teacher.serve(faults=teacher.Faults(drip=1.0, drip_seconds=1e-5)) as handle:
        assert client(handle).chat.completions.create(**question()).choices[0].message.content


def test_faults_are_drawn_by_rate_and_anew_for_each_try() -> None:
    faults = teacher.Faults(http_500=0.1, hang=0.05, drip=0.1)
    drawn = Counter(draw(faults, f"{number}") for number in range(2000))
    assert 150 < drawn["http_500"] < 250
    assert 60 < drawn["hang"] < 140
    assert set(drawn) == {"http_500", "hang", "drip", ""}


def test_a_burst_refuses_some_in_a_row(question: Make, client: Make, statuses: Make) -> None:
    with teacher.serve(faults=teacher.Faults(burst_every=3, burst_length=2)) as handle:
        found = statuses(client(handle), [question(number) for number in range(10)])
    assert found == [200, 200, 200, 429, 429] * 2


def test_five_hundred_requests_wait_at_once(question: Make) -> None:
    async def ask_all() -> None:
        async with openai.AsyncOpenAI(api_key="k", base_url=handle.url, max_retries=0) as caller:
            asked = [caller.chat.completions.create(**question(n % 40)) for n in range(500)]
            waiting = asyncio.gather(*asked)
            while handle.bill.in_flight < 500:
                await asyncio.sleep(0.01)
            waiting.cancel()

    with teacher.serve(latency_seconds=300.0) as handle:
        asyncio.run(ask_all())
    assert handle.bill.most_in_flight == 500


def test_latency_is_drawn_around_its_median() -> None:
    with teacher.serve(latency_seconds=4.0, latency_spread=0.4, slow_rate=0.1) as handle:
        app = Teacher(handle.desk)
        waits = sorted(app._wait(f"{number}", 0) for number in range(1000))
    assert 3.7 < waits[500] < 4.6
    assert 2.0 < waits[100] < 3.0
    assert waits[-50] > 30.0


def test_a_killed_caller_still_pays(question: Make, tmp_path: Path) -> None:
    with teacher.serve(latency_seconds=60.0, bills=tmp_path / "bills") as handle:
        body = json.dumps(question()).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
        url = urlsplit(handle.url)
        with socket.create_connection((url.hostname, url.port)) as line:
            line.sendall(head.encode() + body)
            while not handle.bill.num_billed:
                time.sleep(0.01)
    assert len((tmp_path / "bills").read_text().split()) == 1
    assert handle.bill.usd > 0


# --- odd answers -----------------------------------------------------------------------------


def odd(handle: teacher.Handle, client: Make, request: dict[str, Any], **rates: float) -> Any:
    handle.change(oddities=teacher.Oddities(**rates))
    return client(handle).chat.completions.create(**request)


def test_answers_are_odd_as_they_are_in_life(question: Make, client: Make) -> None:
    with teacher.serve(error_rate=0.0) as handle:
        plain = odd(handle, client, question()).choices[0].message.content
        answer = answers.extract(plain).value
        refused = odd(handle, client, question(), refusal=1.0).choices[0].message
        assert (refused.content, bool(refused.refusal)) == (None, True)
        cut = odd(handle, client, question(), content_filter=1.0).choices[0]
        assert cut.finish_reason == "content_filter"
        assert odd(handle, client, question(), length=1.0).choices[0].finish_reason == "length"
        first = odd(handle, client, question(), answer_first=1.0).choices[0].message.content
        assert first.startswith(answer)
        assert first.endswith(plain)
        again = odd(handle, client, question(), repetitive=1.0).choices[0].message.content
        assert again.count(plain[:20]) == 12
        long = odd(handle, client, question(), long=1.0).choices[0].message.content
        assert len(long.split()) > 2000
        assert odd(handle, client, question(), no_usage=1.0).usage is None
        assert {answers.extract(text).value for text in (first, again, long)} == {answer}


def test_an_offending_prompt_is_refused_in_openais_or_azures_words(
    question: Make, client: Make
) -> None:
    codes = []
    with teacher.serve(oddities=teacher.Oddities(policy=1.0)) as handle:
        for number in range(8):
            with pytest.raises(openai.BadRequestError) as caught:
                client(handle).chat.completions.create(**question(number))
            codes.append(caught.value.code)
    assert set(codes) == {"content_policy_violation", "content_filter"}
    assert handle.bill.num_billed == 0


def test_what_passes_max_tokens_is_cut(question: Make, client: Make) -> None:
    with teacher.serve() as handle:
        (choice,) = client(handle).chat.completions.create(**question(0, max_tokens=10)).choices
    assert choice.finish_reason == "length"
    assert len(choice.message.content.split()) == 7


def test_above_temperature_0_tries_and_choices_differ_but_not_with_a_seed(
    question: Make, client: Make
) -> None:
    def say(**parameters: Any) -> list[str]:
        asked = client(handle).chat.completions.create(**question(0, **parameters))
        return [choice.message.content for choice in asked.choices]

    with teacher.serve(error_rate=0.5) as handle:
        assert len({say()[0] for _ in range(8)}) == 1
        assert len({say(temperature=0.7)[0] for _ in range(8)}) > 1
        assert len({say(temperature=0.7, seed=3)[0] for _ in range(8)}) == 1
        assert len(say(n=4, temperature=0.7)) == 4
        assert len(set(say(n=12, temperature=0.7))) > 1
        assert len(set(say(n=12))) == 1
