"""Send the pipeline to Kubeflow: upload what is new, start the run, follow it; or upload alone.

The same package is uploaded once (its version is named after its content); the configuration
travels with the run, as the pipeline's parameters.
"""

import json
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kfp_server_api import V2beta1Pipeline
from rich.console import Console

from chainsight.config import RunConfig
from chainsight.errors import KubeflowError
from components.images import require_pinned
from pipelines.compiled import compile_to
from pipelines.follow import FINISHED, TaskState, TaskView, duration, failures, follow
from pipelines.package import Compile, Package, package
from pipelines.server import Server, connect


@dataclass(frozen=True)
class Target:
    """Where a run goes, beside its configuration."""

    host: str | None = None
    """Address of the API; none: see `pipelines.server.connect`."""
    namespace: str | None = None
    """The user's namespace; none on a single-user installation."""
    experiment: str | None = None
    """Experiment on Kubeflow; none: the configuration's `run.experiment`."""
    service_account: str | None = None
    """Kubernetes service account of the pods; none: the installation's own."""

    def flags(self) -> list[str]:
        """The flags that reach the same server."""
        given = {"--host": self.host, "--namespace": self.namespace}
        return [word for flag, value in given.items() if value for word in (flag, value)]


@dataclass(frozen=True)
class Submission:
    """What became of a run, as far as it was followed."""

    pipeline: str
    version: str
    uploaded: bool
    """Whether the version is new on this server."""
    experiment: str
    run: str
    run_id: str
    url: str
    state: str = "PENDING"
    """State of the run when it was last looked at."""
    seconds: float | None = None
    """How long the run took; none: not over, as far as we know."""
    tasks: tuple[TaskState, ...] = ()
    failures: dict[str, str] = field(default_factory=dict)
    """Why it failed: a message per task."""
    interrupted: bool = False
    """Ctrl-c ended the following; the run goes on."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def check(self) -> None:
        """Pass when the run is done, or goes on unwatched.

        Raises:
            KubeflowError: it failed or was terminated.
        """
        if self.state not in FINISHED or self.state == "SUCCEEDED":
            return
        what = "was terminated" if self.state == "CANCELED" else self.state.lower()
        reasons = [f"{task}: {reason}" for task, reason in self.failures.items()]
        raise KubeflowError("\n".join([f"run {self.run} {what}; look at {self.url}", *reasons]))


@dataclass(frozen=True)
class Uploaded:
    """A version of a pipeline that the server has."""

    pipeline: str
    pipeline_id: str
    version: str
    version_id: str
    uploaded: bool
    """Whether it is new on this server."""


def upload(
    config: RunConfig,
    target: Target,
    compilers: Iterable[Compile] = (compile_to,),
    *,
    allow_tags: bool = False,
    connect: Callable[[str | None, str | None], Server] = connect,
) -> Iterator[Uploaded]:
    """Upload each pipeline where it is new, one after the other; no run is started.

    Args:
        config: becomes the defaults of the form.
        target: where to; experiment and service account do not matter.
        compilers: each writes one pipeline.
        allow_tags: accept images without a digest.
        connect: makes the connection.

    Raises:
        ConfigError: an image is not pinned, or no server or namespace is known.
        KubeflowError: the server cannot be reached, refuses, or is too old.
    """
    if not allow_tags:
        require_pinned()
    built = [package(config, compiler) for compiler in compilers]
    server = connect(target.host, target.namespace)
    for one in built:
        pipeline_id = _pipeline(server, one)
        version_id, uploaded = _version(server, one, pipeline_id, config.run.name)
        yield Uploaded(one.name, pipeline_id, one.version, version_id, uploaded)


def submit(
    config: RunConfig,
    target: Target,
    console: Console,
    *,
    wait: bool = True,
    allow_tags: bool = False,
    compile_to: Compile = compile_to,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    **seams: Any,
) -> Submission:
    """Upload the pipeline where it is new, start a run of it and follow it.

    Args:
        config: what to run; becomes the run's parameters.
        target: where to run it.
        console: for people: what is done, and the tasks' states.
        wait: follow the run to its end; ctrl-c ends the following, not the run.
        allow_tags: accept images without a digest.
        compile_to: writes the pipeline; `functools.partial` chooses one.
        now: the clock.
        seams: `sleep`, for `follow`.

    Raises:
        ConfigError: an image is not pinned, or no server or namespace is known.
        KubeflowError: the server cannot be reached, refuses, or is too old.
    """
    built = package(config, compile_to)
    if not allow_tags:
        require_pinned()
    server = connect(target.host, target.namespace)
    started = _start(server, built, config, target, f"{now():%Y%m%d-%H%M%S}")
    _announce(console, started)
    if not wait:
        return started
    try:
        return _followed(server, built, started, console, now, **seams)
    except KeyboardInterrupt:
        end = ["chainsight", "terminate", started.run_id, *target.flags()]
        console.print(
            f"stopped following; the run goes on. To end it: {shlex.join(end)}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
        return replace(started, interrupted=True)


def terminate(target: Target, run_id: str) -> None:
    """End a run: Kubeflow stops its pods; what its stages committed stays.

    Raises:
        ConfigError: no server or namespace is known.
        KubeflowError: the server cannot be reached or refuses.
    """
    server = connect(target.host, target.namespace)
    with server.talking(f"terminate run {run_id}"):
        server.client.terminate_run(run_id)


def _start(
    server: Server, built: Package, config: RunConfig, target: Target, stamp: str
) -> Submission:
    name = f"{config.run.name}-{stamp}"
    experiment = target.experiment or config.run.experiment
    pipeline_id = _pipeline(server, built)
    version_id, uploaded = _version(server, built, pipeline_id, config.run.name)
    with server.talking(f"create the experiment {experiment}"):
        group = server.client.create_experiment(experiment, namespace=server.namespace)
    with server.talking("start the run"):
        run = server.client.run_pipeline(
            experiment_id=group.experiment_id,
            job_name=name,
            params=built.parameters,
            pipeline_id=pipeline_id,
            version_id=version_id,
            service_account=target.service_account,
        )
    url = server.run_url(run.run_id)
    return Submission(built.name, built.version, uploaded, experiment, name, run.run_id, url)


def _pipeline(server: Server, built: Package) -> str:
    """The pipeline's id; an empty pipeline is made where there is none.

    (`upload_pipeline` would call the first version like the pipeline, not after its content.)
    """
    found = _find_pipeline(server, built)
    if found:
        return found
    made = V2beta1Pipeline(
        name=built.name,
        display_name=built.name,
        description=built.description,
        namespace=server.namespace,
    )
    try:
        with server.talking("create the pipeline"):
            return str(server.client.pipelines.pipeline_service_create_pipeline(made).pipeline_id)
    except KubeflowError as error:
        found = _find_pipeline(server, built) if error.status == 409 else None
        if found is None:
            raise
        return found  # another upload was quicker


def _find_pipeline(server: Server, built: Package) -> str | None:
    with server.talking("look up the pipeline"):
        listed = server.client.list_pipelines(
            namespace=server.namespace, filter=_named(built.name)
        ).pipelines
    return str(listed[0].pipeline_id) if listed else None


def _version(server: Server, built: Package, pipeline_id: str, run: str) -> tuple[str, bool]:
    """The version's id, and whether it was uploaded just now."""
    found = _find_version(server, built, pipeline_id)
    if found:
        return found, False
    with TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        path.write_text(built.text, encoding="utf-8")
        try:
            with server.talking("upload the pipeline"):
                made = server.client.upload_pipeline_version(
                    str(path),
                    built.version,
                    pipeline_id=pipeline_id,
                    description=f"The form's defaults are those of the run {run}.",
                )
        except KubeflowError as error:
            found = _find_version(server, built, pipeline_id) if error.status == 409 else None
            if found is None:
                raise
            return found, False  # another submission was quicker
    return str(made.pipeline_version_id), True


def _find_version(server: Server, built: Package, pipeline_id: str) -> str | None:
    with server.talking("look up the pipeline's versions"):
        listed = server.client.list_pipeline_versions(
            pipeline_id, filter=_named(built.version)
        ).pipeline_versions
    return str(listed[0].pipeline_version_id) if listed else None


def _named(name: str) -> str:
    predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
    return json.dumps({"predicates": [predicate]})


def _announce(console: Console, started: Submission) -> None:
    news = "uploaded" if started.uploaded else "was there"
    for title, value in (
        ("pipeline", f"{started.pipeline} {started.version} ({news})"),
        ("experiment", started.experiment),
        ("run", f"{started.run} (id {started.run_id})"),
        ("look at", started.url),
    ):
        console.print(f"{title:<11} {value}", highlight=False, markup=False, soft_wrap=True)


def _followed(
    server: Server,
    built: Package,
    started: Submission,
    console: Console,
    now: Callable[[], datetime],
    **seams: Any,
) -> Submission:
    with TaskView(console) as view:
        run, tasks = follow(server, started.run_id, built.tasks, view, now=now, **seams)
        seconds = (run.finished_at - run.created_at).total_seconds()
        view.say(f"{_outcome(run).lower()} after {duration(max(seconds, 0.0))}")
    return replace(
        started,
        state=_outcome(run),
        seconds=seconds,
        tasks=tuple(tasks),
        failures=failures(server, run, built.tasks) if run.state == "FAILED" else {},
    )


def _outcome(run: Any) -> str:
    """State of a finished run; one that was terminated may end as FAILED, by its deadline."""
    history = [status.state for status in run.state_history or []]
    return "CANCELED" if "CANCELING" in history else str(run.state)
