"""A cluster to launch in: the API server's stand-in and the real client, connected to it."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import kubernetes
import pytest
from apiserver import NAMESPACE, TOKEN, ApiServer
from launching import IMAGE, KEY, Clock, Launch

from chainsight import runner
from chainsight.launch.cluster import Cluster
from chainsight.launch.manifest import Work
from chainsight.launch.refusals import RULES
from chainsight.store import LocalStore


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
    run = {"name": "paper", "store": "s3://bucket/store"}
    job = {"stage": "sft", "run": run, "inputs": {"examples": "s3://e"}}
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
