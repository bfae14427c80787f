"""The reconciler's port: webhooks of MLflow as hints, probes, figures for Prometheus.

A webhook is never believed: it wakes the reconciler, which looks for itself. So a lost, repeated
or forged one costs at most a look.
"""

import base64
import hashlib
import hmac
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from chainsight.promotion.reconcile import Reconciler, metrics

SECRET_VARIABLE = "CHAINSIGHT_HOOK_SECRET"  # noqa: S105 - a name
MAX_AGE_SECONDS = 300.0
_MAX_BODY = 64 * 1024
_POLLS = 3
"""Healthy: the loop has gone round within so many polls."""
_SOCKET_SECONDS = 10.0


def is_signed(headers: Mapping[str, str], body: bytes, secret: str, now: float) -> bool:
    """Whether MLflow, with our secret and within five minutes, has signed a delivery."""
    found = {name.lower(): value for name, value in headers.items()}
    delivery, stamp = found.get("x-mlflow-delivery-id", ""), found.get("x-mlflow-timestamp", "")
    if not stamp.isdecimal() or abs(now - int(stamp)) > MAX_AGE_SECONDS:
        return False
    text = f"{delivery}.{stamp}.".encode() + body
    digest = base64.b64encode(hmac.digest(secret.encode(), text, hashlib.sha256)).decode()
    said = found.get("x-mlflow-signature", "")
    return hmac.compare_digest(said.encode(), f"v1,{digest}".encode())


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self, address: tuple[str, int], reconciler: Reconciler, model: str, secret: str | None,
        now: Callable[[], float],
    ) -> None:  # fmt: skip
        self.reconciler, self.model, self.secret, self.now = reconciler, model, secret, now
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _SOCKET_SECONDS

    def do_GET(self) -> None:
        reconciler = self.server.reconciler
        if self.path == "/healthz":
            self._answer(*_healthy(reconciler))
        elif self.path == "/metrics":
            text = metrics(reconciler.health, self.server.model, reconciler.clock())
            self._answer(200, text, "text/plain; version=0.0.4; charset=utf-8")
        else:
            self._answer(404, "see /healthz, /metrics and POST /hook\n")

    def do_POST(self) -> None:
        size = self.headers.get("Content-Length", "")
        if self.path != "/hook":
            self._answer(404, "see /healthz, /metrics and POST /hook\n")
        elif not size.isdecimal() or int(size) > _MAX_BODY:
            self._answer(413, f"a delivery has at most {_MAX_BODY} bytes\n")
        else:
            self._hook(self.rfile.read(int(size)))

    def _hook(self, body: bytes) -> None:
        secret = self.server.secret
        if secret and not is_signed(dict(self.headers), body, secret, self.server.now()):
            self._answer(401, "not signed with our secret, or older than 5 minutes\n")
            return
        self.server.reconciler.wake()
        self._answer(202, "looking\n")

    def _answer(self, status: int, text: str, kind: str = "text/plain; charset=utf-8") -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Probes come every few seconds: not worth a line."""


def _healthy(reconciler: Reconciler) -> tuple[int, str]:
    health = reconciler.health
    since = health.started if health.went_round is None else health.went_round
    silent = reconciler.clock() - since
    if silent > _POLLS * reconciler.poll_seconds and not reconciler.verifying:
        return 503, f"no look has ended for {silent:.0f} s\n"
    return 200, f"looking every {reconciler.poll_seconds:g} s; {health.trouble or 'all is well'}\n"


@contextmanager
def hook_server(
    reconciler: Reconciler,
    model: str,
    *,
    port: int,
    secret: str | None,
    host: str = "0.0.0.0",  # noqa: S104 - the pod's own address is not known
    now: Callable[[], float] = time.time,
) -> Iterator[str]:
    """Serve beside the reconciler; port 0 takes a free one. Gives the address."""
    server = _Server((host, port), reconciler, model, secret, now)
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
