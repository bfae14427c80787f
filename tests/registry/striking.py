"""kill -9 at chosen moments: a proxy kills its client before or after a certain request.

Before: the request is not handed on. After: it was answered, but the answer never arrives.
"""

import contextlib
import http.client
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Service = Literal["mlflow", "s3"]


@dataclass(frozen=True)
class Moment:
    """The `nth` request of a kind that a process makes, and which side of it."""

    service: Service
    method: str
    path: str
    """Regular expression, searched for."""
    nth: int
    when: Literal["before", "after"]


class Striker(ThreadingHTTPServer):
    """Stands in front of one service for one process."""

    daemon_threads = True

    def __init__(self, service: Service, upstream: str, moment: Moment | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.service, self.upstream = service, urlsplit(upstream).netloc
        self.victim = 0
        self.struck = False
        self._moment = moment if moment and moment.service == service else None
        self._seen = 0
        self._lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def is_it(self, method: str, path: str) -> str:
        """`before` or `after` if this request is the one, else nothing."""
        moment = self._moment
        if moment is None or method != moment.method or not re.search(moment.path, path):
            return ""
        with self._lock:
            self._seen += 1
            return moment.when if self._seen == moment.nth else ""

    def strike(self) -> None:
        self.struck = True
        os.kill(self.victim, signal.SIGKILL)

    def handle_error(self, request: object, client_address: object) -> None:
        """A victim's broken connections are no news."""


class _Handler(BaseHTTPRequestHandler):
    server: Striker
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        when = self.server.is_it(self.command, self.path)
        if when == "before":
            self.server.strike()
            self.cut()
            return
        try:
            self.hand_on(body, stop=when == "after")
        except OSError:  # the service is away, and so is this end for its client
            self.cut()

    def hand_on(self, body: bytes, *, stop: bool) -> None:
        headers = dict(self.headers.items())
        headers.pop("Expect", None)
        if self.server.service == "mlflow":
            headers["Host"] = self.server.upstream  # S3's is signed and must stay
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=60)
        with contextlib.closing(upstream):
            upstream.request(self.command, self.path, body, headers)
            reply = upstream.getresponse()
            data = reply.read()
        if stop:
            self.server.strike()
            self.cut()
            return
        size = reply.headers["Content-Length"] if self.command == "HEAD" else str(len(data))
        self.send_response_only(reply.status)
        for name, value in reply.headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", size or "0")
        self.end_headers()
        self.wfile.write(data)

    def cut(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
        """Nothing."""

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_PATCH = handle_any  # noqa: N815


@contextmanager
def strikers(mlflow: str, s3: str, moment: Moment | None) -> Iterator[list[Striker]]:
    """A proxy for each service, for one process."""
    both = [Striker("mlflow", mlflow, moment), Striker("s3", s3, moment)]
    for one in both:
        threading.Thread(target=one.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield both
    finally:
        for one in both:
            one.shutdown()
            one.server_close()
