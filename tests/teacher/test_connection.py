"""The client for a place, against a server that says what it was sent."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chainsight.config import DistillSection
from chainsight.teacher.connection import chat_path, connect
from chainsight.teacher.endpoint import resolve

KEY = "sk-planted-0123456789abcdef"
ANSWER = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}}]}
BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "?"}]}


def ask(
    config: DistillSection, environment: dict[str, str], between: Callable[[], object] = int
) -> None:
    """Two requests by one client, with `between` in between."""
    endpoint = resolve(config, environment)[0]

    async def twice() -> None:
        async with connect(endpoint, config) as client:
            body = BODY | {"model": endpoint.model}
            await client.chat.completions.create(**body)
            between()
            await client.chat.completions.create(**body)

    asyncio.run(twice())


def server_of(canned: Any) -> Any:
    return canned(lambda number, call: (200, {}, ANSWER))


def test_openais_protocol_has_the_key_as_bearer_token(canned: Any) -> None:
    server = server_of(canned)
    ask(DistillSection(teacher=server.url, teacher_model="m"), {"OPENAI_API_KEY": KEY})
    assert server.calls[0].path == "/v1/chat/completions"
    assert server.calls[0].headers["authorization"] == f"Bearer {KEY}"


def test_azures_dated_api_has_the_deployment_in_the_path_and_a_header_of_its_own(
    canned: Any,
) -> None:
    server = server_of(canned)
    url = server.url.removesuffix("/v1")
    config = DistillSection(teacher=url, teacher_model="our-gpt4o", api_version="2024-10-21")
    ask(config, {"OPENAI_API_KEY": KEY, "AZURE_OPENAI_AD_TOKEN": "of-somebody-else"})
    call = server.calls[0]
    assert call.path == (
        "/openai/deployments/our-gpt4o/chat/completions?api-version=2024-10-21"
    )  # fmt: skip
    assert call.headers["api-key"] == KEY
    assert "authorization" not in call.headers


def test_a_key_that_is_replaced_in_its_file_counts_from_the_next_request(
    canned: Any, tmp_path: Path
) -> None:
    server, file = server_of(canned), tmp_path / "key"
    file.write_text("sk-old-0123456789\n")
    config = DistillSection(teacher=server.url, teacher_model="m", api_key_file=str(file))
    ask(config, {}, between=lambda: file.write_text("sk-new-0123456789\n"))
    sent = [call.headers["authorization"] for call in server.calls]
    assert sent == ["Bearer sk-old-0123456789", "Bearer sk-new-0123456789"]


def test_while_a_keys_file_is_away_the_key_of_before_is_sent(canned: Any, tmp_path: Path) -> None:
    server, file = server_of(canned), tmp_path / "key"
    file.write_text(KEY)
    config = DistillSection(teacher=server.url, teacher_model="m", api_key_file=str(file))
    ask(config, {}, between=file.unlink)
    assert {call.headers["authorization"] for call in server.calls} == {f"Bearer {KEY}"}


def test_both_keys_of_a_rotation_are_hidden(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sk-old-0123456789")
    config = DistillSection(teacher="http://127.0.0.1:9/v1", api_key_file=str(file))
    (endpoint,) = resolve(config, {})
    file.write_text("sk-new-0123456789")
    said = "sk-old-0123456789 and sk-new-0123456789"
    assert endpoint.hide(said) == "[key] and [key]"
    assert endpoint.clean([said]) == ["[key] and [key]"]


def test_a_proxy_of_the_environment_counts_but_not_for_a_teacher_on_this_machine(
    canned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server stands in for the proxy: it sees the whole address in the request's line."""
    server = server_of(canned)
    monkeypatch.setenv("http_proxy", server.url.removesuffix("/v1"))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    ask(DistillSection(teacher="http://teacher.test/v1", teacher_model="m"), {})
    assert server.calls[0].path == "http://teacher.test/v1/chat/completions"
    near = server_of(canned)
    ask(DistillSection(teacher=near.url, teacher_model="m"), {})
    assert near.calls[0].path == "/v1/chat/completions"


def test_each_request_in_flight_has_a_connection_that_stays_open() -> None:
    config = DistillSection(teacher="http://127.0.0.1:9/v1", concurrency=1500)
    pool = connect(resolve(config, {})[0], config)._client._transport._pool
    assert (pool._max_connections, pool._max_keepalive_connections) == (1500, 1500)


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({}, "/v1/chat/completions"),
        ({"teacher": "https://r.openai.azure.com", "api_version": "x"}, "/chat/completions"),
        ({"teacher": "https://r.openai.azure.com/openai/v1"}, "/chat/completions"),
        ({"teacher": "https://r.services.ai.azure.com/openai/v1"}, "/chat/completions"),
        ({"teacher": "https://azure.com.example/v1"}, "/v1/chat/completions"),
    ],
)
def test_lines_of_a_batch_name_the_path_that_the_place_knows(
    settings: dict[str, Any], path: str
) -> None:
    (endpoint,) = resolve(DistillSection(**settings), {"OPENAI_API_KEY": KEY})
    assert chat_path(endpoint) == path
