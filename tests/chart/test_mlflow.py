"""The MLflow server: its flags, who it answers, and what a model version may be made of."""

import re
from typing import Any

import pytest
from charts import RIGHT, Body, Rendered, of_kind, pods, render, the

from chainsight.store.base import ATTEMPT as ATTEMPT_NAME

STORE = (
    "store.uri=s3://chainsight/store",
    'profiles.paper.config:={"register": {"model_name": "chainsight"}}',
)
KEY, ATTEMPT = "0a" * 32, "attempt-" + "1b" * 16
SOURCES = {
    f"s3://chainsight/store/aligned/{KEY}/{ATTEMPT}": True,
    "models:/chainsight/12": True,
    f"s3://chainsight/store/aligned/{KEY}/{ATTEMPT}\n": False,
    "models:/chainsight/12\n": False,
    f"s3://chainsight/store/policy/{KEY}/{ATTEMPT}": False,
    f"s3://chainsight/store/aligned/{KEY}/{ATTEMPT}/../../x": False,
    f"s3://chainsight/store/aligned/{KEY}/{ATTEMPT}x": False,
    f"s3://elsewhere/store/aligned/{KEY}/{ATTEMPT}": False,
    f"s3://elsewhere/s3://chainsight/store/aligned/{KEY}/{ATTEMPT}": False,
    f"s3://chainsightXstore/aligned/{KEY}/{ATTEMPT}": False,
    "models:/chainsight/latest": False,
    "models:/other/1": False,
    "xmodels:/chainsight/1": False,
    "file:///etc/passwd": False,
    "https://example.com/model": False,
    "runs:/0/model": False,
    "": False,
}
HOSTS = {
    "cs-chainsight-mlflow:5000": True,
    "cs-chainsight-mlflow.runs:5000": True,
    "cs-chainsight-mlflow.runs.svc:5000": True,
    "cs-chainsight-mlflow.runs.svc.cluster.local:5000": True,
    "localhost:5000": True,
    "evil.example.com": False,
    "10.evil.example.com": False,
    "192.168.evil.example.com:5000": False,
    "cs-chainsight-mlflow.evil.example.com:5000": False,
}


def _container(objects: tuple[Rendered, ...]) -> Body:
    """The server's own container."""
    (pod,) = pods((the(objects, "Deployment", "mlflow"),))
    return next(c for c in pod.spec["containers"] if "server" in _words(c))


def _words(container: Body) -> list[str]:
    return [*container.get("command", ()), *container.get("args", ())]


def _flags(container: Body) -> dict[str, str]:
    """`--a=b` and `--a b`, as MLflow's own command line reads them."""
    from mlflow.cli import server

    words = _words(container)
    context = server.make_context("server", words[words.index("server") + 1 :])
    assert not context.args
    return {name: value for name, value in context.params.items() if value is not None}


def _environment(container: Body) -> dict[str, Any]:
    return {v["name"]: v.get("value", v.get("valueFrom")) for v in container["env"]}


@pytest.mark.parametrize("values", RIGHT)
def test_every_flag_is_one_that_mlflow_knows(values: str) -> None:
    objects = render(values, sets=("mlflow.enabled=true", "tracking.uri="))
    flags = _flags(_container(objects))
    assert flags["app_name"] == "basic-auth"
    assert flags["expose_prometheus"]
    assert flags["host"] == "0.0.0.0"
    assert not flags.get("disable_security_middleware")


def test_jobs_are_off_and_pickles_are_refused() -> None:
    variables = _environment(_container(render("default")))
    assert variables["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert variables["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    assert variables["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_passwords_and_addresses_of_databases_come_from_secrets() -> None:
    variables = _environment(_container(render("default")))
    for name in ("MLFLOW_FLASK_SERVER_SECRET_KEY", "MLFLOW_AUTH_ADMIN_PASSWORD",
                 "MLFLOW_BACKEND_STORE_URI"):  # fmt: skip
        assert "secretKeyRef" in variables[name], name
        assert not variables[name]["secretKeyRef"].get("optional"), name


@pytest.mark.parametrize(("source", "expected"), SOURCES.items())
def test_a_model_version_is_made_of_aligned_models_and_candidates_alone(
    source: str, expected: bool
) -> None:
    """MLflow searches the pattern, it does not match it: each part needs its anchors."""
    objects = render("default", sets=STORE)
    pattern = _environment(_container(objects))[
        "MLFLOW_CREATE_MODEL_VERSION_SOURCE_VALIDATION_REGEX"
    ]
    assert (re.search(pattern, source) is not None) is expected


def test_the_sources_above_are_named_as_the_store_names_what_it_writes() -> None:
    assert ATTEMPT_NAME.fullmatch(ATTEMPT)
    assert re.fullmatch(r"[0-9a-f]{64}", KEY)


@pytest.mark.parametrize(("host", "expected"), HOSTS.items())
def test_the_server_answers_under_its_own_names_alone(host: str, expected: bool) -> None:
    """By MLflow's own rule; otherwise a web page could rebind a name to it (CVE-2025-14279)."""
    from mlflow.server.security_utils import is_allowed_host_header

    hosts = _flags(_container(render("default")))["allowed_hosts"].split(",")
    assert is_allowed_host_header(hosts, host) is expected


def test_behind_an_ingress_its_name_and_origin_are_allowed() -> None:
    """MLflow does not know that its own address is its own origin."""
    from mlflow.server.security_utils import is_allowed_host_header, should_block_cors_request

    sets = ("mlflow.ingress.enabled=true", "mlflow.ingress.host=ml.example.org",
            "mlflow.ingress.tlsSecret=cert")  # fmt: skip
    flags = _flags(_container(render("default", sets=sets)))
    hosts, origins = flags["allowed_hosts"].split(","), flags["cors_allowed_origins"].split(",")
    assert is_allowed_host_header(hosts, "ml.example.org")
    assert not should_block_cors_request("https://ml.example.org", "POST", origins)
    for origin in ("http://ml.example.org", "https://ml.example.org.evil.com", "https://evil.com",
                   "http://localhost.evil.com"):  # fmt: skip
        assert should_block_cors_request(origin, "POST", origins), origin
    assert "*" not in hosts + origins


def test_metrics_are_scraped_by_names_that_the_server_answers_to() -> None:
    """/metrics is not exempt from the check of hosts, and basic-auth guards it."""
    objects = render("all-on")
    monitors = [one for one in of_kind(objects, "ServiceMonitor") if one.component == "mlflow"]
    for monitor in monitors:
        for endpoint in monitor.body["spec"]["endpoints"]:
            assert "basicAuth" in endpoint, "401 without credentials"
    hosts = _flags(_container(objects))["allowed_hosts"].split(",")
    assert any(host.startswith("$(POD_IP)") for host in hosts) or any("10.*" in h for h in hosts)


def test_readiness_asks_the_database_and_liveness_does_not() -> None:
    """/health says nothing of the database; and a restart mends none."""
    container = _container(render("default"))
    assert container["livenessProbe"]["httpGet"]["path"] == "/health"
    assert container["readinessProbe"].get("httpGet", {}).get("path") != "/health"


def test_several_pods_share_their_sessions_and_users() -> None:
    """basic-auth's default is a file of users in each pod."""
    container = _container(render("default", sets=("mlflow.replicas=3",)))
    variables = _environment(container)
    assert "secretKeyRef" in variables["MLFLOW_FLASK_SERVER_SECRET_KEY"]
    path = variables["MLFLOW_AUTH_CONFIG_PATH"]
    assert any(path.startswith(mount["mountPath"]) for mount in container["volumeMounts"])
