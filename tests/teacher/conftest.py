"""A server that answers as a test tells it to, and charts to ask about."""

import io
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from PIL import Image

from chainsight.demo import bars
from chainsight.records import Example


def completion(text: str, finish_reason: str = "stop") -> dict[str, Any]:
    """A chat completion of 1,000 prompt and 100 completion tokens: $0.0065 at list price."""
    message = {"role": "assistant", "content": text}
    return {
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100},
    }


@dataclass
class Call:
    """One request as the server saw it."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Canned:
    """The server's address and what it has been sent."""

    url: str
    calls: list[Call] = field(default_factory=list)


Reaction = tuple[int, dict[str, str], Any]


@pytest.fixture
def canned() -> Iterator[Callable[[Callable[[int, Call], Reaction]], Canned]]:
    """`canned(react)` starts a server; `react(number, call)` gives status, headers and body.

    A body of bytes is sent as it is; one that is callable gets the connection's file.
    """
    servers: list[ThreadingHTTPServer] = []

    def start(react: Callable[[int, Call], Reaction]) -> Canned:
        numbers, lock = itertools.count(), threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                headers = {name.lower(): value for name, value in self.headers.items()}
                call = Call(self.path, headers, body)
                with lock:
                    state.calls.append(call)
                    number = next(numbers)
                status, headers, answer = react(number, call)
                if callable(answer):
                    answer(self.wfile)
                    self.close_connection = True
                    return
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
                self.wfile.flush()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads, server.block_on_close = True, False
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        state = Canned(f"http://127.0.0.1:{server.server_address[1]}/v1")
        return state

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def charts() -> list[Example]:
    """Forty questions about bar charts, none asked twice."""
    questions = {
        (chart.image, question.text): Example(
            f"bars/train/{i}-{j}", "bars", "train", question.text, (question.answer,),
            "exact_match", (chart.image,),
        )
        for i, chart in enumerate(itertools.islice(bars.charts(0, "train"), 12))
        for j, question in enumerate(chart.questions)
    }  # fmt: skip
    return list(questions.values())[:40]


@pytest.fixture
def picture() -> Callable[..., bytes]:
    """An image file of some size, format and mode."""

    def make(width: int, height: int, kind: str = "PNG", mode: str = "RGB", **save: Any) -> bytes:
        file = io.BytesIO()
        Image.new(mode, (width, height)).save(file, kind, **save)
        return file.getvalue()

    return make
