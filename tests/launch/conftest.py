"""A cluster to launch in: the API server's stand-in and the real client, connected to it."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import kubernetes
import pytest
from apiserver import NAMESPACE, TOKEN, ApiServer

from chainsight import runner
from chainsight.config import PlatformSection
from chainsight.launch.cluster import Cluster
from chainsight.launch.manifest import Work
from chainsight.launch.refusals import RULES
from chainsight.launch.trainjob import run_trainjob
from chainsight.store import LocalStore

KEY = "ab12" * 16
NAME = f"chainsight-sft-{KEY[:16]}"
IMAGE = "registry.example/chainsight-sft@sha256:" + "0" * 64


class Clock:
    """Seconds that pass only in `sleep`; it naps for real, so that others get on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        time.sleep(0.01)


class Launch:
    """A launcher at work in a thread, what it said, and how it ended."""

    def __init__(self, cluster: Cluster, work: Work, said: list[str], **options: Any) -> None:
        self.said, self.committed = said, threading.Event()
        self.error: Exception | None = None
        platform = options.pop("platform", PlatformSection())
        given = {"cluster": cluster, "environment": {}, "say": said.append, **options}

        def target() -> None:
            try:
                run_trainjob(work, platform, done=self.committed.is_set, **given)
            except Exception as error:
                self.error = error

        self._thread = threading.Thread(target=target, daemon=True)
        self._thread.start()

    def ended(self) -> "Launch":
        self._thread.join(20)
        assert not self._thread.is_alive(), self.said
        return self

    def succeeded(self) -> "Launch":
        self.ended()
        if self.error:
            raise self.error
        return self

    def failed(self) -> str:
        self.ended()
        assert self.error is not None
        return str(self.error)

    def text(self) -> str:
        return "\n".join(self.said)


def wait_for(condition: Callable[[], Any], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.01)


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server
        asked = {(verb, resource) for verb, resource in server.asked}
    allowed = {(verb, resource) for _, resource, verbs in RULES for verb in verbs.split(", ")}
    assert asked <= allowed  # what the documented Role allows


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def connect(server: ApiServer, clock: Clock, said: list[str]) -> Callable[..., Cluster]:
    """Makes a client; `token` and `watch_seconds` by name."""

    def make(token: str = TOKEN, watch_seconds: int = 20) -> Cluster:
        configuration = kubernetes.client.Configuration(host=server.url)
        configuration.api_key["authorization"] = token
        configuration.api_key_prefix["authorization"] = "Bearer"
        return Cluster(
            configuration, NAMESPACE, say=said.append, clock=clock, sleep=clock.sleep,
            watch_seconds=watch_seconds,
        )  # fmt: skip

    return make


@pytest.fixture
def work() -> Work:
    job = {"stage": "sft", "run": {"store": "s3://bucket/store"}, "inputs": {"examples": "s3://e"}}
    return Work("sft", KEY, json.dumps(job), IMAGE, pipeline_run="run-1")


@pytest.fixture
def launch(connect: Callable[..., Cluster], work: Work, said: list[str]) -> Callable[..., Launch]:
    """Starts a launcher; `watch_seconds`, `token`, `work`, `platform` and `owner` by name."""

    def start(work: Work = work, **options: Any) -> Launch:
        client = {name: options.pop(name) for name in ("token", "watch_seconds") if name in options}
        return Launch(connect(**client), work, said, **options)

    return start


@pytest.fixture
def job() -> Callable[[LocalStore], runner.Job]:
    """Makes a job on a store: of a stage that needs no inputs, for its key alone."""

    def make(store: LocalStore) -> runner.Job:
        dataset = {"dataset": "bars", "limit": 4}
        config = {"examples": [dataset], "benchmarks": [dataset]}
        return runner.job("prepare", config, run={}, model={}, inputs={}, store=store)

    return make
