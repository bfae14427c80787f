"""A gateway in front of the scripted teacher that repeats its callers' key wherever it can."""

import base64
import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from chainsight.demo import teacher as scripted


@dataclass
class Careless:
    """Its address, and what it did."""

    url: str
    echoed: list[str] = field(default_factory=list)
    """Kind of each answer that repeated the key."""


@contextmanager
def serve(key: str) -> Iterator[Careless]:
    """Run it in a thread; callers without `key` are refused (by the scripted teacher behind it)."""
    with scripted.serve(required_key=key) as behind:
        server = _Gateway(key, urlsplit(behind.url).netloc)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.state
        server.shutdown()
        server.server_close()


class _Gateway(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, key: str, behind: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.key, self.behind = key, behind
        self.state = Careless(f"http://127.0.0.1:{self.server_port}/v1")
        self.tried: dict[bytes, int] = {}
        self.lock = threading.Lock()

    def place(self, body: bytes) -> tuple[int, int]:
        """The number of a question, from 0, and how often it was asked before."""
        with self.lock:
            tries = self.tried.get(body, 0)
            self.tried[body] = tries + 1
            return list(self.tried).index(body), tries


class _Handler(BaseHTTPRequestHandler):
    server: _Gateway
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        status, answer = self.forward(b"")
        if self.path.endswith("/content"):
            lines = [json.loads(line) for line in answer.splitlines()]
            answer = b"\n".join(self.spoil_line(i, line) for i, line in enumerate(lines))
        self.send(status, answer)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, answer = self.forward(body)
        question, tries = self.server.place(body)
        if status == 200 and b"image_url" in body and self.path.endswith("/chat/completions"):
            kind, status, answer = self.spoil(question, tries, answer)
            self.server.state.echoed.append(kind)
        self.send(status, answer)

    def spoil(self, question: int, tries: int, answer: bytes) -> tuple[str, int, bytes]:
        """Kind, status and body of an answer that has the key in it."""
        key = self.server.key
        error = json.dumps({"error": {"message": f"Bearer {key} is my guest"}}).encode()
        if question == 3:
            return "refused", 400, error
        if question % 4 == 1 and not tries:
            return "busy", 429, error
        if question % 4 == 2 and not tries:
            return "broken", 200, f"<p>{key}</p>".encode()
        return "answered", 200, echo(json.loads(answer), key)

    def spoil_line(self, number: int, line: dict[str, Any]) -> bytes:
        """A line of a batch's results; of one the request failed."""
        key, answer = self.server.key, (line.get("response") or {}).get("body") or {}
        if not number:
            error = {"code": "server_error", "message": f"Bearer {key} is my guest"}
            return json.dumps(line | {"response": None, "error": error}).encode()
        if "choices" not in answer:
            return json.dumps(line).encode()
        self.server.state.echoed.append("in a batch")
        line["response"]["body"] = "ANSWER"
        return json.dumps(line).encode().replace(b'"ANSWER"', echo(answer, key))

    def forward(self, body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.server.behind)
        passed = ("Authorization", "Content-Type")
        headers = {name: self.headers[name] for name in passed if self.headers[name]}
        connection.request(self.command, self.path, body or None, headers)
        reply = connection.getresponse()
        return reply.status, reply.read()

    def send(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


def echo(answer: dict[str, Any], key: str) -> bytes:
    """The answer with the key in its text, in base64, in a header's form, and escaped."""
    token = base64.b64encode(f"user:{key}".encode()).decode()
    message = answer["choices"][0]["message"]
    message["content"] = f"Bearer {key} or Basic {token}, I see.\n{message['content']}"
    answer |= {"system_fingerprint": key, key: "a name"}
    text = json.dumps(answer).replace(
        f'"{key}": "a name"', '"{}": "a name"'.format("".join(f"\\u{ord(c):04x}" for c in key))
    )
    return text.encode()
