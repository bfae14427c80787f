import asyncio
import base64
import io
import logging
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from PIL import Image
from virtual_time import Memory, Tally

from chainsight.config import DistillSection
from chainsight.errors import TeacherError
from chainsight.prompts import TEACHER_SYSTEM, teacher_prompt
from chainsight.records import Example
from chainsight.teacher.asking import Asking
from chainsight.teacher.cost import Budget
from chainsight.teacher.endpoint import Endpoint
from chainsight.teacher.headers import retry_after
from chainsight.teacher.request import Question, first

KEY = "sk-planted-0123456789abcdef"
GOOD: Any = {
    "choices": [{"message": {"role": "assistant", "content": "So.\n\n### Answer: 4"}}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 2},
}


def refused(message: str, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "test", "code": code}}


def ask(url: str, *examples: Example, key: str = KEY, **settings: Any) -> list[Any]:
    """Ask all examples; the responses, or the error that ended the asking."""
    config = DistillSection(teacher=url, **settings)
    ledger = Memory()

    async def go() -> list[Any]:
        asking = Asking(
            config,
            (Endpoint("test", url, key, config.teacher_model),),
            ledger=ledger,  # type: ignore[arg-type]
            budget=Budget(None),
            total=len(examples),
            task=Tally(),
            backoff_seconds=0.01,
        )
        try:
            await asking.run(Question(e.id, e, first(config)) for e in examples)
        except TeacherError as error:
            return [error]
        return [ledger.entries[example.id].response for example in examples]

    return asyncio.run(go())


def test_the_teacher_gets_prompt_and_image_and_the_raw_answer_comes_back(
    canned: Any, charts: list[Example]
) -> None:
    server = canned(lambda number, call: (200, {}, GOOD | {"extra": "kept"}))
    assert ask(server.url, charts[0], max_tokens=99, temperature=0.5, teacher_model="t-1") == [
        GOOD | {"extra": "kept"}
    ]
    (call,) = server.calls
    assert call.path == "/v1/chat/completions"
    assert call.headers["authorization"] == f"Bearer {KEY}"
    system, user = call.body.pop("messages")
    assert call.body == {"model": "t-1", "max_tokens": 99, "temperature": 0.5}
    assert system == {"role": "system", "content": TEACHER_SYSTEM}
    image, text = user["content"]
    assert text == {"type": "text", "text": teacher_prompt(charts[0])}
    encoded = base64.b64encode(charts[0].images[0]).decode()
    assert image["image_url"] == {"url": f"data:image/png;base64,{encoded}"}


def test_a_large_image_is_sent_small(
    canned: Any, charts: list[Example], picture: Callable[..., bytes]
) -> None:
    server = canned(lambda number, call: (200, {}, GOOD))
    ask(server.url, replace(charts[0], images=(picture(2000, 3000),)))
    url = server.calls[0].body["messages"][1]["content"][0]["image_url"]["url"]
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as opened:
        assert (opened.format, opened.size) == ("JPEG", (683, 1024))


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
def test_passing_troubles_are_tried_again(canned: Any, charts: list[Example], status: int) -> None:
    server = canned(
        lambda number, call: (status, {}, refused("busy")) if number < 2 else (200, {}, GOOD)
    )
    assert ask(server.url, charts[0], max_retries=2) == [GOOD]
    assert len(server.calls) == 3


def test_one_try_too_few_gives_the_question_up(canned: Any, charts: list[Example]) -> None:
    server = canned(
        lambda number, call: (500, {}, refused("busy")) if number < 2 else (200, {}, GOOD)
    )
    (error,) = ask(server.url, charts[0], max_retries=1)
    assert isinstance(error, TeacherError)
    assert "HTTP 500" in str(error)
    assert "2 tries" in str(error)
    assert len(server.calls) == 2


def test_a_refused_question_is_not_asked_again(canned: Any, charts: list[Example]) -> None:
    server = canned(lambda number, call: (400, {}, refused("image has a bad aspect")))
    (error,) = ask(server.url, charts[0])
    assert isinstance(error, TeacherError)
    assert "bad aspect" in str(error)
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    ("status", "body", "hint"),
    [
        (401, refused(f"Incorrect API key provided: {KEY}"), "set a valid key"),
        (403, refused("not allowed"), "MY_TEACHER_KEY"),
        (404, refused("model does not exist"), "'gpt-4o-2024-05-13'"),
        (402, refused("no credit"), "top it up"),
        (429, refused("quota", "insufficient_quota"), "top it up"),
    ],
)
def test_what_no_retry_mends_ends_at_once_and_names_the_way_out(
    canned: Any, charts: list[Example], status: int, body: Any, hint: str
) -> None:
    server = canned(lambda number, call: (status, {}, body))
    (error,) = ask(server.url, charts[0], api_key_env="MY_TEACHER_KEY")
    assert isinstance(error, TeacherError)
    assert str(error).startswith(server.url)
    assert hint in str(error)
    assert KEY not in str(error)
    assert len(server.calls) == 1


def test_a_rest_that_the_teacher_asks_for_is_kept_by_all(
    canned: Any, charts: list[Example]
) -> None:
    times: list[float] = []

    def react(number: int, call: Any) -> Any:
        times.append(time.monotonic())
        if number < 1:
            return 429, {"Retry-After": "0.9"}, refused("slow down")
        return 200, {}, GOOD

    assert ask(canned(react).url, *charts[:2], concurrency=1) == [GOOD, GOOD]
    assert len(times) == 3
    assert 0.9 <= times[1] - times[0] < 5.0


def test_too_long_a_rest_is_left_to_a_later_run(canned: Any, charts: list[Example]) -> None:
    server = canned(lambda number, call: (429, {"Retry-After": "601"}, refused("daily limit")))
    (error,) = ask(server.url, charts[0])
    assert isinstance(error, TeacherError)
    assert "601 s of rest" in str(error)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Wed, 01 Jan 2025 00:00:30 GMT"}, 30.0),
        ({"retry-after": "Tue, 31 Dec 2024 23:00:00 GMT"}, 0.0),
    ],
)
def test_rests_are_read_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, datetime(2025, 1, 1, tzinfo=UTC)) == seconds


def drip(connection: Any) -> None:
    connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(100):
        connection.write(b" ")
        connection.flush()
        time.sleep(0.05)


@pytest.mark.parametrize("hang", [lambda _: time.sleep(5), drip], ids=["silent", "dripping"])
def test_a_hung_connection_is_cut_and_tried_again(
    canned: Any, charts: list[Example], hang: Callable[[Any], None]
) -> None:
    server = canned(lambda number, call: (200, {}, hang if number == 0 else GOOD))
    start = time.monotonic()
    assert ask(server.url, charts[0], timeout_seconds=0.4) == [GOOD]
    assert time.monotonic() - start < 4.0


def test_a_teacher_that_always_hangs_names_the_time_limit(
    canned: Any, charts: list[Example]
) -> None:
    server = canned(lambda number, call: (200, {}, lambda _: time.sleep(0.5)))
    (error,) = ask(server.url, charts[0], timeout_seconds=0.1, max_retries=1)
    assert isinstance(error, TeacherError)
    assert "0.1 s (distill.timeout_seconds)" in str(error)


BROKEN: dict[str, Any] = {
    "no JSON": b"<html>gateway</html>",
    "cut": lambda file: file.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"),
    "closed": lambda file: None,
    "no choices": {"choices": []},
    "an error with status 200": refused("overloaded"),
    "no object": [1],
    "no message": {"choices": [{"message": None}]},
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_a_broken_answer_is_tried_again(canned: Any, charts: list[Example], body: Any) -> None:
    server = canned(lambda number, call: (200, {}, body if number == 0 else GOOD))
    assert ask(server.url, charts[0]) == [GOOD]
    assert len(server.calls) == 2


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_an_unreachable_teacher_is_given_up_after_few_quick_tries(charts: list[Example]) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    start = time.monotonic()
    (error,) = ask(url, charts[0], max_retries=20)
    assert time.monotonic() - start < 5.0
    assert isinstance(error, TeacherError)
    assert str(error).startswith(f"{url}: the teacher cannot be reached")
    assert "4 tries; start it or correct distill.teacher" in str(error)


def test_several_images_stand_where_the_question_names_them(
    canned: Any, charts: list[Example], picture: Callable[..., bytes]
) -> None:
    server = canned(lambda number, call: (200, {}, GOOD))
    example = replace(
        charts[0],
        question="Is <image 3> above <image 1>?",
        images=(*charts[0].images, picture(40, 30), picture(50, 20)),
    )
    assert ask(server.url, example) == [GOOD]
    first, before, third, between, one, after = server.calls[0].body["messages"][1]["content"]

    def sent(part: Any) -> bytes:
        return base64.b64decode(part["image_url"]["url"].partition(",")[2])

    assert [sent(part) for part in (first, third, one)] == [example.images[i] for i in (1, 2, 0)]
    assert before["text"].endswith("# Question #\nIs ")
    assert between["text"] == " above "
    assert after["text"].startswith("?\n# Answer #\n")


def test_an_image_that_cannot_be_read_is_not_sent(canned: Any, charts: list[Example]) -> None:
    server = canned(lambda number, call: (200, {}, GOOD))
    (error,) = ask(server.url, replace(charts[0], images=(b"no image",)))
    assert isinstance(error, TeacherError)
    assert not server.calls


def test_the_key_is_in_no_log_error_or_answer(
    canned: Any, charts: list[Example], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = {"choices": [{"message": {"content": f"You sent {KEY}"}}]}
    reactions: list[Any] = [
        (500, {}, refused(f"crash while using {KEY}")),
        (200, {}, f"proxy dump: Bearer {KEY}".encode()),
        (200, {}, echo),
        (400, {}, refused(f"no such thing as {KEY}")),
    ]
    server = canned(lambda number, call: reactions[number])
    answer = ask(server.url, charts[0]) + [str(e) for e in ask(server.url, charts[1])]
    assert answer[0]["choices"][0]["message"]["content"] == "You sent [key]"
    assert "no such thing as [key]" in answer[1]
    assert len(server.calls) == 4
    assert "trying again" in caplog.text
    assert KEY not in caplog.text + str(answer)


def test_a_short_key_does_not_eat_words_of_answers(canned: Any, charts: list[Example]) -> None:
    server = canned(lambda number, call: (200, {}, GOOD))
    assert ask(server.url, charts[0], key="Answer") == [GOOD]
