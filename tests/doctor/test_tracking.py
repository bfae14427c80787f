"""MLflow: what a server is asked, with which credentials, and what stands in for one."""

import base64
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chainsight.config import RunConfig
from chainsight.doctor import web
from chainsight.doctor.check import Check
from chainsight.doctor.tracking import tracking

Serve = Callable[[dict[str, Any]], Any]
API = "/api/2.0/mlflow"


def look(uri: str, where: Any = "here", experiment: str = "chainsight") -> Check:
    bars = [{"dataset": "bars"}]
    run = {"tracking_uri": uri, "experiment": experiment}
    raw = {"run": run, "prepare": {"examples": bars, "benchmarks": bars}}
    (check,) = tracking(RunConfig.model_validate(raw), where)
    return check


def test_an_experiment_that_is_not_there_is_created_as_the_first_stage_would(serve: Serve) -> None:
    missing = (404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such experiment"})
    server = serve(
        {
            f"GET {API}/experiments/get-by-name": missing,
            f"POST {API}/experiments/create": (200, {"experiment_id": "8"}),
            f"GET {API}/registered-models/search": (200, {}),
        }
    )
    assert look(server.url, experiment="my team/new").level == "ok"
    (asked, _, _), (_, _, created), _ = server.seen
    assert asked.endswith("get-by-name?experiment_name=my%20team/new")
    assert created == {"name": "my team/new"}


def test_name_and_password_are_sent_and_never_shown(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve({"GET *": (401, b"")})
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "anna")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hidden")
    look(server.url)
    expected = base64.b64encode(b"anna:hidden").decode()
    assert server.seen[0][1]["Authorization"] == f"Basic {expected}"
    check = look(server.url.replace("http://", "http://bob:secret@"))
    expected = base64.b64encode(b"bob:secret").decode()
    assert server.seen[1][1]["Authorization"] == f"Basic {expected}"
    assert "secret@" not in check.finding
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "token")
    look(server.url)
    assert server.seen[2][1]["Authorization"] == "Bearer token"


def test_a_server_without_a_registry_is_told(serve: Serve) -> None:
    server = serve(
        {
            f"GET {API}/experiments/get-by-name": (200, {"experiment": {"experiment_id": "7"}}),
            f"POST {API}/experiments/set-experiment-tag": (200, {}),
            f"GET {API}/registered-models/search": (501, b"no registry here"),
        }
    )
    check = look(server.url)
    assert check.level == "fail"
    assert "HTTP 501 (no registry here)" in check.finding


def test_a_redirect_is_told_and_not_followed_with_the_password(serve: Serve) -> None:
    elsewhere = serve({})
    server = serve({"GET *": (308, b"", {"Location": f"{elsewhere.url}/mlflow"})})
    check = look(server.url.replace("http://", "http://anna:hidden@"))
    assert check.level == "fail"
    assert f"HTTP 308: moved to {elsewhere.url}/mlflow" in check.finding
    assert elsewhere.seen == []


def test_a_bundle_that_is_not_there_is_told(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    check = look(serve({}).url)
    assert check.level == "fail"
    assert "bundle of authorities" in check.finding
    assert "REQUESTS_CA_BUNDLE" in check.way_out


def test_a_database_file_is_looked_into_and_a_missing_one_not_made(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    assert look(f"sqlite:///{path}").level == "ok"
    assert not path.exists()
    path.write_bytes(b"this is no database" * 100)
    check = look(f"sqlite:///{path}")
    assert (check.level, "not a database" in check.finding) == ("fail", True)
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("create table experiments (id int)")
    assert look(f"sqlite:///{path}").level == "ok"
    assert look("sqlite:////proc/chainsight/mlflow.db").level == "fail"


Start = Callable[..., str]


@pytest.fixture
def real_server(tmp_path: Path) -> Iterator[Start]:
    """`real_server(*options, **environment)` starts MLflow's own server; gives host:port."""
    servers: list[subprocess.Popen[bytes]] = []

    def start(*options: str, **environment: str) -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        command = [
            *(sys.executable, "-m", "mlflow", "server", "--workers", "1", *options),
            *("--host", "127.0.0.1", "--port", port),
            *("--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db"),
        ]
        servers.append(
            subprocess.Popen(
                command, env=os.environ | environment, cwd=tmp_path, start_new_session=True
            )
        )
        _wait_for(f"http://127.0.0.1:{port}/health", servers[-1])
        return f"127.0.0.1:{port}"

    yield start
    for server in servers:
        os.killpg(server.pid, signal.SIGKILL)  # it starts processes of its own, which outlive it
        server.wait(30)


def _wait_for(url: str, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        assert server.poll() is None, "the server has ended"
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"{url} did not come up")


@pytest.mark.slow
def test_a_real_server_is_understood(real_server: Start) -> None:
    url = f"http://{real_server()}"
    for _ in range(2):  # creates the experiment, then finds it
        assert look(url).level == "ok"
    assert look(f"{url}/some/page").level == "fail"


@pytest.mark.slow
def test_a_real_servers_refusals_are_understood(real_server: Start, tmp_path: Path) -> None:
    pytest.importorskip("flask_wtf", reason="MLflow's basic-auth app needs mlflow[auth]")
    ini = tmp_path / "auth.ini"
    ini.write_text(
        "[mlflow]\ndefault_permission = READ\n"
        f"database_uri = sqlite:///{tmp_path}/auth.db\n"
        "admin_username = root\nadmin_password = a-long-password-1\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    host = real_server(
        "--app-name",
        "basic-auth",
        MLFLOW_AUTH_CONFIG_PATH=str(ini),
        MLFLOW_FLASK_SERVER_SECRET_KEY="s" * 32,
    )
    assert look(f"http://root:a-long-password-1@{host}").level == "ok"
    stranger = look(f"http://nobody:wrong-password-1@{host}")
    assert (stranger.level, "(401)" in stranger.finding) == ("fail", True)
    created = web.call(
        f"http://{host}/api/2.0/mlflow/users/create",
        headers=web.basic("root", "a-long-password-1"),
        body={"username": "reader", "password": "a-long-password-2"},
    )
    assert created.good, created
    reader = look(f"http://reader:a-long-password-2@{host}")
    assert reader.level == "fail"
    assert "may not write to experiment 'chainsight'" in reader.finding
