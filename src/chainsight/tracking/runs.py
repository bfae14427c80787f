"""MLflow runs: a parent for each pipeline run, one nested in it for each stage. Best effort."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chainsight.tracking.connection import Link, clean, failures, files_uri, sqlite_file

PARENT_VARIABLE = "CHAINSIGHT_PARENT_RUN_ID"
"""Environment variable with the MLflow id of the parent run."""
JOIN_VARIABLE = "MLFLOW_RUN_ID"
PARENT_TAG = "chainsight.pipeline_run"
IDENTITY_TAG = "chainsight.identity"
"""Of a run that is made once, whoever asks for it again."""

_FLUSH_SECONDS = 5.0
_FLUSH_METRICS = 500  # MLflow takes 1000 a call
_MAX_PENDING = 100_000  # measured values kept while MLflow is away; the oldest go first
_PARAM_VALUE, _TAG_VALUE = 6000, 5000  # MLflow's limits, in characters


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted keys with text values: MLflow's parameters."""
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat


class Run:
    """One MLflow run under way (a `chainsight.context.Metrics`); every call is best effort."""

    def __init__(self, link: Link, run_id: str | None, *, joined: bool = False) -> None:
        self._link = link
        self.run_id = run_id
        """MLflow's id of this run; None while MLflow is away."""
        self._joined = joined
        self._pending: list[tuple[str, float, int, int]] = []
        self._flushed = time.monotonic()

    def log(self, values: Mapping[str, float], step: int = 0) -> None:
        """Keep measured values; they are sent in batches."""
        if self.run_id is None:
            return
        now = int(time.time() * 1000)
        self._pending += [(clean(k), float(v), now, step) for k, v in values.items()]
        del self._pending[:-_MAX_PENDING]
        waited = time.monotonic() - self._flushed
        if len(self._pending) >= _FLUSH_METRICS or waited >= _FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Send what is pending; unsent values stay for the next time."""
        self._flushed = time.monotonic()
        while self._pending:
            if not self._send(self._pending[:_FLUSH_METRICS]):
                return
            del self._pending[:_FLUSH_METRICS]

    def _send(self, values: list[tuple[str, float, int, int]]) -> bool:
        def call(client: Any, run_id: str) -> None:
            from mlflow.entities import Metric

            client.log_batch(run_id, metrics=[Metric(*value) for value in values])

        return self._attempt("metrics", call)

    def params(self, settings: Mapping[str, Any]) -> None:
        """Record settings; nested ones get dotted keys, long values are cut."""

        def call(client: Any, run_id: str) -> None:
            from mlflow.entities import Param

            flat = flatten(settings)
            known = client.get_run(run_id).data.params  # a parameter cannot be set twice
            params = [Param(clean(k), v[:_PARAM_VALUE]) for k, v in flat.items()]
            params = [param for param in params if param.key not in known]
            for start in range(0, len(params), 100):
                client.log_batch(run_id, params=params[start : start + 100])

        self._attempt("parameters", call)

    def tags(self, tags: Mapping[str, str]) -> None:
        """Set tags, such as the store URIs of artifacts."""

        def call(client: Any, run_id: str) -> None:
            for key, value in tags.items():
                client.set_tag(run_id, clean(key), value[:_TAG_VALUE])

        self._attempt("tags", call)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Store a file beside the run, such as the report."""
        self._attempt(f"file {path.name}", lambda c, run_id: c.log_artifact(run_id, path, folder))

    def close(self, status: str) -> None:
        """Send the rest and end the run as FINISHED or FAILED; a joined run ends elsewhere."""
        self.flush()
        if not self._joined:
            self._attempt("end of run", lambda c, run_id: c.set_terminated(run_id, status))

    def _attempt(self, what: str, call: Callable[[Any, str], None]) -> bool:
        run_id = self.run_id
        if run_id is None:
            return False

        def done(client: Any) -> bool:
            call(client, run_id)
            return True

        return self._link.attempt(what, done) is not None


def attach(uri: str, run_id: str) -> Run:
    """A run that another stage opened and ends."""
    return Run(Link(uri), run_id, joined=True)


class Tracking:
    """The runs of one MLflow experiment. Creating it contacts nobody."""

    def __init__(self, uri: str, experiment: str, link: Link | None = None) -> None:
        self.uri = uri
        self._experiment = experiment
        self._link = link or Link(uri)

    @contextmanager
    def stage(self, stage: str, pipeline_run: str = "") -> Iterator[Run]:
        """The run of one stage: nested in its pipeline run, FAILED if the block raises.

        With `MLFLOW_RUN_ID` set (KFP's own MLflow integration sets it) that run is joined.
        """
        run = self._open(stage, pipeline_run)
        status = "FAILED"
        try:
            yield run
            status = "FINISHED"
        finally:
            run.close(status)

    def _open(self, stage: str, pipeline_run: str) -> Run:
        joined = os.environ.get(JOIN_VARIABLE)
        if joined:
            return Run(self._link, joined, joined=True)
        tags = {"chainsight.stage": stage}
        parent = self.parent(pipeline_run).run_id if self._has_parent(pipeline_run) else None
        if parent:
            tags["mlflow.parentRunId"] = parent
        return Run(self._link, self._create(stage, tags))

    @staticmethod
    def _has_parent(pipeline_run: str) -> bool:
        return bool(pipeline_run or os.environ.get(PARENT_VARIABLE))

    def _create(self, name: str, tags: Mapping[str, str]) -> str | None:
        def call(client: Any) -> str:
            experiment = self._experiment_id(client)
            run = client.create_run(experiment, tags=dict(tags), run_name=name)
            return str(run.info.run_id)

        return self._link.attempt(f"run {name}", call)

    def _experiment_id(self, client: Any) -> str:
        found = client.get_experiment_by_name(self._experiment)
        if found is None:
            database = sqlite_file(self.uri)
            files = files_uri(database) if database else None
            try:
                return str(client.create_experiment(self._experiment, artifact_location=files))
            except failures():  # another process was first
                found = client.get_experiment_by_name(self._experiment)
                if found is None:
                    raise
        return str(found.experiment_id)

    def parent(self, pipeline_run: str) -> Run:
        """The run that stands for a whole pipeline run; created if there is none."""
        given = os.environ.get(PARENT_VARIABLE)
        if given:
            return Run(self._link, given, joined=True)
        found = self._link.attempt("parent run", lambda c: self._parents(c, pipeline_run))
        if found == []:
            self._create(pipeline_run, {PARENT_TAG: pipeline_run})
            # two stages may have created one each: both take the first
            found = self._link.attempt("parent run", lambda c: self._parents(c, pipeline_run))
        return Run(self._link, found[0] if found else None)

    def once(self, name: str, identity: str, parent: Run | None = None) -> tuple[Run, bool]:
        """The run that has `identity` as its tag, and whether it is finished; created if need be.

        One process at a time asks for an identity. Without MLflow, or below a parent that it has
        not: a run that does nothing.
        """
        if parent is not None and parent.run_id is None:
            return Run(self._link, None), False
        found = self._link.attempt(f"run {name}", lambda c: self._identical(c, identity))
        if found:
            return Run(self._link, found[0][0]), found[0][1]
        tags = {IDENTITY_TAG: identity.replace("'", "")}
        if parent is not None:
            tags["mlflow.parentRunId"] = str(parent.run_id)
        return Run(self._link, None if found is None else self._create(name, tags)), False

    def _identical(self, client: Any, identity: str) -> list[tuple[str, bool]]:
        runs = self._tagged(client, IDENTITY_TAG, identity)
        return [(str(run.info.run_id), run.info.status == "FINISHED") for run in runs]

    def _parents(self, client: Any, pipeline_run: str) -> list[str]:
        return [str(run.info.run_id) for run in self._tagged(client, PARENT_TAG, pipeline_run)]

    def _tagged(self, client: Any, tag: str, value: str) -> list[Any]:
        """The experiment's runs with a tag, the oldest first."""
        quoted = value.replace("'", "")
        runs = client.search_runs(
            [self._experiment_id(client)],
            filter_string=f"tags.`{tag}` = '{quoted}'",
            order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
        )
        return list(runs)
