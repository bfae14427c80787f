"""The teacher: what is asked for free, what the one question is, and what it costs."""

import asyncio
import base64
import io
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from chainsight.config import DistillSection
from chainsight.doctor.check import Check
from chainsight.doctor.teacher import question, teacher
from chainsight.records import Example
from chainsight.teacher.client import Teacher
from chainsight.teacher.endpoint import Endpoint
from chainsight.teacher.request import Question, first, payload

Serve = Callable[[dict[str, Any]], Any]
KEY = "sk-a-key-that-nobody-may-see"
COMPLETION = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Grey"}}],
    "usage": {"prompt_tokens": 100, "completion_tokens": 1},
}


def look(url: str, *, spend: bool = False, where: Any = "here", **settings: Any) -> Check:
    config = DistillSection(teacher=f"{url}/v1", teacher_model="m", **settings)
    (check,) = teacher(config, where, spend, {"OPENAI_API_KEY": KEY})
    return check


def test_the_list_of_models_is_free_and_tells_the_key_and_the_model(serve: Serve) -> None:
    server = serve({"GET /v1/models": (200, {"data": [{"id": "m"}, {"id": "n"}]})})
    assert look(server.url).level == "ok"
    ((asked, headers, _),) = server.seen
    assert asked == "GET /v1/models"
    assert headers["Authorization"] == f"Bearer {KEY}"


def test_a_model_that_is_not_listed_is_told_with_those_that_are(serve: Serve) -> None:
    check = look(serve({"GET /v1/models": (200, {"data": [{"id": "n"}]})}).url)
    assert check.level == "fail"
    assert "has no model 'm'; it lists n" in check.finding
    assert "--spend" in check.way_out


def test_a_teacher_that_lists_nothing_is_to_be_asked(serve: Serve) -> None:
    check = look(serve({}).url)
    assert check.level == "warn"
    assert "--spend" in check.way_out


@pytest.mark.parametrize("spend", [False, True])
def test_a_refused_key_is_told_without_the_key(serve: Serve, spend: bool) -> None:
    refusal = (401, {"error": {"message": f"incorrect API key provided: {KEY}"}})
    server = serve({"GET /v1/models": refusal, "POST /v1/chat/completions": refusal})
    check = look(server.url, spend=spend)
    assert check.level == "fail"
    assert "refuses the key in OPENAI_API_KEY" in check.finding
    assert "[key]" in check.finding
    assert KEY not in check.finding + check.way_out


def test_the_one_question_has_a_picture_and_asks_for_one_token(serve: Serve) -> None:
    server = serve({"POST /v1/chat/completions": (200, COMPLETION)})
    check = look(server.url, spend=True, price={"prompt": 5, "completion": 15})
    assert check.level == "ok"
    assert "(100 + 1 tokens, at list price $0.0005)" in check.finding
    ((_, _, body),) = server.seen
    assert (body["max_tokens"], body["model"]) == (1, "m")
    url = body["messages"][0]["content"][0]["image_url"]["url"]
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as picture:
        assert min(picture.size) >= 28  # what some vision models take at least


def test_the_question_has_the_parameters_that_distill_sends(
    serve: Serve, png: Callable[..., bytes]
) -> None:
    """So that a parameter which a teacher refuses is refused here, before anything is spent."""
    server = serve({"POST /v1/chat/completions": (200, COMPLETION)})
    config = DistillSection(teacher=f"{server.url}/v1", teacher_model="m")
    example = Example(
        id="a", dataset="bars", split="train", question="?", references=("1",),
        metric="exact_match", images=(png(),), choices=None, meta={},
    )  # fmt: skip

    async def ask() -> None:
        asked = Teacher(config, Endpoint("m", config.teacher, KEY))
        await asked.send(payload(config, Question("", example, first(config)), "m"), 10.0)
        await asked.close()

    asyncio.run(ask())
    ((_, _, body),) = server.seen
    assert set(question(config)) == set(body)
    assert {part["type"] for part in body["messages"][-1]["content"]} == {"image_url", "text"}


def test_a_busy_teacher_is_asked_twice_and_then_a_warning(serve: Serve) -> None:
    server = serve({"POST /v1/chat/completions": (429, {"error": {"message": "slow down"}})})
    check = look(server.url, spend=True)
    assert (check.level, len(server.seen)) == ("warn", 2)
    assert "is busy (slow down)" in check.finding


def test_a_teacher_that_stumbles_once_is_well(serve: Serve) -> None:
    answers = iter([(503, {"error": "overloaded"}), (200, COMPLETION)])
    server = serve({"POST /v1/chat/completions": lambda body: next(answers)})
    assert look(server.url, spend=True).level == "ok"


def test_an_answer_that_is_no_completion_is_told(serve: Serve) -> None:
    server = serve({"POST /v1/chat/completions": (200, b"<html>hello</html>")})
    check = look(server.url, spend=True)
    assert check.level == "fail"
    assert "not a chat completion ('<html>hello</html>')" in check.finding


def test_the_scripted_teacher_published_rationales_and_a_broken_url_ask_nobody() -> None:
    for name in ("scripted", "published"):
        (free,) = teacher(DistillSection(teacher=name), "pod", True, {})
        assert free.level == "ok"
    (broken,) = teacher(DistillSection(teacher="http://:80/v1"), "pod", True, {})
    assert (broken.level, "correct distill.teacher" in broken.way_out) == ("fail", True)


def test_an_endpoint_of_ones_own_needs_no_key(serve: Serve) -> None:
    server = serve({"GET /v1/models": (200, {"data": [{"id": "m"}]})})
    config = DistillSection(teacher=f"{server.url}/v1", teacher_model="m")
    (check,) = teacher(config, "pod", False, {})
    assert check.level == "ok"
