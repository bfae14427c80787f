"""A stand-in for the Kubernetes API: real HTTP, as much of it as the launcher asks for.

It stores, lists, watches with resource versions, and refuses as the real one does: 400 (strict
decoding), 401, 403, 404 (of an object, of an unknown kind), 409, 410 and 422. What the controllers
of a cluster would do, tests do by `change`, `add_pod`, `note` and `write_log`.

(Considered instead: kmock 0.8, which is asynchronous, and whose watches know no versions.)
"""

import json
import re
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

TOKEN = "test-token"
NAMESPACE = "team"
PATH = re.compile(
    r"/(?:api/v1|apis/trainer\.kubeflow\.org/v1alpha1)/namespaces/(?P<namespace>[^/]+)"
    r"/(?P<kind>trainjobs|pods|events)(?:/(?P<name>[^/]+)(?P<log>/log)?)?"
)
ANY: dict[str, Any] = {}
_CONTAINER = dict.fromkeys(("name", "env", "volumeMounts", "securityContext"), ANY)
_POD = dict.fromkeys(
    ("serviceAccountName", "volumes", "initContainers", "imagePullSecrets", "securityContext",
     "nodeSelector", "affinity", "tolerations", "schedulingGates"), ANY
) | {"containers": _CONTAINER}  # fmt: skip
_JOB = {"metadata": ANY, "spec": {"template": {"metadata": ANY, "spec": _POD}}}
_JOBSET = {"metadata": ANY, "spec": {"replicatedJobs": {"name": ANY, "template": _JOB}}}
SCHEMA = {
    "apiVersion": ANY,
    "kind": ANY,
    "metadata": ANY,
    "status": ANY,
    "spec": dict.fromkeys(("initializer", "suspend", "activeDeadlineSeconds", "managedBy"), ANY)
    | {
        "runtimeRef": dict.fromkeys(("name", "apiGroup", "kind"), ANY),
        "trainer": dict.fromkeys(
            ("image", "command", "args", "env", "numNodes", "resourcesPerNode", "numProcPerNode"),
            ANY,
        ),
        "runtimePatches": {
            "manager": ANY,
            "time": ANY,
            "trainingRuntimeSpec": {"template": _JOBSET},
        },
    },
}
"""The fields of a TrainJob in Kubeflow Trainer 2.3; `ANY` stands for whatever is below."""


class RefuseError(Exception):
    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status: dict[str, Any] = {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": code,
        }  # fmt: skip


class ApiServer(ThreadingHTTPServer):
    """Use as `with ApiServer() as server`, in which case it serves."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int = 0) -> None:
        self.forbidden: set[tuple[str, str]] = set()
        self.has_trainer = True
        self.schema: dict[str, Any] = SCHEMA
        self.admit: Callable[[dict[str, Any]], None] = lambda _: None
        """May change a TrainJob or raise RefuseError, as an admission webhook does."""
        self.fault: Callable[[str, str], str] = lambda *_: ""
        """By verb and resource: "cut", "503", or "" for none."""
        self.deletion_seconds = 0.0
        """How long an object with pods below it takes to go."""
        self.asked: list[tuple[str, str]] = []
        self._objects: dict[str, dict[str, dict[str, Any]]] = {
            "trainjobs": {},
            "pods": {},
            "events": {},
        }
        self._logs: dict[str, list[str]] = {}
        self._history: list[tuple[int, str, dict[str, Any]]] = []
        self._version, self._oldest, self.cuts = 100, 0, 0
        self.changed = threading.Condition()
        super().__init__(("127.0.0.1", port), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> "ApiServer":
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.cut_watches()
        self.server_close()

    def handle_error(self, *_: Any) -> None:
        """Clients may go away: kills are what the tests are about."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(*_)

    # What a test does in the controllers' place:

    def job(self, name: str) -> dict[str, Any] | None:
        with self.changed:
            return deepcopy(self._objects["trainjobs"].get(name))

    def put(self, job: dict[str, Any]) -> dict[str, Any]:
        """Store a TrainJob, past admission."""
        with self.changed:
            job["metadata"] |= {"namespace": NAMESPACE, "uid": str(uuid.uuid4())}
            job["metadata"]["creationTimestamp"] = _now()
            self._objects["trainjobs"][job["metadata"]["name"]] = job
            self._record("ADDED", job)
            return deepcopy(job)

    def change(self, name: str, **status: Any) -> None:
        """Set parts of a TrainJob's status; `suspend` goes into its spec."""
        with self.changed:
            job = self._objects["trainjobs"][name]
            if "suspend" in status:
                job["spec"]["suspend"] = status.pop("suspend")
            job.setdefault("status", {}).update(status)
            self._record("MODIFIED", job)

    def remove(self, name: str) -> None:
        with self.changed:
            job = self._objects["trainjobs"].pop(name, None)
            if job:
                self._record("DELETED", job)

    def add_pod(self, name: str, phase: str = "Running", **more: Any) -> None:
        """A pod; `labels`, `containerStatuses` and `metadata` by name."""
        metadata = {"name": name, "creationTimestamp": _now(), "labels": more.pop("labels", {})}
        metadata |= more.pop("metadata", {})
        spec = {"containers": more.pop("containers", [])}
        pod = {"metadata": metadata, "spec": spec, "status": {"phase": phase, **more}}
        with self.changed:
            self._objects["pods"][name] = pod
            self._logs.setdefault(name, [])
            self.changed.notify_all()

    def note(self, kind: str, name: str, reason: str, message: str, type_: str = "Warning") -> None:
        event = {"metadata": {}, "involvedObject": {"kind": kind, "name": name}, "type": type_,
                 "reason": reason, "message": message, "lastTimestamp": _now()}  # fmt: skip
        with self.changed:
            self._objects["events"][str(uuid.uuid4())] = event

    def write_log(self, pod: str, *lines: str) -> None:
        with self.changed:
            for line in lines:
                number = len(self._logs[pod])
                self._logs[pod].append(f"2026-01-01T00:00:{number:02d}.5Z {line}")
            self.changed.notify_all()

    def end_pod(self, name: str, phase: str = "Succeeded", **status: Any) -> None:
        """End a pod, if there is one."""
        with self.changed:
            if name in self._objects["pods"]:
                self._objects["pods"][name]["status"] |= {"phase": phase, **status}
            self.changed.notify_all()

    def cut_watches(self) -> None:
        """Cut all open watches and logs, in the middle of a line."""
        with self.changed:
            self.cuts += 1
            self.changed.notify_all()

    def compact(self) -> None:
        """Forget the past, as etcd does: older versions cannot be watched from."""
        with self.changed:
            self._oldest = self._version + 1
            self._version += 2
            self.changed.notify_all()

    def count(self, verb: str, kind: str) -> int:
        return self.asked.count((verb, kind))

    # What the handler asks for:

    def _record(self, event: str, job: dict[str, Any]) -> None:
        self._version += 1
        job["metadata"]["resourceVersion"] = str(self._version)
        self._history.append((self._version, event, deepcopy(job)))
        self.changed.notify_all()

    def create(self, job: dict[str, Any], strict: bool) -> dict[str, Any]:
        name = job["metadata"]["name"]
        if strict and (strangers := unknown(job, self.schema)):
            listed = ", ".join(f'unknown field "{item}"' for item in strangers)
            raise RefuseError(400, "BadRequest", f"strict decoding error: {listed}")
        if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name) or len(name) > 63:
            raise RefuseError(422, "Invalid", f'TrainJob "{name}" is invalid: metadata.name')
        self.admit(job)
        with self.changed:
            if name in self._objects["trainjobs"]:
                raise RefuseError(
                    409, "AlreadyExists", f'trainjobs.trainer.kubeflow.org "{name}" already exists'
                )
            return self.put(job)

    def one(self, kind: str, name: str) -> dict[str, Any]:
        with self.changed:
            if name not in self._objects[kind]:
                raise RefuseError(404, "NotFound", f'{kind} "{name}" not found')
            return deepcopy(self._objects[kind][name])

    def delete(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        with self.changed:
            job = self.one("trainjobs", name)
            wanted = (options.get("preconditions") or {}).get("uid")
            if wanted and wanted != job["metadata"]["uid"]:
                raise RefuseError(
                    409, "Conflict", f"the UID in the precondition ({wanted}) differs"
                )
            if not self.deletion_seconds:
                self.remove(name)
                return job
            stored = self._objects["trainjobs"][name]
            stored["metadata"]["deletionTimestamp"] = _now()
            self._record("MODIFIED", stored)
        threading.Timer(self.deletion_seconds, self.remove, (name,)).start()
        return job

    def items(self, kind: str, query: dict[str, str]) -> tuple[list[dict[str, Any]], int]:
        with self.changed:
            found = [item for item in self._objects[kind].values() if chosen(item, query)]
            return deepcopy(found), self._version

    def since(self, version: int) -> list[tuple[int, str, dict[str, Any]]]:
        if version < self._oldest:
            raise RefuseError(410, "Expired", f"too old resource version: {version}")
        return [item for item in self._history if item[0] > version]

    def log_from(self, pod: str, number: int) -> tuple[list[str], bool]:
        ended = self._objects["pods"].get(pod, {}).get("status", {}).get("phase") != "Running"
        return self._logs[pod][number:], ended


class _Handler(BaseHTTPRequestHandler):
    server: ApiServer
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urlsplit(self.path)
        query, match = dict(parse_qsl(url.query)), PATH.fullmatch(url.path)
        if match is None or (match["kind"] == "trainjobs" and not self.server.has_trainer):
            self.answer(404, b"404 page not found\n", "text/plain")
            return
        verb = self.verb(bool(match["name"]), query)
        resource = match["kind"] + (match["log"] or "")
        self.server.asked.append((verb, resource))
        fault = self.server.fault(verb, resource)
        if fault == "cut":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        try:
            if fault:
                raise RefuseError(int(fault), "ServiceUnavailable", "the server is away")
            self.check(verb, match["kind"] + (match["log"] or ""), match["namespace"])
            self.serve(verb, match, query, body)
        except RefuseError as refusal:
            self.answer(refusal.status["code"], json.dumps(refusal.status).encode())

    do_GET = do_POST = do_DELETE = handle_any  # noqa: N815

    def verb(self, named: bool, query: dict[str, str]) -> str:
        if self.command == "GET":
            return "get" if named else "watch" if query.get("watch") == "True" else "list"
        return {"POST": "create", "DELETE": "delete"}[self.command]

    def check(self, verb: str, resource: str, namespace: str) -> None:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise RefuseError(401, "Unauthorized", "Unauthorized")
        if (verb, resource) in self.server.forbidden:
            who = 'User "system:serviceaccount:team:pipeline-runner"'
            raise RefuseError(
                403,
                "Forbidden",
                f'{resource} is forbidden: {who} cannot {verb} resource "{resource}" in API group '
                f'"" in the namespace "{namespace}"',
            )

    def serve(self, verb: str, match: re.Match[str], query: dict[str, str], body: bytes) -> None:
        kind, name = match["kind"], match["name"]
        if verb == "create":
            strict = query.get("fieldValidation") == "Strict"
            self.answer(201, json.dumps(self.server.create(json.loads(body), strict)).encode())
        elif verb == "delete":
            options = json.loads(body) if body else {}
            self.answer(200, json.dumps(self.server.delete(name, options)).encode())
        elif verb == "watch":
            self.watch(int(query["resourceVersion"]), query)
        elif match["log"]:
            self.follow_log(name, query)
        elif verb == "get":
            self.answer(200, json.dumps(self.server.one(kind, name)).encode())
        else:
            items, version = self.server.items(kind, query)
            listed = {"metadata": {"resourceVersion": str(version)}, "items": items}
            self.answer(200, json.dumps(listed).encode())

    def watch(self, version: int, query: dict[str, str]) -> None:
        end, cuts = time.monotonic() + float(query["timeoutSeconds"]), self.server.cuts
        self.begin()
        while True:
            with self.server.changed:
                try:
                    news = self.server.since(version)
                except RefuseError as refusal:
                    self.chunk({"type": "ERROR", "object": refusal.status})
                    break
                if not news:
                    self.server.changed.wait(max(0.0, min(end - time.monotonic(), 0.1)))
            for _, event, item in news:
                if chosen(item, query):
                    self.chunk({"type": event, "object": item})
            version = max([version, *(number for number, _, _ in news)])
            if self.server.cuts > cuts:
                self.cut()
                return
            if time.monotonic() >= end:
                break
        self.wfile.write(b"0\r\n\r\n")

    def follow_log(self, pod: str, query: dict[str, str]) -> None:
        self.server.one("pods", pod)
        if query.get("container") != "node":
            raise RefuseError(400, "BadRequest", f"container {query.get('container')} is not valid")
        cuts, number = self.server.cuts, 0
        self.begin()
        while True:
            with self.server.changed:
                lines, ended = self.server.log_from(pod, number)
                if not lines and not ended:
                    self.server.changed.wait(0.1)
            for line in lines:
                self.chunk(line)
            number += len(lines)
            if self.server.cuts > cuts:
                self.cut()
                return
            if ended and not lines:
                break
        self.wfile.write(b"0\r\n\r\n")

    def begin(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, item: Any) -> None:
        data = (item if isinstance(item, str) else json.dumps(item)).encode() + b"\n"
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def cut(self) -> None:
        with suppress(OSError):  # the client may be gone before
            self.wfile.write(b'9\r\n{"type":"')  # a line that never ends
            self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def answer(self, code: int, data: bytes, kind: str = "application/json") -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def chosen(item: dict[str, Any], query: dict[str, str]) -> bool:
    """Whether an object has what field and label selectors ask for."""
    fields = {
        "metadata.name": item["metadata"].get("name"),
        "involvedObject.name": item.get("involvedObject", {}).get("name"),
    }
    labels = item["metadata"].get("labels", {})
    pairs = [
        (found, term.split("=", 1))
        for found, selector in ((fields, "fieldSelector"), (labels, "labelSelector"))
        for term in query.get(selector, "").split(",")
        if term
    ]
    return all(found.get(name) == value for found, (name, value) in pairs)


def unknown(value: Any, schema: dict[str, Any], path: str = "") -> list[str]:
    """Paths of the fields that the schema does not have."""
    if schema is ANY:
        return []
    if isinstance(value, list):
        return [x for i, item in enumerate(value) for x in unknown(item, schema, f"{path}[{i}]")]
    found = []
    for name, item in value.items():
        where = f"{path}.{name}".lstrip(".")
        found += unknown(item, schema[name], where) if name in schema else [where]
    return found


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: here
clusters: [{{name: here, cluster: {{server: "{url}"}}}}]
users: [{{name: me, user: {{token: {token}}}}}]
contexts: [{{name: here, context: {{cluster: here, user: me, namespace: {namespace}}}}}]
"""


def kubeconfig(server: ApiServer, token: str = TOKEN) -> str:
    return KUBECONFIG.format(url=server.url, token=token, namespace=NAMESPACE)
