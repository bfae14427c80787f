"""The scripted teacher: a stand-in for GPT-4o, no model at all.

A small OpenAI-compatible server that receives what the real teacher would receive. It reads the
table out of a bar chart's PNG metadata (which is why the client sends small images untouched)
and writes what `rationales.write` makes of it. A settable share of its answers is wrong (a
misread bar, another conclusion, or none), chosen by the content of the request, so that the
same question always gets the same answer. Token counts follow GPT-4o's formula for images and
1.3 a word for text; nothing is charged.

    POST /v1/chat/completions    GET /v1/models    GET /health
"""

import base64
import hashlib
import io
import json
import math
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any

from PIL import Image

from chainsight.demo import rationales
from chainsight.errors import ConfigError

MODEL = "scripted"
LARGEST_BODY = 64 * 2**20
TOKENS_PER_WORD = 1.3
LONG_SIDE, SHORT_SIDE, TILE_SIDE = 2048, 768, 512
BASE_TOKENS, TILE_TOKENS = 85, 170
MALFORMED = (
    ValueError, LookupError, TypeError, AttributeError,
    OSError, SyntaxError, Image.DecompressionBombError,
)  # fmt: skip
"""What reading a request raises that is none."""


@dataclass(frozen=True)
class Behaviour:
    """How the server treats its callers."""

    error_rate: float = 0.1
    """Share of wrong answers."""
    seed: int = 0
    """Which requests get a wrong answer or a failure."""
    bills: Path | None = None
    """File that gets a line for each request that a real teacher would charge for."""
    fail_rate: float = 0.0
    """Share of requests whose first try ends in HTTP 429 or 500."""
    latency_seconds: float = 0.0
    """Time between a request's arrival (and billing) and its answer."""
    required_key: str | None = None
    """Bearer token that every caller must send; None: anybody may ask."""


@dataclass(frozen=True)
class Handle:
    """A running server."""

    url: str
    """Base URL for `distill.teacher`, ends in /v1."""


class RefusalError(Exception):
    """An HTTP error to send."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers or {}


@contextmanager
def serve(host: str = "127.0.0.1", port: int = 0, **behaviour: Any) -> Iterator[Handle]:
    """Run the teacher in a thread; port 0 takes a free one. Keywords: `Behaviour`'s fields."""
    server = _listen(host, port, Behaviour(**behaviour))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield Handle(server.url)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def run(host: str, port: int, announce: Callable[[str], None], **behaviour: Any) -> None:
    """Serve until interrupted; `announce` gets the base URL. Keywords: `Behaviour`'s fields.

    Raises:
        ConfigError: the address is taken or not this machine's.
    """
    with _listen(host, port, Behaviour(**behaviour)) as server:
        announce(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def _listen(host: str, port: int, behaviour: Behaviour) -> "_Server":
    try:
        return _Server((host, port), behaviour)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"{host}:{port}: the teacher cannot listen there ({error}); choose another address, "
            "or port 0 for any free one"
        ) from None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], behaviour: Behaviour) -> None:
        super().__init__(address, _Handler)
        self.behaviour = behaviour
        self.url = f"http://{address[0]}:{self.server_address[1]}/v1"
        self._lock = threading.Lock()
        self._failed: set[str] = set()

    def server_bind(self) -> None:
        """Bind without the base class's look-up of a host name, which can hang without DNS."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that was killed is no news; anything else keeps its traceback."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def admit(self, digest: str) -> None:
        """Fail the first try of some requests, bill the others."""
        rng = random.Random(f"{self.behaviour.seed}/admit/{digest}")
        with self._lock:
            if rng.random() < self.behaviour.fail_rate and digest not in self._failed:
                self._failed.add(digest)
                if rng.random() < 0.5:
                    raise RefusalError(429, "rate limit reached", {"Retry-After": "0"})
                raise RefusalError(500, "the server had an error")
            if self.behaviour.bills:
                with self.behaviour.bills.open("a", encoding="ascii") as file:
                    file.write(f"{digest}\n")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer on a kept connection waits 40 ms
    wbufsize = -1
    server: _Server

    def do_GET(self) -> None:
        if self.path == "/health":
            self._send(200, {"status": "ok"})
        elif self.path == "/v1/models":
            self._send(200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        else:
            self._send(404, _error(f"no such address: {self.path}"))

    def do_POST(self) -> None:
        try:
            body = self._body()
            if self.path != "/v1/chat/completions":
                raise RefusalError(404, f"no such address: {self.path}")
            key = self.server.behaviour.required_key
            if key and self.headers.get("Authorization") != f"Bearer {key}":
                raise RefusalError(401, "incorrect API key provided")
            self._send(200, self._complete(body))
        except RefusalError as refusal:
            self._send(refusal.status, _error(str(refusal)), refusal.headers)

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length") or ""
        if not length.isdecimal() or int(length) > LARGEST_BODY:
            self.close_connection = True
            raise RefusalError(413, f"Content-Length must be a number up to {LARGEST_BODY}")
        return self.rfile.read(int(length))

    def _complete(self, body: bytes) -> dict[str, Any]:
        behaviour = self.server.behaviour
        try:
            request = json.loads(body)
            prompt, images = read_request(request)
        except MALFORMED as error:
            raise RefusalError(400, f"not a chat completion request: {error!r}") from None
        digest = hashlib.sha256(body).hexdigest()
        self.server.admit(digest)
        time.sleep(behaviour.latency_seconds)
        # Not by the body, whose layout is the client library's: demo results outlive an upgrade.
        shown = "/".join(hashlib.sha256(image).hexdigest() for image in images)
        seed = f"{behaviour.seed}/{prompt}/{shown}"
        text = rationales.write(prompt, images[0] if images else b"", behaviour.error_rate, seed)
        return completion(str(request.get("model", MODEL)), digest, prompt, images, text)

    def _send(
        self, status: int, answer: dict[str, Any], headers: dict[str, str] | None = None
    ) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing: the caller has a progress bar."""


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "scripted_teacher", "code": None}}


def completion(
    model: str, digest: str, prompt: str, images: Sequence[bytes], text: str
) -> dict[str, Any]:
    """A chat completion with deterministic id and token counts."""
    prompt_tokens = _tokens(prompt)
    for image in images:
        with Image.open(io.BytesIO(image)) as opened:
            prompt_tokens += image_tokens(*opened.size)
    completion_tokens = _tokens(text)
    return {
        "id": f"chatcmpl-{digest}",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


def image_tokens(width: int, height: int) -> int:
    """Tokens that GPT-4o counts for an image in high detail (its published tile formula).

    The image is fitted into 2048 x 2048, then its short side to 768, never enlarged; each
    512 x 512 tile counts 170, and 85 stand for the whole: 765 for 1024 x 1024.
    """
    scale = min(1.0, LONG_SIDE / max(width, height))
    scale *= min(1.0, SHORT_SIDE / (min(width, height) * scale))
    tiles = math.ceil(width * scale / TILE_SIDE) * math.ceil(height * scale / TILE_SIDE)
    return BASE_TOKENS + TILE_TOKENS * tiles


def _tokens(text: str) -> int:
    return round(len(text.split()) * TOKENS_PER_WORD)


def read_request(request: dict[str, Any]) -> tuple[str, list[bytes]]:
    """The last user turn's text and images, at least one.

    Raises one of `MALFORMED` if there is none.
    """
    content = [turn for turn in request["messages"] if turn["role"] == "user"][-1]["content"]
    text = "\n".join(part["text"] for part in content if part["type"] == "text")
    urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    return text, [_image(url) for url in urls or [""]]


def _image(url: str) -> bytes:
    head, _, data = url.partition(";base64,")
    if not head.startswith("data:image/"):
        raise ValueError("expected an image as a data URL")
    image = base64.b64decode(data, validate=True)
    with Image.open(io.BytesIO(image)) as opened:
        opened.verify()
    return image
