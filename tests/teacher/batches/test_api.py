import asyncio
import io
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from calling import KEY, section

from chainsight.errors import TeacherError
from chainsight.teacher.batches.api import Api, GoneError, State, UnsureError
from chainsight.teacher.endpoint import Endpoint

Reaction = tuple[int, bytes, int]


@pytest.fixture
def server() -> Iterator[Callable[[Callable[[int, bytes], Reaction]], str]]:
    """`server(react)`: `react(number, body)` gives status, answer and its length."""
    servers: list[ThreadingHTTPServer] = []

    def start(react: Callable[[int, bytes], Reaction]) -> str:
        calls: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                calls.append(self.path)
                status, data, length = react(len(calls), body)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = answer  # noqa: N815 - the base class's names

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(running)
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{running.server_address[1]}/v1"

    yield start
    for running in servers:
        running.shutdown()
        running.server_close()


def on(url: str, act: Callable[[Api], Any]) -> Any:
    """What `act` gives with an API at `url`."""

    async def run() -> Any:
        async with Api(section(url), Endpoint("test", url, KEY)) as api:
            return await act(api)

    return asyncio.run(run())


def whole(data: bytes, status: int = 200) -> Reaction:
    return status, data, len(data)


def read(api: Api) -> Any:
    async def run() -> list[bytes]:
        lines: list[bytes] = []
        await api.read("file-1", lines.append)
        return lines

    return run()


def test_a_line_ends_at_its_line_feed_and_nowhere_else(server: Any) -> None:
    content = '{"a": "x\u2028y\x85z"}\n{"b": 1}'.encode()
    assert on(server(lambda number, body: whole(content)), read) == content.split(b"\n")


def test_a_stream_that_breaks_is_read_again_from_the_start(server: Any) -> None:
    lines = [b'{"number": %06d}' % number for number in range(20_000)]
    data = b"\n".join(lines)

    def react(number: int, body: bytes) -> Reaction:
        return (200, data[:-7], len(data)) if number == 1 else whole(data)

    found = on(server(react), read)
    assert found[-len(lines) :] == lines
    assert found[: len(found) - len(lines)] == lines[: len(found) - len(lines)]
    assert len(lines) < len(found) < 2 * len(lines)


def test_a_file_that_was_deleted_is_told_from_one_that_is_late(server: Any) -> None:
    url = server(lambda number, body: whole(b"{}", 503 if number < 3 else 404))
    with pytest.raises(GoneError):
        on(url, read)


@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_creation_that_failed_on_the_way_is_not_repeated(server: Any, status: int) -> None:
    numbers: list[int] = []

    def react(number: int, body: bytes) -> Reaction:
        numbers.append(number)
        return whole(b'{"error": {"message": "?"}}', status)

    with pytest.raises(UnsureError):
        on(server(react), lambda api: api.create("file-1", "key"))
    assert numbers == [1]


def test_a_creation_that_was_refused_for_the_moment_is_repeated(server: Any) -> None:
    batch = (
        b'{"id": "batch_1", "status": "validating", "input_file_id": "f", "created_at": 0,'
        b'"object": "batch", "endpoint": "e", "completion_window": "24h",'
        b'"metadata": {"run_key": "key"}}'
    )
    url = server(lambda number, body: whole(b"{}", 429) if number < 3 else whole(batch))
    state = on(url, lambda api: api.create("file-1", "key"))
    assert state == State("batch_1", "validating", "key", 0, "f", (), None)


@pytest.mark.parametrize("status", [400, 429])
def test_an_account_without_money_ends_at_once_with_the_way_out(server: Any, status: int) -> None:
    said = b'{"error": {"message": "hard limit", "code": "billing_hard_limit_reached"}}'
    with pytest.raises(TeacherError, match=r"pays no more.*raise its limit"):
        on(server(lambda number, body: whole(said, status)), lambda api: api.create("f", "key"))


def test_what_the_server_echoes_of_the_key_is_hidden(server: Any) -> None:
    said = b'{"error": {"message": "bad key %s"}}' % KEY.encode()
    with pytest.raises(TeacherError) as caught:
        on(server(lambda number, body: whole(said, 401)), lambda api: api.check())
    assert "[key]" in str(caught.value)
    assert KEY not in str(caught.value)


def test_an_upload_that_breaks_is_sent_again_in_whole(server: Any) -> None:
    sent = b'{"id": "file-1", "filename": "n", "bytes": 3, "created_at": 0, "object": "file",'
    sent += b'"purpose": "batch", "status": "processed"}'
    received: list[bytes] = []

    def react(number: int, body: bytes) -> Reaction:
        received.append(body)
        return whole(b"{}", 500) if number == 1 else whole(sent)

    file = io.BytesIO(b"the whole file")
    assert on(server(react), lambda api: api.upload(file, "name.jsonl")) == "file-1"
    assert [b"the whole file" in body for body in received] == [True, True]
