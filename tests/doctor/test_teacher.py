"""The teacher: what is asked for free, what the one question is, and what it costs."""

import asyncio
import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from chainsight.config import DistillSection
from chainsight.doctor import web
from chainsight.doctor.check import Check
from chainsight.doctor.teacher import teacher
from chainsight.doctor.teacher_api import question
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
    assert "refuses the key in the environment variable OPENAI_API_KEY" in check.finding
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
    assert set(question(config, "m")) == set(body)
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
    assert broken.level == "fail"
    assert "not a base URL" in broken.finding


def test_an_endpoint_of_ones_own_needs_no_key(serve: Serve) -> None:
    server = serve({"GET /v1/models": (200, {"data": [{"id": "m"}]})})
    config = DistillSection(teacher=f"{server.url}/v1", teacher_model="m")
    (check,) = teacher(config, "pod", False, {})
    assert check.level == "ok"


def test_a_key_is_hidden_before_a_long_refusal_is_cut(serve: Serve) -> None:
    """A key across the cut would leave its beginning."""
    said = {"error": {"message": "x" * (web.LONGEST_QUOTE - 12) + KEY}}
    check = look(serve({"GET /v1/models": (401, said)}).url)
    assert "sk-" not in check.finding


def places(url: str, **settings: Any) -> DistillSection:
    return DistillSection(teacher=f"{url}/v1", teacher_model="m", **settings)


def test_every_place_is_asked_with_its_own_key_and_name(serve: Serve) -> None:
    models = (200, {"data": [{"id": "m"}, {"id": "deployed"}]})
    here, other = serve({"GET /v1/models": models}), serve({"GET /v1/models": models})
    also = {"teacher": f"{other.url}/v1", "teacher_model": "deployed", "api_key_env": "OTHER"}
    keys = {"OPENAI_API_KEY": KEY, "OTHER": "sk-of-the-other"}
    checks = list(teacher(places(here.url, also=[also]), "here", False, keys))
    assert [check.level for check in checks] == ["ok", "ok"]
    assert "has deployed" in checks[1].finding
    assert [server.seen[0][1]["Authorization"] for server in (here, other)] == [
        f"Bearer {KEY}",
        "Bearer sk-of-the-other",
    ]


AZURE = {"teacher_model": "our-gpt4o", "api_version": "2024-10-21"}


@pytest.mark.parametrize("spend", [False, True])
def test_azures_dated_api_has_its_own_paths_and_header(serve: Serve, spend: bool) -> None:
    answers = {
        "GET /openai/models": (200, {"data": [{"id": "gpt-4o"}]}),
        "POST /openai/deployments/our-gpt4o/chat/completions": (200, COMPLETION),
    }
    server = serve(answers)
    config = DistillSection(teacher=server.url, **AZURE)
    (check,) = teacher(config, "here", spend, {"OPENAI_API_KEY": KEY})
    assert check.level == "ok"
    ((asked, headers, _),) = server.seen
    assert asked.endswith("?api-version=2024-10-21")
    assert {name.lower(): value for name, value in headers.items()}["api-key"] == KEY
    assert "Authorization" not in headers


def test_azure_without_a_key_is_told_before_anybody_is_asked() -> None:
    config = DistillSection(teacher="https://nobody.test", **AZURE)
    (check,) = teacher(config, "task", True, {})
    assert check.level == "fail"
    assert "OPENAI_API_KEY is not set in this shell" in check.finding


@pytest.mark.parametrize(
    ("status", "level"), [(200, "ok"), (404, "fail"), (401, "fail"), (405, "fail")]
)
def test_batch_mode_needs_a_batch_api_which_is_asked_for_free(
    serve: Serve, status: int, level: str
) -> None:
    models = (200, {"data": [{"id": "m"}]})
    server = serve({"GET /v1/models": models, "GET /v1/batches": (status, {"data": []})})
    config = places(server.url, mode="batch")
    _, check = teacher(config, "here", False, {"OPENAI_API_KEY": KEY})
    assert check.level == level
    assert server.seen[-1][0] == "GET /v1/batches?limit=1"
    assert status != 404 or "distill.mode: sync" in check.way_out


def test_the_accounts_limits_are_told_where_the_answer_has_them(serve: Serve) -> None:
    limits = {"x-ratelimit-limit-tokens": "800000", "X-RateLimit-Limit-Requests": "10000"}
    server = serve({"POST /v1/chat/completions": (200, COMPLETION, limits)})
    finding = look(server.url, spend=True).finding
    assert "800,000 tokens and 10,000 requests a minute" in finding
    assert "1,000 questions of 1,000 tokens take 1.2 min" in finding
    silent = serve({"POST /v1/chat/completions": (200, COMPLETION)})
    assert "a minute" not in look(silent.url, spend=True).finding


def test_a_context_too_short_for_an_answer_is_told(serve: Serve) -> None:
    """vLLM refuses such a question: each would be a failure."""
    for longest, level in ((2047, "warn"), (2048, "ok")):
        listed = (200, {"data": [{"id": "m", "max_model_len": longest}]})
        check = look(serve({"GET /v1/models": listed}).url)
        assert check.level == level
    assert look(serve({"GET /v1/models": (200, {"data": [{"id": "m"}]})}).url).level == "ok"


def test_a_key_file_that_everybody_may_read_is_told_on_ones_own_machine(
    serve: Serve, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text(KEY)
    server = serve({"GET /v1/models": (200, {"data": [{"id": "m"}]})})
    config = places(server.url, api_key_file=str(file))
    found = {}
    for mode in (0o644, 0o600):
        file.chmod(mode)
        found[mode] = [check.level for check in teacher(config, "here", False, {})]
    assert found == {0o644: ["ok", "warn"], 0o600: ["ok"]}
    file.chmod(0o644)  # as Kubernetes mounts a secret
    assert [check.level for check in teacher(config, "pod", False, {})] == ["ok"]


def test_a_key_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    config = places("http://127.0.0.1:9", api_key_file=str(tmp_path / "key"))
    (check,) = teacher(config, "here", False, {})
    assert check.level == "fail"
    assert "cannot be read (No such file or directory)" in check.finding


def test_a_key_in_the_clear_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody is there
    config = DistillSection(teacher="http://gateway.test/v1")
    _, check = teacher(config, "here", False, {"OPENAI_API_KEY": KEY})
    assert check.level == "warn"
    assert "unencrypted" in check.finding
    assert len(list(teacher(config, "here", False, {}))) == 1


def test_a_teacher_that_reasons_is_asked_in_its_own_words(serve: Serve) -> None:
    server = serve({"POST /v1/chat/completions": (200, COMPLETION)})
    look(server.url, spend=True, reasoning=True)
    ((_, _, body),) = server.seen
    assert body["max_completion_tokens"] > 100
    assert not {"max_tokens", "temperature"} & set(body)
    said = "Unsupported parameter: use 'max_completion_tokens' instead"
    strict = serve({"POST /v1/chat/completions": (400, {"error": {"message": said}})})
    assert "distill.reasoning: true" in look(strict.url, spend=True).way_out
