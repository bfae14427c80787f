"""A small stand-in for the Kubeflow Pipelines API (v2beta1), on a real socket.

It keeps what it is sent, refuses what the real one refuses (bad packages by KFP's own protobuf,
names that are taken, unknown versions, missing parameters, callers without a token) and plays
the states of a run that a test gives it, as nodes of the workflow, the way 2.17 reports them.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
NO_TIME = "0001-01-01T00:00:00Z"  # what Go makes of a time that is not set
Answer = tuple[int, Any]


def at(seconds: float) -> str:
    """A time of the run, as the API writes it."""
    return (START + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def task(
    name: str, state: str, start: float = 0, end: float | None = None, **more: Any
) -> list[dict[str, Any]]:
    """A task as the API shows it: its driver, itself, its executor."""
    times = {"start_time": at(start), "end_time": NO_TIME if end is None else at(end)}
    kind = f"node-{name}-{start:g}"
    return [
        {"display_name": f"{name}-driver", "state": "SUCCEEDED", "task_id": f"{kind}-d"} | times,
        {"display_name": name, "state": state, "task_id": kind} | times | more,
        {"display_name": "executor", "state": state, "task_id": f"{kind}-e"} | times,
    ]


def moment(state: str, *tasks: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """What the API says of a run at one moment."""
    root = [{"display_name": n, "state": "RUNNING", "task_id": n} for n in ("root", "root-driver")]
    details = [*root, *(node for nodes in tasks for node in nodes)]
    return {"state": state, "run_details": {"task_details": details}} | more


class Refusal(Exception):  # noqa: N818
    """An answer that is an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class KfpServer:
    """The stand-in's state; `url` once it serves."""

    def __init__(self) -> None:
        self.url = ""
        self.tag = "2.17.0"
        self.multi_user = False
        self.token: str | None = None
        self.namespaces = ["team-a"]
        self.requests: list[str] = []
        self.pipelines: list[dict[str, Any]] = []
        self.versions: list[dict[str, Any]] = []
        self.experiments: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []
        self.terminated: list[str] = []
        self.script: list[dict[str, Any]] = [moment("SUCCEEDED")]
        self.faults: list[int] = []
        """Statuses of the next answers to `get run`."""
        self.logs: dict[str, str] = {}
        """Log of each pod that can be read."""
        self.page: str | None = None
        """Answer everything with this web page."""
        self.before_upload: Callable[[], None] = lambda: None
        self.before_create: Callable[[], None] = lambda: None

    def answer(self, method: str, target: str, body: bytes, headers: Any) -> Answer:
        """The answer to one request."""
        path = urlsplit(target).path
        query = {k: v[0] for k, v in parse_qs(urlsplit(target).query).items()}
        self.requests.append(f"{method} {path}")
        if self.token and headers.get("authorization") != f"Bearer {self.token}":
            raise Refusal(401, "Request header error: there is no user identity header.")
        for pattern, function in self._routes().items():
            verb, expected = pattern.split(" ")
            match = re.fullmatch(expected, path)
            if match and verb == method:
                return function(*match.groups(), query=query, body=body, headers=headers)
        raise Refusal(404, "Not Found")

    def _routes(self) -> dict[str, Callable[..., Answer]]:
        api = "/apis/v2beta1"
        return {
            f"GET {api}/healthz": self._health,
            f"GET {api}/pipelines": self._list_pipelines,
            f"POST {api}/pipelines": self._create_pipeline,
            f"POST {api}/pipelines/upload_version": self._upload_version,
            f"GET {api}/pipelines/([^/]+)/versions": self._list_versions,
            f"GET {api}/experiments": self._list_experiments,
            f"POST {api}/experiments": self._create_experiment,
            f"POST {api}/runs": self._create_run,
            f"GET {api}/runs/([^/:]+)": self._get_run,
            f"POST {api}/runs/([^/:]+):terminate": self._terminate,
            "GET /apis/v1alpha1/runs/[^/]+/nodes/([^/]+)/log": self._log,
        }

    def _health(self, **_: Any) -> Answer:
        return 200, {"commit_sha": "0", "tag_name": self.tag, "multi_user": self.multi_user}

    def _allow(self, namespace: str | None) -> None:
        if not self.multi_user and namespace:
            raise Refusal(400, "In single-user mode, the namespace must be empty.")
        if self.multi_user and namespace not in self.namespaces:
            raise Refusal(403, f"User 'ann' is not authorized (namespace: {namespace})")

    def _list_pipelines(self, query: dict[str, str], **_: Any) -> Answer:
        self._allow(query.get("namespace"))
        return 200, {"pipelines": _filtered(self.pipelines, query)}

    def _create_pipeline(self, body: bytes, **_: Any) -> Answer:
        self.before_create()
        made = json.loads(body)
        self._allow(made.get("namespace"))
        return 200, _add(self.pipelines, made, "pipeline_id")

    def _list_versions(self, pipeline: str, query: dict[str, str], **_: Any) -> Answer:
        own = [v for v in self.versions if v["pipeline_id"] == pipeline]
        return 200, {"pipeline_versions": _filtered(own, query)}

    def _upload_version(self, query: dict[str, str], body: bytes, headers: Any, **_: Any) -> Answer:
        self.before_upload()
        documents = list(yaml.safe_load_all(_uploaded(body, headers)))
        try:
            json_format.ParseDict(documents[0], pipeline_spec_pb2.PipelineSpec())
            for more in documents[1:]:
                json_format.ParseDict(more, pipeline_spec_pb2.PlatformSpec())
        except json_format.ParseError as error:
            raise Refusal(400, f"Failed to read a pipeline spec file: {error}") from None
        made = {
            "pipeline_id": query["pipelineid"],
            "display_name": query["name"],
            "description": query.get("description", ""),
            "pipeline_spec": documents[0],
        }
        return 200, _add(self.versions, made, "pipeline_version_id")

    def _list_experiments(self, query: dict[str, str], **_: Any) -> Answer:
        self._allow(query.get("namespace"))
        return 200, {"experiments": _filtered(self.experiments, query)}

    def _create_experiment(self, body: bytes, **_: Any) -> Answer:
        made = json.loads(body)
        self._allow(made.get("namespace"))
        return 200, _add(self.experiments, made, "experiment_id")

    def _create_run(self, body: bytes, **_: Any) -> Answer:
        made = json.loads(body)
        wanted = made["pipeline_version_reference"]["pipeline_version_id"]
        version = next((v for v in self.versions if v["pipeline_version_id"] == wanted), None)
        if version is None:
            raise Refusal(404, f"PipelineVersion {wanted} not found")
        known = version["pipeline_spec"]["root"]["inputDefinitions"]["parameters"]
        for name in made["runtime_config"]["parameters"]:
            if name not in known:
                raise Refusal(400, f"unknown parameter {name}")
        for name, parameter in known.items():
            given = name in made["runtime_config"]["parameters"] or "defaultValue" in parameter
            if not given:
                raise Refusal(400, f"parameter {name} is not optional, yet has neither a value")
        made |= {"run_id": str(uuid4()), "state": "PENDING", "created_at": at(0)}
        self.runs.append(made)
        return 200, made

    def _get_run(self, run_id: str, **_: Any) -> Answer:
        if self.faults:
            raise Refusal(self.faults.pop(0), "upstream connect error")
        run = next((r for r in self.runs if r["run_id"] == run_id), None)
        if run is None:
            raise Refusal(404, f"Run {run_id} not found")
        now = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return 200, {"finished_at": at(3723)} | run | now

    def _terminate(self, run_id: str, **_: Any) -> Answer:
        if run_id not in [r["run_id"] for r in self.runs]:
            raise Refusal(404, f"Run {run_id} not found")
        self.terminated.append(run_id)
        return 200, {}

    def _log(self, pod: str, **_: Any) -> Answer:
        if pod not in self.logs:
            raise Refusal(500, f'pods "{pod}" not found')
        return 200, self.logs[pod]


def _filtered(rows: list[dict[str, Any]], query: dict[str, str]) -> list[dict[str, Any]]:
    predicates = json.loads(query.get("filter") or "{}").get("predicates", [])
    assert all(p["operation"] in {"EQUALS", 1} for p in predicates)
    return [r for r in rows if all(r.get(p["key"]) == p["stringValue"] for p in predicates)]


def _add(rows: list[dict[str, Any]], row: dict[str, Any], key: str) -> dict[str, Any]:
    """Append `row` unless its name is taken among its likes."""
    for other in rows:
        same = other["display_name"] == row["display_name"]
        if same and other.get("pipeline_id") == row.get("pipeline_id", other.get("pipeline_id")):
            raise Refusal(409, f"The name {row['display_name']} already exists")
    rows.append(row | {key: str(uuid4())})
    return rows[-1]


def _uploaded(body: bytes, headers: Any) -> bytes:
    head = f"Content-Type: {headers['content-type']}\r\n\r\n".encode()
    (part,) = BytesParser().parsebytes(head + body).get_payload()
    assert part.get_param("name", header="content-disposition") == "uploadfile"
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content


@contextmanager
def serving() -> Iterator[KfpServer]:
    """A stand-in on a free port of this machine."""
    state = KfpServer()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            try:
                status, answer = state.answer(self.command, self.path, body, self.headers)
            except Refusal as error:
                status, answer = error.status, {"code": 2, "message": str(error), "details": []}
            self._send(status, answer if state.page is None else state.page)

        def _send(self, status: int, answer: Any) -> None:
            text = isinstance(answer, str)
            content = (answer if text else json.dumps(answer)).encode()
            self.send_response(status)
            self.send_header("content-type", "text/plain" if text else "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Stay silent."""

        do_GET = do_POST = _serve  # noqa: N815

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        state.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield state
        finally:
            http.shutdown()
            thread.join()
