"""The image of MLflow's server: what is in it, and that it serves, migrates and signs in."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from locked_down import LOCKED_DOWN, UID
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCK = Path(__file__).parents[2] / "docker/requirements/mlflow.txt"
DATABASE = "sqlite:////tmp/mlflow.db"
PASSWORD = "only-for-this-test"
INSTALLED = """
import json
from importlib.metadata import distributions
print(json.dumps({d.name: d.version for d in distributions()}))
"""
ASK = """
import base64, sys, time, urllib.error, urllib.request
path, user = sys.argv[1:]
request = urllib.request.Request("http://127.0.0.1:5000" + path)
if user:
    request.add_header("Authorization", "Basic " + base64.b64encode(user.encode()).decode())
for _ in range(120):
    try:
        print(urllib.request.urlopen(request, timeout=30).status, end="")
        break
    except urllib.error.HTTPError as error:
        print(error.code, end="")
        break
    except OSError:
        time.sleep(0.5)
"""
SERVE = (
    f"mlflow db upgrade {DATABASE} && exec mlflow server --backend-store-uri {DATABASE} "
    "--artifacts-destination s3://bucket/mlflow --host 127.0.0.1 --port 5000 --workers 1 "
    "--app-name basic-auth --expose-prometheus /tmp/prometheus --allowed-hosts 127.0.0.1:5000"
)


@pytest.fixture(scope="module")
def server(engine: Any, lock: dict[str, Any]) -> Iterator[Any]:
    """A container that serves on its own loopback, with a read-only root."""
    container = engine.containers.run(
        lock["services"]["mlflow"]["image"],
        ["sh", "-c", SERVE],
        environment={
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "only-for-this-test",
            "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        },
        detach=True,
        **LOCKED_DOWN,
    )
    yield container
    container.remove(force=True)


def _status(server: Any, path: str, user: str = f"admin:{PASSWORD}") -> int:
    """What the server answers to a GET from inside its container."""
    done = server.exec_run(["python", "-c", ASK, path, user])
    assert done.exit_code == 0, server.logs().decode()
    return int(done.output or 0)


def test_the_image_holds_what_its_lock_says_and_no_more(probe: Any) -> None:
    installed = json.loads(probe("mlflow", INSTALLED))
    lines = re.findall(r"^[a-z0-9].*?(?= \\$)", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    pins = [pin for pin in map(Requirement, lines) if pin.marker is None or pin.marker.evaluate()]
    wanted = {canonicalize_name(p.name): str(p.specifier).removeprefix("==") for p in pins}
    assert {canonicalize_name(name): version for name, version in installed.items()} == wanted


def test_the_server_starts_on_a_read_only_root_and_wants_a_name(server: Any) -> None:
    """`/health` is open and says nothing of the database; the interface is neither."""
    assert _status(server, "/health", "") == 200, server.logs().decode()
    search = "/api/2.0/mlflow/registered-models/search"
    assert _status(server, search) == 200
    assert _status(server, search, "") == 401
    assert _status(server, search, "admin:wrong") == 401
    assert _status(server, "/metrics") == 200
    assert _status(server, "/metrics", "") == 401


def test_the_job_interface_is_closed(server: Any) -> None:
    """It was once open to everyone (CVE-2026-0545); the image turns it off."""
    assert _status(server, "/ajax-api/3.0/jobs/x") != 200
    assert "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false" in server.attrs["Config"]["Env"]


def test_the_container_runs_as_nobody_in_particular(engine: Any, lock: dict[str, Any]) -> None:
    image = engine.images.get(lock["services"]["mlflow"]["image"])
    assert image.attrs["Config"]["User"] == f"{UID}:{UID}"
    assert image.labels["org.opencontainers.image.title"] == "chainsight-mlflow"
