"""What the chart does only where it sees a cluster: it looks for APIs and Secrets, keeps passwords.

Helm talks to a small Kubernetes API on the loopback, which knows what a test gives it.
"""

import base64
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).parents[2] / "k8s/chainsight"
TRYOUT = ("postgres.enabled=true", "s3.enabled=true", "mlflow.replicas=1")
TRAINER, KUEUE = "trainer.kubeflow.org/v1alpha1", "kueue.x-k8s.io/v1beta2"
KINDS = {
    "v1": {"secrets": "Secret", "serviceaccounts": "ServiceAccount", "configmaps": "ConfigMap",
           "services": "Service"},
    "apps/v1": {"deployments": "Deployment", "statefulsets": "StatefulSet"},
    "batch/v1": {"jobs": "Job"},
    "rbac.authorization.k8s.io/v1": {"roles": "Role", "rolebindings": "RoleBinding"},
    "networking.k8s.io/v1": {"networkpolicies": "NetworkPolicy", "ingresses": "Ingress"},
    "policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
    TRAINER: {"trainingruntimes": "TrainingRuntime"},
    KUEUE: {"localqueues": "LocalQueue"},
}  # fmt: skip
OWNED = {
    "labels": {"app.kubernetes.io/managed-by": "Helm"},
    "annotations": {"meta.helm.sh/release-name": "cs", "meta.helm.sh/release-namespace": "ns"},
}


class Cluster:
    """A Kubernetes API that serves discovery and single objects."""

    def __init__(self, kubeconfig: Path) -> None:
        self.objects: dict[tuple[str, str, str], Any] = {}
        self.apis = set(KINDS) - {TRAINER, KUEUE}
        self.kubeconfig = kubeconfig
        self.add("serviceaccounts", "ServiceAccount", "default")

    def add(self, plural: str, kind: str, name: str, namespace: str = "ns", **more: Any) -> None:
        """Let an object be there."""
        metadata = {"name": name, "namespace": namespace} | OWNED
        made = {"apiVersion": "v1", "kind": kind, "metadata": metadata} | more
        self.objects[plural, namespace, name] = made

    def answer(self, path: str) -> Any:
        """What the API says to GET `path`; none: not found."""
        if path == "/version":
            return {"major": "1", "minor": "35", "gitVersion": "v1.35.0"}
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            groups = [_group(api) for api in sorted(self.apis - {"v1"})]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        named = re.fullmatch(r"/api/v1/namespaces/([^/]+)/([^/]+)/([^/]+)", path)
        if named:
            return self.objects.get((named[2], named[1], named[3]))
        api = path.removeprefix("/apis/").removeprefix("/api/")
        return _resources(api) if api in self.apis else None

    def render(self, *settings: str) -> "subprocess.CompletedProcess[str]":
        """What `helm install --dry-run=server` would send."""
        helm = os.environ.get("HELM") or shutil.which("helm")
        if not helm:
            pytest.skip("needs helm: `make chart` fetches one")
        flags = ["--dry-run=server", "--disable-openapi-validation"]
        command = [helm, "template", "cs", str(CHART), "-n", "ns", *flags]
        sets = [word for setting in settings for word in ("--set", setting)]
        place = ["--kubeconfig", str(self.kubeconfig)]
        return subprocess.run(
            [*command, *place, *sets], capture_output=True, text=True, check=False
        )


def _group(api: str) -> Any:
    version = {"groupVersion": api, "version": api.partition("/")[2]}
    return {"name": api.partition("/")[0], "versions": [version], "preferredVersion": version}


def _resources(api: str) -> Any:
    rows = [
        {"name": name, "singularName": "", "namespaced": True, "kind": kind, "verbs": ["get"]}
        for name, kind in KINDS[api].items()
    ]
    listed = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api}
    return listed | {"resources": rows}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster with the account `default`, without Secrets, Trainer and Kueue."""
    state = Cluster(tmp_path / "kubeconfig")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = state.answer(self.path.partition("?")[0])
            missing = {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}
            data = json.dumps(missing if found is None else found).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server = {"server": f"http://127.0.0.1:{http.server_port}"}
        context = {"cluster": "here", "user": "me"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "here", "cluster": server}],
            "users": [{"name": "me", "user": {"token": "none"}}],
            "contexts": [{"name": "here", "context": context}],
            "current-context": "here",
        }
        state.kubeconfig.write_text(yaml.safe_dump(config))
        thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield state
        finally:
            http.shutdown()
            thread.join()


def test_a_secret_that_is_missing_is_named_with_the_command_that_makes_it(cluster: Cluster) -> None:
    for name in ("cs-chainsight-mlflow-database", "cs-chainsight-mlflow-auth"):
        done = cluster.render()
        assert done.returncode != 0
        assert f"the Secret {name} is not in namespace ns" in done.stderr
        assert f"kubectl -n ns create secret generic {name} --from-literal=" in done.stderr
        cluster.add("secrets", "Secret", name)
    done = cluster.render()
    assert done.returncode == 0, done.stderr


def test_an_api_that_is_missing_is_named_with_who_brings_it(cluster: Cluster) -> None:
    for name in ("cs-chainsight-mlflow-database", "cs-chainsight-mlflow-auth"):
        cluster.add("secrets", "Secret", name)
    for api, setting, who in (
        (TRAINER, "trainer.enabled=true", "Kubeflow Trainer"),
        (KUEUE, "kueue.enabled=true", "Kueue"),
    ):
        done = cluster.render("trainer.enabled=true", setting)
        assert f"{setting.partition('=')[0]} is true, but this cluster has no API {api}" in (
            done.stderr
        )
        assert f"install {who}" in done.stderr
        cluster.apis.add(api)
    done = cluster.render("trainer.enabled=true", "kueue.enabled=true")
    assert done.returncode == 0, done.stderr


def test_nothing_is_looked_at_where_that_is_said(cluster: Cluster) -> None:
    done = cluster.render("checks=never")
    assert done.returncode == 0, done.stderr


def test_passwords_of_the_try_out_services_are_kept_over_upgrades(cluster: Cluster) -> None:
    first, other = _secrets(cluster), _secrets(cluster)
    assert first
    assert first != other, "random, as long as they are in no cluster"
    for (name, namespace), data in first.items():
        coded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        cluster.add("secrets", "Secret", name, namespace, data=coded)
    assert _secrets(cluster) == first


def test_the_passwords_of_the_try_out_services_fit_each_other(cluster: Cluster) -> None:
    made = _secrets(cluster)
    database = made["cs-chainsight-postgres", "ns"]
    assert (
        f":{database['password']}@cs-chainsight-postgres:5432/mlflow_auth" in database["auth-uri"]
    )
    admin = made["cs-chainsight-mlflow-auth", "ns"]
    assert len(admin["password"]) >= 12, "MLflow takes no shorter one"
    assert len(base64.urlsafe_b64decode(admin["webhook-key"])) == 32, "a Fernet key"
    for namespace in ("ns", "kubeflow"):
        user = made["cs-chainsight-tracking", namespace]
        assert user["MLFLOW_TRACKING_PASSWORD"] == admin["password"]
        store = made["cs-chainsight-s3", namespace]
        (identity,) = json.loads(store["s3.json"])["identities"]
        assert identity["credentials"] == [
            {"accessKey": store["AWS_ACCESS_KEY_ID"], "secretKey": store["AWS_SECRET_ACCESS_KEY"]}
        ]


def _secrets(cluster: Cluster) -> dict[tuple[str, str], dict[str, str]]:
    done = cluster.render(*TRYOUT)
    assert done.returncode == 0, done.stderr
    objects = [one for one in yaml.safe_load_all(done.stdout) if one]
    return {
        (one["metadata"]["name"], one["metadata"]["namespace"]): one["stringData"]
        for one in objects
        if one["kind"] == "Secret"
    }
