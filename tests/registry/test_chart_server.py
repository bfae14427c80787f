"""The MLflow server with the flags, variables and script of the rendered chart, on PostgreSQL."""

import base64
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

postgres = pytest.importorskip("postgres")
processes = pytest.importorskip("processes")
CHART = Path(__file__).parents[2] / "k8s/chainsight"
BIN = Path(sys.executable).parent
STRANGER = "Basic " + base64.b64encode(b"admin:wrong").decode()
PASSWORD = "a password of the admin"
SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"
SOURCE = f"s3://chainsight/store/aligned/{'a' * 64}/attempt-{'b' * 32}"
pytestmark = [pytest.mark.slow, pytest.mark.registry]


@dataclass
class Pod:
    """What the chart renders for MLflow, to be run here."""

    folder: Path
    port: int
    command: list[str]
    environment: dict[str, str]
    database: dict[str, str]

    def script(self, *arguments: str, only: dict[str, str] | None = None, **more: str) -> int:
        """The script of the pods; with `only` in no other environment."""
        base = self.environment if only is None else only | {"PATH": os.environ["PATH"]}
        done = subprocess.run(
            [sys.executable, str(self.folder / "mlflow_pod.py"), *arguments],
            env=base | more, capture_output=True, text=True, check=False, cwd=self.folder,
        )  # fmt: skip
        self.said = done.stdout + done.stderr
        return done.returncode

    def call(self, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
        """Status and answer, as the administrator if no header says otherwise."""
        user = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
        data = None if body is None else json.dumps(body).encode()
        known = {"Authorization": f"Basic {user}", "Content-Type": "application/json"}
        url = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, data, known | headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)


@pytest.fixture(scope="module")
def database() -> Iterator[Any]:
    if postgres.tools() is None:
        pytest.skip(postgres.MISSING)
    found = postgres.Postgres()
    found.start()
    yield found
    found.remove()


@pytest.fixture(scope="module")
def pod(database: Any, tmp_path_factory: pytest.TempPathFactory) -> Pod:
    """The container `mlflow`, with its Secrets' values and folders of this machine."""
    folder, port = tmp_path_factory.mktemp("pod"), processes.free_port()
    objects = _rendered(f"mlflow.port={port}", "mlflow.workers=1")
    script = next(o["data"] for o in objects if "mlflow_pod.py" in (o.get("data") or {}))
    (folder / "mlflow_pod.py").write_text(script["mlflow_pod.py"])
    (deployment,) = (
        o for o in objects
        if o["kind"] == "Deployment" and o["metadata"]["name"] == "cs-chainsight-mlflow"
    )  # fmt: skip
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    addresses = {
        "MLFLOW_BACKEND_STORE_URI": database.uri("mlflow"),
        "CHAINSIGHT_MLFLOW_AUTH_URI": database.uri("mlflow_auth"),
    }
    plain = {v["name"]: v["value"] for v in container["env"] if "value" in v}
    secret = {
        "MLFLOW_AUTH_ADMIN_USERNAME": "admin",
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "s" * 32,
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "basic_auth.ini"),
        "CHAINSIGHT_MLFLOW_DEFAULT_PERMISSION": "READ",
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }
    words = [*container["command"], *container["args"]]
    places = {"$(POD_IP)": "127.0.0.1", "/prometheus": str(folder / "prometheus")}
    for place, here in places.items():
        words = [word.replace(place, here) for word in words]
    return Pod(folder, port, words, plain | addresses | secret, addresses)


def _rendered(*settings: str) -> list[Any]:
    helm = os.environ.get("HELM") or shutil.which("helm")
    if not helm:
        pytest.skip("needs helm: put one into PATH, or name it in HELM")
    sets = [word for setting in settings for word in ("--set", setting)]
    command = [helm, "template", "cs", str(CHART), "-n", "ns", *sets]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [one for one in yaml.safe_load_all(done.stdout) if one]


@pytest.fixture(scope="module")
def migrated(pod: Pod) -> Pod:
    """Databases with a schema, made by the hook Job's container, which has no more than this."""
    assert pod.script("migrate", only=pod.database) == 0, pod.said
    assert pod.script("settings", pod.environment["MLFLOW_AUTH_CONFIG_PATH"]) == 0, pod.said
    return pod


@pytest.fixture(scope="module")
def server(migrated: Pod) -> Iterator[Pod]:
    """The server, up."""
    command = [str(BIN / migrated.command[0]), *migrated.command[1:]]
    running = processes.Server(command, migrated.folder / "log", migrated.environment)
    running.start(lambda: migrated.call("/health")[0] == 200, 120)
    yield migrated
    running.stop()


def test_a_second_migration_changes_nothing(migrated: Pod, database: Any) -> None:
    before = database.execute("SELECT * FROM alembic_version")
    assert migrated.script("migrate", "--wait") == 0, migrated.said
    assert database.execute("SELECT * FROM alembic_version") == before
    users = database.execute("SELECT * FROM alembic_version_auth", database="mlflow_auth")
    assert len(users) == 1


def test_addresses_that_mlflow_would_misread_are_refused(pod: Pod) -> None:
    assert pod.script("migrate", MLFLOW_BACKEND_STORE_URI="postgresql://u:hidden@h/d") == 1
    assert "write postgresql+psycopg2://" in pod.said
    assert "hidden" not in pod.said
    same = pod.database["MLFLOW_BACKEND_STORE_URI"]
    assert pod.script("migrate", CHAINSIGHT_MLFLOW_AUTH_URI=same) == 1
    assert "must be two" in pod.said


def test_the_settings_are_written_again_when_a_pod_starts_again(migrated: Pod) -> None:
    path = migrated.environment["MLFLOW_AUTH_CONFIG_PATH"]
    assert migrated.script("settings", path) == 0, migrated.said
    assert Path(path).stat().st_mode & 0o007 == 0


def test_the_server_answers_its_own_names_and_users(server: Pod) -> None:
    for host in ("cs-chainsight-mlflow", "cs-chainsight-mlflow.ns.svc.cluster.local", "localhost"):
        assert server.call(SEARCH, Host=f"{host}:{server.port}")[0] == 200, host
    for host in ("evil.example.com", "10.1.2.3", "cs-chainsight-mlflow.evil.com"):
        assert server.call(SEARCH, Host=f"{host}:{server.port}")[0] == 403, host
    for path in (SEARCH, "/metrics", "/ajax-api/3.0/jobs/x"):
        assert server.call(path, Authorization=STRANGER)[0] == 401, path
        assert server.call(path, Authorization="none")[0] == 401, path
    assert "mlflow_http_request_total" in server.call("/metrics")[1]


def test_versions_are_made_of_the_stores_models_alone(server: Pod) -> None:
    base = "/api/2.0/mlflow"
    server.call(f"{base}/registered-models/create", {"name": "llava-reasoner"})

    def create(source: str) -> int:
        version = {"name": "llava-reasoner", "source": source}
        return server.call(f"{base}/model-versions/create", version)[0]

    assert create(SOURCE) == 200
    assert create("models:/llava-reasoner/1") == 200
    for source in (f"{SOURCE}\n", f"{SOURCE}/..", "file:///etc", f"https://x/{SOURCE}"):
        assert create(source) == 400, source


def test_runs_keep_their_files_in_the_store_without_the_server(server: Pod) -> None:
    server.call("/api/2.0/mlflow/experiments/create", {"name": "e"})
    found = server.call("/api/2.0/mlflow/experiments/get-by-name?experiment_name=e")[1]
    location = json.loads(found)["experiment"]["artifact_location"]
    assert location.startswith("s3://chainsight/store/mlflow/")


def test_readiness_follows_the_database_and_liveness_does_not(server: Pod, database: Any) -> None:
    port = str(server.port)
    assert server.script("ready", port) == 0, server.said
    database.kill()
    try:
        assert server.script("ready", port) == 1
        assert "HTTP 503" in server.said
        assert server.call("/health")[0] == 200
    finally:
        database.start()
    assert server.script("ready", port) == 0, server.said


def test_a_password_that_was_changed_in_mlflow_takes_no_pod_out_of_service(server: Pod) -> None:
    old = {"MLFLOW_AUTH_ADMIN_PASSWORD": "no longer the one"}
    assert server.script("ready", str(server.port), **old) == 0


def test_a_server_that_is_not_up_is_not_ready(server: Pod) -> None:
    assert server.script("ready", str(processes.free_port())) == 1
    assert "no answer" in server.said


def test_two_pods_start_at_once_on_migrated_databases(migrated: Pod, tmp_path: Path) -> None:
    ports = [processes.free_port() for _ in range(2)]
    servers = []
    for port in ports:
        words = [word.replace(str(migrated.port), str(port)) for word in migrated.command]
        words = [w.replace("/prometheus", f"/prometheus-{port}") for w in words]
        log = tmp_path / f"{port}.log"
        command = [str(BIN / words[0]), *words[1:]]
        servers.append(processes.Server(command, log, migrated.environment))

    def start(both: tuple[Any, int]) -> None:
        pod = Pod(migrated.folder, both[1], [], migrated.environment, {})
        both[0].start(lambda: pod.call(SEARCH)[0] == 200, 150)

    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(start, zip(servers, ports, strict=True)))
    finally:
        for one in servers:
            one.stop()
