"""A stand-in for the Kubernetes API: one Deployment over real HTTP, with its strategic merge.

It knows resource versions (409), rights (403), a wrong token (401) and objects that are not there
(404). What the Deployment's controller would do, tests do by `settle`, `give_up` and `pods`.
"""

import json
import re
import threading
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import kubernetes

from chainsight.launch.deployment import Deployment
from chainsight.launch.served import VERSION

TOKEN, NAMESPACE, NAME = "test-token", "team", "champion"
PATH = re.compile(
    r"/(?P<api>apis/apps/v1|api/v1)/namespaces/(?P<namespace>[^/]+)/(?P<kind>deployments|pods)"
    r"(?:/(?P<name>[^/]+))?"
)
MERGED_BY_NAME = ("containers", "initContainers", "env")


def merged(old: Any, patch: Any, key: str = "") -> Any:
    """A strategic merge: objects by key, the lists of containers and variables by name."""
    if isinstance(old, dict) and isinstance(patch, dict):
        found = dict(old)
        for name, value in patch.items():
            if value is None:
                found.pop(name, None)
            else:
                found[name] = merged(old.get(name), value, name)
        return found
    if key in MERGED_BY_NAME and isinstance(patch, list):
        by_name = {item["name"]: item for item in old or []}
        for item in patch:
            by_name[item["name"]] = merged(by_name.get(item["name"]), item)
        return list(by_name.values())
    return {k: v for k, v in patch.items() if v is not None} if isinstance(patch, dict) else patch


def container(name: str) -> dict[str, Any]:
    return {"name": name, "image": f"x/{name}", "env": [{"name": "KEPT", "value": "1"}]}


class KubeServer(ThreadingHTTPServer):
    """Use as `with KubeServer() as server`."""

    daemon_threads = True

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.fault = ""
        """An HTTP status that everything is answered with, or "cut"."""
        self.patches = 0
        self.pods: list[dict[str, Any]] = []
        self.deployment: dict[str, Any] = {
            "metadata": {"name": NAME, "generation": 1, "resourceVersion": "1", "annotations": {}},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": "serve"}},
                "template": {
                    "metadata": {"labels": {"app": "serve"}},
                    "spec": {
                        "initContainers": [container("fetch")],
                        "containers": [container("serve"), container("proxy")],
                    },
                },
            },
            "status": {},
        }
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.settle()

    def __enter__(self) -> "KubeServer":
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    # In the place of the Deployment's controller:

    def settle(self) -> None:
        """All pods are ready."""
        self._status(updatedReplicas=1, replicas=1, availableReplicas=1, conditions=[])

    def give_up(self) -> None:
        """The progress deadline is exceeded."""
        why = {
            "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
            "message": "ReplicaSet has timed out progressing.",
        }  # fmt: skip
        self._status(updatedReplicas=1, replicas=2, availableReplicas=1, conditions=[why])

    def _status(self, **status: Any) -> None:
        with self.lock:
            generation = self.deployment["metadata"]["generation"]
            self.deployment["status"] = {"observedGeneration": generation, **status}
            self._changed()

    def add_pod(self, version: int, **container: Any) -> None:
        """A pod of a version, with the state of its container."""
        metadata = {
            "name": f"serve-{version}", "labels": {"app": "serve"},
            "annotations": {VERSION: str(version)},
        }  # fmt: skip
        status = {"phase": "Running", "containerStatuses": [{"name": "serve", **container}]}
        self.pods.append({"metadata": metadata, "spec": {}, "status": status})

    def env(self, name: str) -> dict[str, str]:
        """The variables of a container, by name."""
        pod = self.deployment["spec"]["template"]["spec"]
        both = [*pod["containers"], *pod["initContainers"]]
        found = next(one for one in both if one["name"] == name)
        return {one["name"]: one["value"] for one in found["env"]}

    @property
    def serving(self) -> str | None:
        notes: dict[str, str] = self.deployment["spec"]["template"]["metadata"].get(
            "annotations", {}
        )
        return notes.get(VERSION)

    def patch(self, patch: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        with self.lock:
            wanted = patch["metadata"].pop("resourceVersion", None)
            have = self.deployment["metadata"]["resourceVersion"]
            if wanted not in (None, have):
                return 409, {"message": "the object has been modified"}
            before = deepcopy(self.deployment["spec"])
            self.deployment = merged(self.deployment, patch)
            if self.deployment["spec"] != before:
                self.deployment["metadata"]["generation"] += 1
            self.patches += 1
            self._changed()
            return 200, deepcopy(self.deployment)

    def _changed(self) -> None:
        metadata = self.deployment["metadata"]
        metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)

    def client(self, model: str, name: str = NAME, token: str = TOKEN) -> Deployment:
        """The real client, connected to this server."""
        configuration = kubernetes.client.Configuration(host=self.url)
        configuration.api_key["authorization"] = token
        configuration.api_key_prefix["authorization"] = "Bearer"
        return Deployment(configuration, NAMESPACE, name, model)


class _Handler(BaseHTTPRequestHandler):
    server: KubeServer
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        match = PATH.fullmatch(urlsplit(self.path).path)
        if self.server.fault == "cut":
            self.close_connection = True
            return
        status, found = self._found(match, body)
        data = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PATCH = handle_any  # noqa: N815

    def _found(self, match: re.Match[str] | None, body: bytes) -> tuple[int, dict[str, Any]]:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, {"message": "Unauthorized"}
        if self.server.fault:
            return int(self.server.fault), {"message": "no"}
        if match is None or match["namespace"] != NAMESPACE:
            return 404, {"message": "the server could not find the requested resource"}
        if match["kind"] == "pods":
            query = dict(parse_qsl(urlsplit(self.path).query))
            assert query["labelSelector"] == "app=serve"
            return 200, {"items": self.server.pods}
        return self._deployment(match["name"], body)

    def _deployment(self, name: str, body: bytes) -> tuple[int, dict[str, Any]]:
        if name != NAME:
            return 404, {"message": f'deployments.apps "{name}" not found'}
        if self.command == "PATCH":
            assert self.headers["Content-Type"] == "application/strategic-merge-patch+json"
            return self.server.patch(json.loads(body))
        return 200, deepcopy(self.server.deployment)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
