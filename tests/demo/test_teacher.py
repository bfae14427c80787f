import base64
import hashlib
import itertools
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from chainsight import answers
from chainsight.demo import bars, teacher
from chainsight.errors import ConfigError
from chainsight.prompts import teacher_prompt
from chainsight.records import Example


def body(chart: bars.Chart, number: int = 0) -> bytes:
    question = chart.questions[number]
    example = Example("x", "bars", "t", question.text, (question.answer,), "anls", (chart.image,))
    url = f"data:image/png;base64,{base64.b64encode(chart.image).decode()}"
    content = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": teacher_prompt(example)},
    ]
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": content}]
    return json.dumps({"model": "m", "messages": messages}).encode()


def call(url: str, data: bytes | None = None, key: str = "") -> tuple[int, Any, Any]:
    request = urllib.request.Request(url, data, {"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, json.load(error), error.headers


CHART = next(bars.charts(0, "train"))
COMPLETIONS = "/chat/completions"


def test_it_answers_like_an_openai_endpoint_and_always_the_same() -> None:
    with teacher.serve(error_rate=0.0) as handle:
        assert handle.url.startswith("http://127.0.0.1:")
        assert handle.url.endswith("/v1")
        first = call(handle.url + COMPLETIONS, body(CHART))
        assert call(handle.url + COMPLETIONS, body(CHART))[:2] == first[:2]
    status, answer, _ = first
    (choice,) = answer["choices"]
    text = choice["message"]["content"]
    assert (status, choice["finish_reason"], answer["model"]) == (200, "stop", "m")
    assert text == bars.solve(CHART.table, CHART.questions[0].text)[0]
    assert answers.extract(text).value == CHART.questions[0].answer
    assert answer["usage"]["completion_tokens"] == round(len(text.split()) * 1.3)
    assert answer["usage"]["prompt_tokens"] > 255


@pytest.mark.parametrize(
    ("width", "height", "tokens"),
    [(512, 1024, 425), (1024, 1024, 765), (2048, 4096, 1105), (64, 64, 255), (513, 512, 425)],
)
def test_images_count_by_the_tile_formula(width: int, height: int, tokens: int) -> None:
    assert teacher.image_tokens(width, height) == tokens


def test_it_says_what_it_is_and_that_it_is_well() -> None:
    with teacher.serve() as handle:
        assert call(handle.url + "/models")[1]["data"][0]["id"] == "scripted"
        assert call(handle.url.removesuffix("/v1") + "/health")[:2] == (200, {"status": "ok"})
        assert call(handle.url + "/nothing")[0] == 404
        assert call(handle.url + "/nothing", b"{}")[0] == 404


def no_image() -> bytes:
    messages = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    return json.dumps({"messages": messages}).encode()


@pytest.mark.parametrize(
    "data",
    [b"{", b"[]", b"{}", b'{"messages": []}', no_image(), body(CHART).replace(b"iVBORw0KGgo", b"")],
    ids=["no JSON", "list", "empty", "no turn", "no image", "damaged image"],
)
def test_what_is_no_request_gets_status_400_and_no_bill(data: bytes, tmp_path: Path) -> None:
    with teacher.serve(bills=tmp_path / "bills") as handle:
        status, answer, _ = call(handle.url + COMPLETIONS, data)
    assert status == 400
    assert "not a chat completion request" in answer["error"]["message"]
    assert not (tmp_path / "bills").exists()


def test_every_answered_request_is_billed_by_its_digest(tmp_path: Path) -> None:
    with teacher.serve(bills=tmp_path / "bills") as handle:
        for number in (0, 1, 0):
            call(handle.url + COMPLETIONS, body(CHART, number))
    digests = [hashlib.sha256(body(CHART, number)).hexdigest() for number in (0, 1, 0)]
    assert (tmp_path / "bills").read_text().split() == digests


def test_failures_hit_the_set_share_of_first_tries_and_are_not_billed(tmp_path: Path) -> None:
    bodies = [body(c, n) for c in itertools.islice(bars.charts(0, "train"), 30) for n in (0, 1)]
    with teacher.serve(fail_rate=0.5, bills=tmp_path / "bills") as handle:
        first = [call(handle.url + COMPLETIONS, data) for data in bodies]
        second = [call(handle.url + COMPLETIONS, data) for data in bodies]
    codes = [status for status, _, _ in first]
    assert {200, 429, 500} == set(codes)
    assert 15 < codes.count(200) < 45
    assert all(headers["Retry-After"] == "0" for code, _, headers in first if code == 429)
    assert [status for status, _, _ in second] == [200] * 60
    assert len((tmp_path / "bills").read_text().split()) == 60 + codes.count(200)


def test_a_required_key_is_required() -> None:
    with teacher.serve(required_key="sk-right") as handle:
        assert call(handle.url + COMPLETIONS, body(CHART), key="sk-wrong")[0] == 401
        assert call(handle.url + COMPLETIONS, body(CHART), key="sk-right")[0] == 200


def test_a_taken_port_is_named() -> None:
    with teacher.serve() as handle:
        port = int(handle.url.split(":")[2].removesuffix("/v1"))
        with (
            pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{port}: the teacher cannot listen"),
            teacher.serve(port=port),
        ):
            pass
