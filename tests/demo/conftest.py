"""The mock teacher's callers: the openai client, which most callers use."""

import base64
import itertools
from collections.abc import Callable
from typing import Any

import openai
import pytest

from chainsight.demo import bars
from chainsight.demo.teacher import Handle
from chainsight.prompts import teacher_prompt
from chainsight.records import Example

CHARTS = list(itertools.islice(bars.charts(0, "train"), 40))
MODEL = "gpt-4o-2024-05-13"


@pytest.fixture
def question() -> Callable[..., dict[str, Any]]:
    """`question(number, **parameters)` is a chat completion request."""

    def make(number: int = 0, **parameters: Any) -> dict[str, Any]:
        chart = CHARTS[number]
        asked = chart.questions[0]
        example = Example(
            "x", "bars", "t", asked.text, (asked.answer,), "exact_match", (chart.image,)
        )
        url = f"data:image/png;base64,{base64.b64encode(chart.image).decode()}"
        content = [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "text", "text": teacher_prompt(example)},
        ]
        return {"model": MODEL, "messages": [{"role": "user", "content": content}]} | parameters

    return make


@pytest.fixture
def client() -> Callable[..., openai.OpenAI]:
    """`client(handle, key)` asks a running mock, without retries."""

    def make(handle: Handle, key: str = "k", seconds: float = 10.0) -> openai.OpenAI:
        return openai.OpenAI(api_key=key, base_url=handle.url, max_retries=0, timeout=seconds)

    return make


@pytest.fixture
def statuses() -> Callable[[openai.OpenAI, list[dict[str, Any]]], list[int]]:
    """The HTTP status of each of some requests, asked one after the other."""

    def ask(caller: openai.OpenAI, requests: list[dict[str, Any]]) -> list[int]:
        found = []
        for request in requests:
            try:
                caller.chat.completions.create(**request)
                found.append(200)
            except openai.APIStatusError as error:
                found.append(error.status_code)
        return found

    return ask
