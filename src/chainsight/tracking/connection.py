"""The way to MLflow's server or database. This package is the only one that imports mlflow."""

import fcntl
import logging
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from chainsight.errors import TrackingError
from chainsight.tracking.reasons import shown, why

NO_TRACKING = "none"
"""The address that switches tracking off."""
_SETTINGS = {
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",  # true by default: code execution on load
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # a line per ended run
}
_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # its 7 keep a stage waiting for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",  # seconds
}
_PAUSE_SECONDS = 60.0  # after a failure MLflow is left alone for this long
_MAX_KEY = 250  # characters, MLflow's limit

_logger = logging.getLogger("chainsight.tracking")
T = TypeVar("T")


def _mlflow() -> Any:
    """Import mlflow with our settings and without its chatter."""
    os.environ.update(_SETTINGS)
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    try:
        import mlflow
    except ImportError:
        raise TrackingError(
            "MLflow is not installed; install chainsight with the extra 'tracking'"
        ) from None
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return mlflow


def failures() -> tuple[type[Exception], ...]:
    """What MLflow's client raises when its server or database is away or refuses."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, SQLAlchemyError, OSError


def sqlite_file(uri: str) -> Path | None:
    prefix = "sqlite:///"
    return Path(uri.removeprefix(prefix).partition("?")[0]) if uri.startswith(prefix) else None


def connect(uri: str) -> Any:
    """A client that has reached its server; creates the tables of a fresh SQLite file.

    Raises:
        TrackingError: no server or database at `uri`.
    """
    if uri == NO_TRACKING:
        raise TrackingError("run.tracking_uri is 'none'; set an MLflow server or sqlite:///FILE")
    mlflow = _mlflow()
    database = sqlite_file(uri)
    try:
        if database is not None:
            _create_database(database)
        client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.search_experiments(max_results=1)
    except failures() as error:
        raise TrackingError(f"MLflow at {shown(uri)} {why(error)}") from error
    return client


def _create_database(path: Path) -> None:
    """Create MLflow's tables, whole or not at all.

    MLflow's own migrations crash when two processes start them on one empty file, and a kill
    between them leaves a file that no later start can mend. So one process makes them in a file
    beside, which then takes the name.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return
        fresh = path.with_name(f".{path.name}.new")
        fresh.unlink(missing_ok=True)
        store: Any = SqlAlchemyStore(  # type: ignore[no-untyped-call]
            f"sqlite:///{fresh}", files_uri(path)
        )
        store.engine.dispose()
        fresh.replace(path)


def files_uri(database: Path) -> str:
    """Where MLflow keeps the files of runs: beside its database, not in the current folder."""
    return (database.parent / "mlflow-files").absolute().as_uri()


def clean(key: str) -> str:
    """A key that MLflow accepts."""
    return re.sub(r"[^\w\-./ :]", "_", key)[:_MAX_KEY]


class Link:
    """A connection that may be away: failures are logged once, then left alone for a while."""

    def __init__(self, uri: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.uri = uri
        self._clock = clock
        self._client: Any = None
        self._not_before = float("-inf")

    def forget(self) -> None:
        """Connect anew at the next attempt."""
        self._client = None

    def attempt(self, what: str, call: Callable[[Any], T]) -> T | None:
        """The result of `call(client)`, or None with a warning if MLflow is away."""
        if self.uri == NO_TRACKING or self._clock() < self._not_before:
            return None
        try:
            if self._client is None:
                self._client = connect(self.uri)
            try:
                return call(self._client)
            except failures() as error:
                raise TrackingError(f"MLflow at {shown(self.uri)} {why(error)}") from error
        except TrackingError as error:
            self._not_before = self._clock() + _PAUSE_SECONDS
            _logger.warning("%s: not tracked, the work goes on (%s)", what, error)
            return None
