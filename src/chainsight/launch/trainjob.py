"""A training as a Kubeflow TrainJob: made or found again, followed to its end, cleaned up.

The launcher is small and may die at any time: its TrainJob is named after the stage key, so the
next try finds it and goes on waiting. It is deleted after success and when the launcher is
terminated; a failed one stays to be looked at until the next try replaces it.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any, NoReturn

from chainsight import runner
from chainsight.config.platform import PlatformSection
from chainsight.errors import LaunchError
from chainsight.job import Job
from chainsight.launch import explain
from chainsight.launch.cluster import Cluster, Say
from chainsight.launch.manifest import MANAGED_BY, PIPELINE_RUN, Owner, Work, build, label
from chainsight.launch.podlog import NodeLog
from chainsight.launch.refusals import RefusalError
from chainsight.launch.state import State, is_of, is_of_run, state_of
from chainsight.runner import StageRun

POD_VARIABLE = "KFP_POD_NAME"
"""Set by KFP in each of its pods (downward API, `metadata.name`)."""
_ROUNDS = 5
"""Each removes one obstacle on the way to a TrainJob; more are a fight with someone else."""


class Terminated(SystemExit):
    """SIGTERM came, as from Kubernetes when a run is terminated; exit code 143, as a shell's."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


def execute(
    job: Job,
    platform: PlatformSection,
    payload: str,
    *,
    pipeline_run: str = "",
    image: str | None = None,
    cluster: Cluster | None = None,
    environment: Mapping[str, str] = os.environ,
    say: Say | None = None,
) -> StageRun:
    """Execute a training stage as a TrainJob, or reuse what an equal execution committed.

    `payload` is the job as JSON for the workers; `image` their image, this pod's own if None.

    Raises:
        LaunchError: as `run_trainjob`.
        StoreError: the store cannot be asked for the result.
    """
    done = runner.find(job)
    if done is not None:
        return done
    say = say or _to_stderr
    cluster = cluster or Cluster.connect(say=say)
    owner, own_image = surroundings(cluster, say, environment)
    image = image or own_image
    if image is None:
        raise LaunchError(
            f"{job.stage.name}: which image the TrainJob needs is not known outside of a KFP pod "
            f"({POD_VARIABLE} is not set, or the pod cannot be read); name it"
        )
    run_trainjob(
        Work(job.stage.name, job.key, payload, image, pipeline_run),
        platform,
        done=lambda: runner.find(job) is not None,
        cluster=cluster,
        owner=owner,
        environment=environment,
        say=say,
    )
    found = runner.find(job)
    assert found is not None
    return replace(found, reused=False)


def run_trainjob(
    work: Work,
    platform: PlatformSection,
    *,
    done: Callable[[], bool],
    cluster: Cluster | None = None,
    owner: Owner | None = None,
    environment: Mapping[str, str] = os.environ,
    say: Say | None = None,
) -> None:
    """Train as a TrainJob and return when `done`, which tells whether the result is committed.

    Waits without limit while the job is queued; once admitted, `platform.timeout_seconds` count.

    Raises:
        LaunchError: the cluster refuses, cannot be reached, or the training failed; the message
            has conditions, events and the last lines of the log.
        Terminated: SIGTERM; the TrainJob is deleted.
    """
    say = say or _to_stderr
    cluster = cluster or Cluster.connect(say=say)
    launch = _Launch(cluster, work, done, say)
    with _terminable():
        try:
            resource = build(work, platform, environment=environment, owner=owner)
            launch.run(resource)
        except (Terminated, KeyboardInterrupt):
            launch.end()
            raise


def end_run(cluster: Cluster, pipeline_run: str, say: Say) -> list[str]:
    """Delete the TrainJobs that a pipeline run left unfinished; their names.

    For the end of a run: a launcher that was killed could not do it.
    """
    selector = {MANAGED_BY: "chainsight", PIPELINE_RUN: label(pipeline_run)}
    left = [job for job in cluster.trainjobs(selector) if not state_of(job).finished]
    for job in left:
        cluster.delete(job["metadata"]["name"], job["metadata"]["uid"])
        say(f"TrainJob {job['metadata']['name']} deleted, as its run has ended")
    return [job["metadata"]["name"] for job in left]


def surroundings(
    cluster: Cluster, say: Say, environment: Mapping[str, str] = os.environ
) -> tuple[Owner | None, str | None]:
    """The Argo Workflow that owns this pod, and the pod's image; None for what is not known.

    The downward API offers no owner references, so the pod reads itself by its name.
    """
    name = environment.get(POD_VARIABLE)
    if not name:
        return None, None
    try:
        pod = cluster.pod(name)
    except RefusalError as refusal:
        say(f"the TrainJob will belong to no workflow and outlive a terminated run: {refusal}")
        return None, None
    owners = pod["metadata"].get("ownerReferences", [])
    found = next((item for item in owners if item["kind"] == "Workflow"), None)
    owner = Owner(found["name"], found["uid"]) if found else None
    images = {item["name"]: item["image"] for item in pod["spec"]["containers"]}
    return owner, images.get("main")  # what Argo calls the step's own container


class _Launch:
    """One try to bring a piece of work to its end."""

    def __init__(self, cluster: Cluster, work: Work, done: Callable[[], bool], say: Say) -> None:
        self.cluster, self.work, self.done, self._say = cluster, work, done, say
        self.mine: str | None = None
        """uid of the TrainJob that this pipeline run made."""
        self._shown: set[str] = set()

    def say(self, text: str) -> None:
        self._say(f"{self.work.stage}: TrainJob {self.work.name} {text}")

    def say_line(self, text: str) -> None:
        self._say(f"node-0 | {text}")

    def run(self, resource: dict[str, Any]) -> None:
        job = self.obtain(resource)
        with NodeLog(self.cluster, self.work.name, self.say_line).following() as log:
            last, state = self.follow(job)
            if self.done():
                log.drained()  # before the pods go with the TrainJob
                self.succeed(last, state)
                return
            raise LaunchError(self.explained(last, state, log))

    def explained(self, last: dict[str, Any], state: State | None, log: NodeLog) -> str:
        if state is None:
            return explain.vanished(self.work)
        if state.phase == "complete":
            return explain.without_result(self.work, log.drained())
        return explain.failure(self.cluster, self.work, last, log.drained())

    def obtain(self, resource: dict[str, Any]) -> dict[str, Any]:
        """Create the TrainJob, or find the one of an earlier try."""
        for _ in range(_ROUNDS):
            try:
                made = self.cluster.create(resource)
            except RefusalError as refusal:
                if refusal.status != 409:
                    raise
            else:
                self.say("created")
                self.mine = made["metadata"]["uid"]
                return made
            found = self.cluster.get(self.work.name)
            if found is not None and self.keep(found):
                return found
        raise LaunchError(
            f"{self.work.stage}: TrainJob {self.work.name} comes back again and again in namespace "
            f"{self.cluster.namespace}; find out who else makes and deletes it"
        )

    def keep(self, found: dict[str, Any]) -> bool:
        """Whether to go on with an earlier try's TrainJob; if not, it is gone afterwards."""
        if not is_of(found, self.work):
            raise LaunchError(
                f"{self.work.stage}: namespace {self.cluster.namespace} has a TrainJob "
                f"{self.work.name} that is not of this work; delete or rename it, then run again"
            )
        state = state_of(found)
        if found["metadata"].get("deletionTimestamp"):
            self.say("of an earlier try is being deleted; waiting for its pods to end")
        elif state.finished and not self.done():
            self.say(f"of an earlier try has {state.text}; it is replaced")
            self.cluster.delete(self.work.name, found["metadata"]["uid"])
        else:
            self.say("of an earlier try is there; going on with it")
            self.mine = found["metadata"]["uid"] if is_of_run(found, self.work) else None
            return True
        self.wait_gone(found["metadata"]["uid"])
        return False

    def wait_gone(self, uid: str) -> None:
        for now in self.cluster.changes(self.work.name):
            if now is None or now["metadata"]["uid"] != uid:
                return

    def follow(self, job: dict[str, Any]) -> tuple[dict[str, Any], State | None]:
        """Wait for the end; the state is None when the TrainJob has been deleted."""
        uid, last, shown = job["metadata"]["uid"], job, ""
        for now in self.cluster.changes(self.work.name):
            if now is None or now["metadata"]["uid"] != uid:
                return last, None
            last, state = now, state_of(now)
            if state.text != shown:
                self.say(f"is {state.text}" if not state.finished else f"has {state.text}")
                shown = state.text
            if state.finished:
                return last, state
            if state.phase == "starting":
                self.show_troubles()
        raise AssertionError("changes() never ends")

    def show_troubles(self) -> None:
        """Tell why pods do not start, each reason once: no such nodes, no such image."""
        try:
            events = explain.warnings(self.cluster, self.work)
        except RefusalError:
            return  # for the message of a failure it is said
        for text in events:
            if text not in self._shown:
                self._shown.add(text)
                self.say(f"event: {text}")

    def succeed(self, last: dict[str, Any], state: State | None) -> None:
        """The result is committed, whatever became of the processes afterwards."""
        if state is not None and state.phase == "failed":
            self.say("failed after its result had been committed, which stands")
        try:
            self.cluster.delete(self.work.name, last["metadata"]["uid"])
        except LaunchError as error:
            self.say(f"has done its work but stays: {error}")

    def end(self) -> None:
        """Delete what this pipeline run made; equal work of another run may go on in its own."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not cut this short
        try:
            found = None if self.mine else self.cluster.get(self.work.name)
            if found and is_of(found, self.work) and is_of_run(found, self.work):
                self.mine = found["metadata"]["uid"]
            if self.mine:
                self.cluster.delete(self.work.name, self.mine)
                self.say("deleted, as the launcher is terminated")
        except LaunchError as error:
            self.say(f"could not be deleted: {error}")


@contextmanager
def _terminable() -> Iterator[None]:
    """Turn SIGTERM into an exception, in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated


def _to_stderr(text: str) -> None:
    moment = time.strftime("%H:%M:%S")
    print(f"{moment} {text}", file=sys.stderr, flush=True)  # noqa: T201
