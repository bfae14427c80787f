"""A registry that refuses or is not there: one sentence with the way out, and nothing changed."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from registering import GOOD, World

from chainsight.config import RegisterSection
from chainsight.errors import TrackingError
from chainsight.stages import register

READS = ("/experiments/search", "/model-versions/search", "/registered-models/search")
"""Calls that look and change nothing; the first of them opens a connection."""


class Server(ThreadingHTTPServer):
    """Answers calls as MLflow's server does; those that change something, with `status` alone."""

    def __init__(self, status: int, *, reads: bool) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.reads = status, reads
        self.changes: list[str] = []

    @property
    def address(self) -> str:
        return f"http://somebody:secret-word@127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        read = any(name in self.path for name in READS)
        if not read:
            self.server.changes.append(self.path)
        self._answer(200 if read and self.server.reads else self.server.status)

    def do_POST(self) -> None:
        self.do_GET()

    def _answer(self, status: int) -> None:
        text = b"{}" if status == 200 else b"You may not. Go away."
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def serving(status: int, *, reads: bool = False) -> Iterator[Server]:
    with Server(status, reads=reads) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # else it waits between its tries
    return World(tmp_path, "", "m")


def refusal(world: World, uri: str) -> str:
    """The message of a registration at `uri`; it must leave no file behind."""
    inputs = world.candidate(b"one", GOOD)
    decision = world.root / "decision"
    decision.mkdir()
    context = replace(world.context(inputs), tracking_uri=uri)
    folders = {kind: world.store.fetch(where) for kind, where in inputs.items()}
    with pytest.raises(TrackingError) as caught:
        register.run(RegisterSection(model_name="m"), **folders, decision=decision, context=context)
    assert list(decision.iterdir()) == []
    message = str(caught.value)
    assert "\n" not in message
    assert "secret-word" not in message
    return message


ANSWERS = {
    401: "refuses the credentials of nobody (401); set MLFLOW_TRACKING_USERNAME and",
    403: "(403); an admin of MLflow can grant EDIT on the registered model",
    503: "cannot use its database (503): it is away, or full; the server's log tells which",
}


@pytest.mark.parametrize("status", ANSWERS)
def test_a_refusal_is_one_sentence_and_changes_nothing(world: World, status: int) -> None:
    with serving(status) as server:
        message = refusal(world, server.address)
    assert message.startswith("MLflow at http://127.0.0.1:")
    assert ANSWERS[status] in message
    assert server.changes == []


@pytest.mark.parametrize("status", ANSWERS)
def test_a_credential_that_expires_on_the_way_is_told_so(world: World, status: int) -> None:
    """Reading is allowed, writing is not: the first change is refused and nothing follows it."""
    with serving(status, reads=True) as server:
        message = refusal(world, server.address)
    assert message.startswith("cannot register ")
    assert ANSWERS[status] in message
    assert [path.rpartition("/")[2] for path in server.changes] == ["create"]


def test_a_registry_that_is_not_there_is_named(world: World) -> None:
    message = refusal(world, "http://127.0.0.1:9")
    assert message == (
        "MLflow at http://127.0.0.1:9 does not answer (Connection refused); check "
        "MLFLOW_TRACKING_URI and the network"
    )


def test_after_a_refusal_the_next_try_need_not_wait(world: World) -> None:
    """The lease is let go, so that a mended credential registers at once."""
    with serving(403, reads=True) as server:
        refusal(world, server.address)
    newest = [name for name in world.store.names("registrations/m") if name.endswith(".done")]
    assert newest == ["registrations/m/000001.done"]
    assert json.loads(world.store.read("registrations/m/000001") or b"")["until"] > 0
