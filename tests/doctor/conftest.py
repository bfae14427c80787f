"""A world in which a run would succeed: real servers on loopback, real files, and knobs.

Each server answers the few paths that the doctor asks, in the form of the real one's answers; the
store's is moto's, the teacher is the scripted one.
"""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import kubernetes
import numpy as np
import pytest
from moto.server import ThreadedMotoServer
from safetensors.numpy import save_file

from chainsight.config import RunConfig
from chainsight.demo import teacher as scripted
from chainsight.doctor import Check, Cluster, examine

ROOT = Path(__file__).parents[2]
KEY = "sk-a-key-of-the-test-0123456789"
DIGEST = "sha256:" + "a" * 64
Reaction = tuple[int, Any] | tuple[int, Any, dict[str, str]]


class Server(ThreadingHTTPServer):
    """Answers by `routes`: "METHOD path" (or "METHOD *") to a reaction or to what makes one."""

    daemon_threads = True

    def __init__(self, routes: dict[str, Any]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.routes = routes
        self.seen: list[tuple[str, dict[str, str], Any]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer on a kept connection waits 40 ms
    wbufsize = -1

    def react(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        asked = f"{self.command} {urlsplit(self.path).path}"
        self.server.seen.append((f"{self.command} {self.path}", dict(self.headers.items()), body))
        routes = self.server.routes
        reaction = routes.get(asked, routes.get(f"{self.command} *", (404, {"message": "none"})))
        status, answer, *headers = reaction(body) if callable(reaction) else reaction
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **dict(*headers)}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = react  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def serve() -> Iterator[Callable[[dict[str, Any]], Server]]:
    """`serve(routes)` starts a server that lives as long as the test."""
    with ExitStack() as stack:

        def start(routes: dict[str, Any]) -> Server:
            server = Server(routes)
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            return server

        yield start


@pytest.fixture
def nobody() -> str:
    """An address at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def bucket(moto: str) -> str:
    boto3.client(
        "s3",
        endpoint_url=moto,
        region_name="us-east-1",
        aws_access_key_id="tester",
        aws_secret_access_key="secret",
    ).create_bucket(Bucket="doctors")
    return "doctors"


def mlflow_routes() -> dict[str, Any]:
    api = "/api/2.0/mlflow"
    return {
        f"GET {api}/experiments/get-by-name": (200, {"experiment": {"experiment_id": "7"}}),
        f"POST {api}/experiments/set-experiment-tag": (200, {}),
        f"GET {api}/registered-models/search": (200, {}),
    }


def node(gpus: int = 8, **taint: str) -> dict[str, Any]:
    status = {"allocatable": {"cpu": "96", "nvidia.com/gpu": str(gpus)}}
    return {"spec": {"taints": [taint] if taint else None}, "status": status}


@dataclass
class Kube:
    """The cluster behind the API server: what it has, what its caller may not."""

    denied: set[tuple[str, str]] = field(default_factory=set)
    reviews: list[dict[str, Any]] = field(default_factory=list)

    def routes(self) -> dict[str, Any]:
        trainer, there = "/apis/trainer.kubeflow.org/v1alpha1", (200, {"metadata": {}})
        spaced = f"{trainer}/namespaces/team"
        defined = [
            {"name": "trainjobs"},
            {"name": "trainjobs/status"},
            {"name": "trainingruntimes"},
        ]
        kueue = {"preferredVersion": {"groupVersion": "kueue.x-k8s.io/v1beta2"}}
        taint = {"key": "nvidia.com/gpu", "effect": "NoSchedule"}
        return {
            "GET /version": (200, {"gitVersion": "v1.34.1"}),
            f"GET {trainer}": (200, {"kind": "APIResourceList", "resources": defined}),
            f"GET {spaced}/trainingruntimes/chainsight-torch": there,
            "GET /apis/kueue.x-k8s.io": (200, kueue),
            "GET /apis/kueue.x-k8s.io/v1beta2/namespaces/team/localqueues/gpus": there,
            "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews": self.review,
            "GET /api/v1/nodes": (200, {"items": [node(0), node(8, **taint), node(8, **taint)]}),
            **{
                f"GET /api/v1/namespaces/team/secrets/chainsight-{name}": there
                for name in ("teacher", "store", "tracking")
            },
        }

    def review(self, body: Any) -> Reaction:
        asked = body["spec"]["resourceAttributes"]
        self.reviews.append(asked)
        resource = f"{asked['resource']}/{asked['subresource']}".rstrip("/")
        return 201, {"status": {"allowed": (asked["verb"], resource) not in self.denied}}


@dataclass
class World:
    """Everything that a run needs. A test breaks one thing and calls `findings`."""

    folder: Path
    settings: dict[str, Any]
    mlflow: Server
    api: Server
    kube: Kube
    images: dict[str, str]
    environment: pytest.MonkeyPatch
    s3_uri: str
    free_bytes: int = 500 * 10**9
    where: Any = "task"
    spend: bool = True

    def in_a_pod(self) -> None:
        """Pods share no folder: the store is in S3. Elsewhere it is not, as boto3 is slow."""
        self.where = "pod"
        self.set("run.store", self.s3_uri)

    def findings(self) -> list[Check]:
        return examine(
            RunConfig.model_validate(self.settings),
            where=self.where,
            spend=self.spend,
            images=self.images,
            cluster=self.cluster(),
            disk_usage=lambda path: type("Usage", (), {"free": self.free_bytes}),
        )

    def cluster(self) -> Cluster:
        settings = kubernetes.client.Configuration(host=self.api.url)
        settings.retries = False
        return Cluster(namespace="team", api=kubernetes.client.ApiClient(settings))

    def set(self, dotted: str, value: Any) -> None:
        *parents, last = dotted.split(".")
        section = self.settings
        for parent in parents:
            section = section.setdefault(parent, {})
        section[last] = value


def checkpoint(folder: Path) -> Path:
    """A folder as save_pretrained leaves it, with an index over two files."""
    folder.mkdir()
    text = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2}
    (folder / "config.json").write_text(
        json.dumps({"model_type": "llava_next", "text_config": text})
    )
    shards = {
        "model-00001-of-00002.safetensors": ["embed.weight", "layers.0.weight"],
        "model-00002-of-00002.safetensors": ["layers.1.weight", "head.weight"],
    }
    for name, tensors in shards.items():
        save_file({one: np.ones((4, 4), "float32") for one in tensors}, folder / name)
    weight_map = {tensor: name for name, tensors in shards.items() for tensor in tensors}
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture(scope="session")
def teacher() -> Iterator[str]:
    with scripted.serve(required_key=KEY) as handle:
        yield handle.url


@pytest.fixture
def world(
    tmp_path: Path,
    serve: Callable[[dict[str, Any]], Server],
    moto: str,
    bucket: str,
    teacher: str,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    environment = {
        "AWS_ENDPOINT_URL_S3": moto,
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": teacher,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    mlflow, kube = serve(mlflow_routes()), Kube()
    chartqa = {"dataset": "chartqa", "source": str(ROOT / "tests/fixtures/chartqa")}
    settings = {
        "run": {
            "home": str(tmp_path / "home"),
            "tracking_uri": mlflow.url,
        },
        "model": {"base": str(checkpoint(tmp_path / "base"))},
        "prepare": {
            "examples": [{**chartqa, "split": "train"}],
            "benchmarks": [{**chartqa, "split": "test"}],
        },
        "distill": {
            "teacher_model": "scripted",
            "price": {"prompt": 5, "completion": 15},
            "budget_usd": 5,
        },
        "platform": {"launcher": "trainjob", "nodes": 2, "queue": "gpus", "gpu": "H100"},
    }
    images = {stage: f"registry.test/chainsight-{stage}@{DIGEST}" for stage in ("sft", "distill")}
    api, s3_uri = serve(kube.routes()), f"s3://{bucket}/team"
    return World(tmp_path, settings, mlflow, api, kube, images, monkeypatch, s3_uri)
