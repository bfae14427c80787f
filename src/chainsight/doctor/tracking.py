"""MLflow: reached, the name and password taken, written to, and its registry there.

A server is asked over HTTP as its client would ask, so that the doctor needs no mlflow, whose
import alone takes seconds.
"""

import os
import sqlite3
import ssl
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from chainsight.config import RunConfig
from chainsight.doctor import web
from chainsight.doctor.check import Check, Checks, Where, fail, ok, warn
from chainsight.doctor.local import writing
from chainsight.errors import TrackingError
from chainsight.tracking import NO_TRACKING
from chainsight.tracking.connection import connect, sqlite_file

API = "/api/2.0/mlflow"
BUNDLES = ("MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE")
TAG = "chainsight.doctor"
"""The experiment's tag that a trial of writing sets: seconds since 1970."""


def tracking(config: RunConfig, where: Where) -> Checks:
    """Whether runs can be logged and the model registered: at a server, written for once."""
    uri = config.run.mlflow_uri()
    database = sqlite_file(uri)
    if uri == NO_TRACKING:
        yield fail(
            "tracking",
            "run.tracking_uri is 'none': the last stage, register, cannot work without MLflow",
            "set run.tracking_uri to an MLflow server or to sqlite:///FILE",
        )
    elif database is not None:
        yield _database(database.absolute(), where)
    elif not uri.startswith(("http://", "https://")):
        yield _other(uri)
    elif where == "here" and web.of_the_cluster(uri):
        yield warn(
            "tracking",
            f"{uri} answers inside its cluster only; not asked from here",
            "run the doctor in the cluster (a run's first task does), or forward the port",
        )
    else:
        yield _server(uri, config.run.experiment)


def _database(path: Path, where: Where) -> Check:
    refused = writing(path) if not path.exists() else _damage(path)
    if refused:
        return fail(
            "tracking",
            f"{path}: not usable as MLflow's database ({refused})",
            "set run.tracking_uri to a file in a folder of yours, or move the file away",
        )
    if where == "pod" and not any(p.is_mount() for p in path.parents[:-1]):
        return warn(
            "tracking",
            f"{path} is in this pod alone: runs and model versions are lost with each pod",
            "set MLFLOW_TRACKING_URI or run.tracking_uri to an MLflow server",
        )
    return ok("tracking", f"{path}{'' if path.exists() else ' (will be created)'}")


def _damage(path: Path) -> str:
    try:
        database = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=5)
        try:
            database.execute("select count(*) from experiments").fetchone()
        finally:
            database.close()
    except sqlite3.Error as error:
        return str(error)
    return ""


def _other(uri: str) -> Check:
    """Another database or a hosted MLflow: by mlflow's own client."""
    try:
        connect(uri)
    except TrackingError as error:
        return fail("tracking", str(error), "correct run.tracking_uri; check driver and rights")
    return ok("tracking", uri)


def _server(uri: str, experiment: str) -> Check:
    """Find the experiment or create it, write a tag to it, look into the registry."""
    base, headers = _account(uri)
    try:
        trust = _trust()
    except OSError as error:
        return fail(
            "tracking",
            f"the bundle of authorities for {base} cannot be read ({error})",
            f"correct or unset {' and '.join(BUNDLES)}",
        )

    def ask(path: str, body: Any = None) -> web.Answer:
        return web.call(f"{base}{API}/{path}", headers=headers, body=body, trust=trust)

    found = ask(f"experiments/get-by-name?experiment_name={quote(experiment)}")
    number = _number(found)
    if number:
        tag = {"experiment_id": number, "key": TAG, "value": f"{time.time():.0f}"}
        written = ask("experiments/set-experiment-tag", tag)
    elif _code(found) == "RESOURCE_DOES_NOT_EXIST":  # the run's first stage would create it, too
        written = ask("experiments/create", {"name": experiment})
    else:
        return _refused(base, experiment, found)
    if not written.good:
        return _refused(base, experiment, written)
    registry = ask("registered-models/search?max_results=1")
    if not registry.good:
        return _refused(base, experiment, registry)
    return ok("tracking", f"{base}: experiment {experiment!r} was written to, the registry answers")


def _number(answer: web.Answer) -> str:
    """The experiment's id; "" if this is no experiment."""
    inner = answer.body.get("experiment") if isinstance(answer.body, dict) else None
    return str(inner.get("experiment_id", "")) if isinstance(inner, dict) else ""


def _code(answer: web.Answer) -> str:
    return str(answer.body.get("error_code", "")) if isinstance(answer.body, dict) else ""


def _refused(base: str, experiment: str, answer: web.Answer) -> Check:
    status, said = answer.status, answer.said
    if status == 0:
        return fail(
            "tracking",
            f"{base}: MLflow cannot be reached ({said})",
            "start the server, or correct run.tracking_uri or MLFLOW_TRACKING_URI",
        )
    if status == 401:
        return fail(
            "tracking",
            f"{base}: MLflow refuses the name and password (401)",
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (on a cluster: the secret "
            "that platform.tracking_secret names)",
        )
    if status == 403:
        return fail(
            "tracking",
            f"{base}: this user may not write to experiment {experiment!r} ({said or 403})",
            "give it EDIT on the experiment and on the registered model, or set run.experiment to "
            "one of its own",
        )
    if status >= 500:
        return fail(
            "tracking",
            f"{base}: MLflow fails with HTTP {status} ({said})",
            "look into the server's log; run again when it is mended",
        )
    return fail(
        "tracking",
        f"{base}: this is no MLflow server (HTTP {status}: {said})",
        "correct run.tracking_uri: the address of the server without any path of its pages",
    )


def _account(uri: str) -> tuple[str, dict[str, str]]:
    """The address without a name and password in it, and the header that takes their place."""
    parts = urlsplit(uri.rstrip("/"))
    user = parts.username or os.environ.get("MLFLOW_TRACKING_USERNAME")
    password = parts.password or os.environ.get("MLFLOW_TRACKING_PASSWORD")
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    base = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    if user and password:
        return base, web.basic(user, password)
    return base, web.bearer(token) if token else {}


def _trust() -> ssl.SSLContext:
    """The authorities that MLflow's own client would trust, by its environment variables."""
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1"):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context
    return web.trusted(next((os.environ[name] for name in BUNDLES if os.environ.get(name)), None))
