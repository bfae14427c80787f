"""A gate in front of a teacher that has a caller killed at a chosen request: really, by SIGKILL."""

import http.client
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

POINTS = {
    "after the intent": ("/v1/files", False),
    "after the upload": ("/v1/files", True),
    "after the creation": ("/v1/batches", True),
}
"""Which POST the caller does not survive, and whether the teacher still gets it."""


@dataclass
class Gate:
    """Kills `process` at the request number `countdown` (from 0) of its point."""

    url: str
    point: str = ""
    countdown: int = 0
    process: int = 0
    killed: threading.Event = field(default_factory=threading.Event)

    def is_the_end(self, path: str) -> bool:
        """Whether this request is the one."""
        if not self.point or self.killed.is_set() or path != POINTS[self.point][0]:
            return False
        self.countdown -= 1
        return self.countdown < 0


@contextmanager
def gate_to(url: str) -> Iterator[Gate]:
    """Forward all requests to the teacher at `url`."""
    target = urlsplit(url).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def forward(self) -> None:
            path = self.path.partition("?")[0]
            ends = self.command == "POST" and gate.is_the_end(path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if not ends or POINTS[gate.point][1]:
                answer = self._ask(body)
            if ends:
                os.kill(gate.process, signal.SIGKILL)
                gate.killed.set()
                self.close_connection = True
                return
            status, data = answer
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _ask(self, body: bytes) -> tuple[int, bytes]:
            connection = http.client.HTTPConnection(target)
            headers = {name: self.headers[name] for name in ("Authorization", "Content-Type")
                       if self.headers[name]}  # fmt: skip
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            data = answer.read()
            connection.close()
            return answer.status, data

        do_GET = do_POST = do_DELETE = forward  # noqa: N815 - the base class's names

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:
                self.close_connection = True  # the caller is dead

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    gate = Gate(f"http://127.0.0.1:{server.server_address[1]}/v1")
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield gate
    finally:
        server.shutdown()
        server.server_close()
