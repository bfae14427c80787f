"""The one road into a stage: find or run, commit.

The command line, the KFP components (`chainsight.component`) and the tests all call `execute`.
"""

import errno
import fcntl
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from chainsight.config import RunConfig
from chainsight.context import Silent
from chainsight.errors import ConfigError, StoreError
from chainsight.job import Job, describe, job
from chainsight.stages import ALL, STAGES
from chainsight.store import Manifest, Store, open_store

OUTPUTS = "outputs"
"""Folder of the outputs in that of a stage's unfinished work."""


@dataclass(frozen=True)
class StageRun:
    """What one execution of a stage left behind."""

    stage: str
    outputs: dict[str, Manifest]
    reused: bool

    @property
    def metrics(self) -> dict[str, float]:
        return next(iter(self.outputs.values())).metrics

    @property
    def seconds(self) -> float:
        """Wall time of the execution that made the artifacts."""
        return next(iter(self.outputs.values())).seconds


def find(job: Job) -> StageRun | None:
    """The committed result of `job`, or None."""
    key = job.key
    found = {kind: job.store.find(kind, key) for kind in job.stage.outputs}
    outputs = {kind: manifest for kind, manifest in found.items() if manifest is not None}
    if len(outputs) < len(found):
        return None
    return StageRun(job.stage.name, outputs, reused=True)


@dataclass(frozen=True)
class Claim:
    """A stage's work, which one process at a time may do."""

    work: Path
    """Private folder; survives a kill."""
    lock: int
    """Open file that holds the lock; so does a child process that inherits it."""


def execute(
    job: Job,
    *,
    pipeline_run: str = "",
    how: Callable[[Job, Claim, str], StageRun] | None = None,
) -> StageRun:
    """Execute a stage, or reuse what an equal execution committed.

    `pipeline_run` names the pipeline run that MLflow's parent run stands for. `how` does the
    work that is found to be necessary; none: this process does (`perform`).
    """
    done = find(job)
    if done is not None:
        return done
    work = private_folder(job)
    with locked(work.with_suffix(".lock"), job.stage.name) as lock:
        done = find(job)  # another process may have finished while this one waited
        if done is None and how is not None:
            done = how(job, Claim(work, lock), pipeline_run)
        elif done is None:
            done = perform(job, work, pipeline_run)
        shutil.rmtree(work, ignore_errors=True)
    return done


def private_folder(job: Job) -> Path:
    """The folder of a stage's unfinished work, made if need be."""
    work = _private(job)
    work.mkdir(parents=True, exist_ok=True)
    return work


def _private(job: Job) -> Path:
    return job.work / f"{job.stage.name}-{job.key[:16]}"


def left_behind(job: Job, kind: str) -> Path | None:
    """What an execution that ended in an error had written of an output; None: nothing."""
    folder = _private(job) / OUTPUTS / kind
    return folder if folder.is_dir() else None


@contextmanager
def locked(path: Path, stage: str) -> Iterator[int]:
    """Hold the file lock at `path`; one process of this host at a time does a stage's work.

    Gives the lock's file descriptor.
    """
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{stage}: another process is at the same work; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def perform(job: Job, work: Path, pipeline_run: str, **surroundings: Any) -> StageRun:
    """Execute a stage in this process and commit its outputs.

    `surroundings` are fields of its context beyond those of the job: `parallel`, `stopping`.
    """
    from chainsight.tracking import Tracking

    key = job.key
    sources = describe(job)["config"].get("sources", {})
    context = replace(
        job.context(), work=work, pipeline_run=pipeline_run, sources=sources, **surroundings
    )
    fetch = job.store.fetch_light if job.stage.light else job.store.fetch
    for manifest in job.inputs.values():
        if job.stage.light:  # what it does not fetch, it refers others to
            job.store.check(manifest)
    folders = {kind: fetch(manifest) for kind, manifest in job.inputs.items()}
    outputs = fresh_folders(work / OUTPUTS, job.stage.outputs)
    stage_run = job.stage.load()
    tracking = Tracking(job.run.mlflow_uri(), job.run.experiment)
    with out_of_space(job), tracking.stage(job.stage.name, pipeline_run) as tracked:
        tracked.params(job.identity)
        start = time.monotonic()
        context = replace(context, metrics=tracked, run_id=tracked.run_id)
        metrics = stage_run(job.config, **folders, **outputs, context=context)
        seconds = time.monotonic() - start
        tracked.log({**metrics, "seconds": seconds}, step=0)
        about = describe(job) | {"seconds": seconds}
        manifests = {
            kind: job.store.commit(folder, kind=kind, key=key, metrics=metrics, **about)
            for kind, folder in outputs.items()
        }
        tracked.tags({f"artifact.{k}": job.store.artifact_uri(k, key) for k in manifests})
    return StageRun(job.stage.name, manifests, reused=False)


def assist(job: Job, work: Path, **surroundings: Any) -> None:
    """Execute a stage beside the process that performs it, as one of its other ranks.

    It says nothing, records nothing, and what it might write is thrown away.
    """
    folders = {kind: job.store.fetch(manifest) for kind, manifest in job.inputs.items()}
    context = replace(job.context(), work=work, progress=Silent(), **surroundings)
    with out_of_space(job), TemporaryDirectory() as scratch:
        outputs = fresh_folders(Path(scratch) / "outputs", job.stage.outputs)
        job.stage.load()(job.config, **folders, **outputs, context=context)


def fresh_folders(parent: Path, kinds: Iterable[str]) -> dict[str, Path]:
    """Empty folders for the outputs; what a killed attempt left there is no result."""
    shutil.rmtree(parent, ignore_errors=True)
    folders = {kind: parent / kind for kind in kinds}
    for folder in folders.values():
        folder.mkdir(parents=True)
    return folders


@contextmanager
def out_of_space(job: Job) -> Iterator[None]:
    """Turn a full disk into a StoreError that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StoreError(
            f"{job.stage.name}: no space left for {error.filename or job.run.home}; free some or "
            f"set run.home and run.store elsewhere, then run again: finished work is kept"
        ) from error


def resolve(config: RunConfig, given: Mapping[str, str] | None = None) -> dict[str, StageRun]:
    """The committed stages of a run, in order, up to the first that is missing.

    Needs no database: each key follows from the configuration and the artifacts before.

    Args:
        config: the run.
        given: store URIs of artifacts that come from elsewhere, by kind; stages that write nothing
            else are left out.
    """
    store = open_store(config.run.store_uri(), Path(config.run.home) / "cache")
    found: dict[str, StageRun] = {}
    uris = dict(given or {})
    stages = {name: s for name, s in STAGES.items() if not set(s.outputs) <= set(uris)}
    for name, stage in stages.items():
        result = find(
            job(
                name,
                config.section(name),
                run=config.run,
                model=config.model,
                inputs={kind: uris[kind] for kind in stage.inputs},
                store=store,
            )
        )
        if result is None:
            break
        found[name] = result
        made = {k: store.artifact_uri(k, m.key) for k, m in result.outputs.items()}
        uris = made | uris
    return found


def run_alone(
    name: str, config: RunConfig, inputs: Mapping[str, str]
) -> tuple[StageRun, dict[str, str]]:
    """Run one stage; inputs that are not given are those of the configuration's own run.

    Returns:
        The stage's result and the store URI of each output.

    Raises:
        ConfigError: an input is neither given nor finished.
    """
    stage = ALL[name]
    wanted = stage.inputs
    store = open_store(config.run.store_uri(), Path(config.run.home) / "cache")
    given: dict[str, str] = dict(inputs)
    if set(wanted) - set(given):
        for done in resolve(config).values():
            uris = {k: store.artifact_uri(k, m.key) for k, m in done.outputs.items()}
            given = {k: uri for k, uri in uris.items() if k in wanted} | given
    for kind in wanted:
        if kind not in given:
            maker = next(s.name for s in STAGES.values() if kind in s.outputs)
            raise ConfigError(
                f"{name} reads {kind}, which is not there yet: run `chainsight {maker} CONFIG` "
                f"with the same configuration first, or give --{kind} with a manifest or store URI"
            )
    section = config.section(stage.section or name)
    work = job(name, section, run=config.run, model=config.model, inputs=given, store=store)
    done = execute(work)
    return done, {k: store.artifact_uri(k, m.key) for k, m in done.outputs.items()}


def lineage(store: Store, outputs: Mapping[str, Manifest]) -> dict[str, StageRun]:
    """The stages that `outputs` came from, oldest first, read off the manifests' inputs.

    Of a stage that ran in several rounds it is the last run.
    """
    found: dict[str, dict[str, Manifest]] = {}
    seen: set[tuple[str, str]] = set()
    todo = deque(outputs.values())
    while todo:
        manifest = todo.popleft()  # the nearest first
        if (manifest.stage, manifest.key) in seen:
            continue
        seen.add((manifest.stage, manifest.key))
        todo.extend(store.load(uri) for uri in manifest.inputs.values())
        stage = ALL[manifest.stage]
        if stage.name not in found:
            siblings = {kind: store.find(kind, manifest.key) for kind in stage.outputs}
            found[stage.name] = {kind: m for kind, m in siblings.items() if m is not None}
    return {name: StageRun(name, found[name], reused=True) for name in ALL if name in found}


def say(message: str) -> None:
    """One line to whoever reads the log."""
    print(message, file=sys.stderr, flush=True)  # noqa: T201
