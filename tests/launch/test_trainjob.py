"""The launcher against a Kubernetes API: real requests to a stand-in that answers like it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from apiserver import NAMESPACE, ApiServer, RefuseError, kubeconfig
from launching import KEY, NAME, Clock, Launch, wait_for

from chainsight.config import PlatformSection
from chainsight.errors import LaunchError
from chainsight.job import Job
from chainsight.launch.cluster import Cluster
from chainsight.launch.manifest import Owner, Work, build
from chainsight.launch.trainjob import end_run, execute, surroundings
from chainsight.store import LocalStore

Starter = Callable[..., Launch]
FAILED = {"type": "Failed", "status": "True", "reason": "FailedJobs", "message": "jobset failed"}
COMPLETE = {"type": "Complete", "status": "True", "reason": "AllJobsCompleted", "message": "done"}
SUSPENDED = {"type": "Suspended", "status": "True", "reason": "Suspended", "message": "waits"}
RESUMED = SUSPENDED | {"status": "False", "reason": "Resumed"}
NODE = f"{NAME}-node-0-0-x1"
LABELS = {
    "jobset.sigs.k8s.io/jobset-name": NAME,
    "jobset.sigs.k8s.io/replicatedjob-name": "node",
    "batch.kubernetes.io/job-completion-index": "0",
}


def run_pods(server: ApiServer, *lines: str) -> None:
    """Do what the controllers do: start node 0, which prints `lines`."""
    server.add_pod(NODE, labels=LABELS)
    server.write_log(NODE, *lines)
    server.change(NAME, jobsStatus=[{"name": "node", "active": 1, "ready": 1}])


def complete(server: ApiServer, launched: Launch) -> None:
    launched.committed.set()
    server.end_pod(NODE)
    server.change(NAME, conditions=[COMPLETE])


def test_a_training_is_created_followed_and_cleaned_up(server: ApiServer, launch: Starter) -> None:
    launched = launch()
    wait_for(lambda: "is accepted" in launched.text())
    run_pods(server, "step 1 loss 2.5", "step 2 loss 2.25")
    wait_for(lambda: "node-0 | step 2 loss 2.25" in launched.said)
    server.write_log(NODE, "step 3 loss 2.0")
    wait_for(lambda: "node-0 | step 3 loss 2.0" in launched.said)
    complete(server, launched)
    launched.succeeded()
    assert server.job(NAME) is None
    shown = [line for line in launched.said if "TrainJob" in line]
    assert [line.split(NAME)[1].strip() for line in shown] == [
        "created",
        "is accepted",
        "is running on all nodes",
        "has complete (AllJobsCompleted: done)",
    ]


def test_a_training_of_an_earlier_try_is_found_again(
    server: ApiServer, launch: Starter, work: Work
) -> None:
    made = server.put(build(work, PlatformSection(), environment={}))
    launched = launch()
    wait_for(lambda: "going on with it" in launched.text())
    assert server.job(NAME)["metadata"]["uid"] == made["metadata"]["uid"]  # type: ignore[index]
    complete(server, launched)
    launched.succeeded()
    assert server.job(NAME) is None


def test_a_failed_training_of_an_earlier_try_is_replaced(
    server: ApiServer, launch: Starter, work: Work
) -> None:
    old = server.put(build(work, PlatformSection(), environment={}))["metadata"]["uid"]
    server.change(NAME, conditions=[FAILED])
    server.deletion_seconds = 0.3
    launched = launch()
    wait_for(lambda: "created" in launched.text())
    new = server.job(NAME)
    assert new is not None
    assert new["metadata"]["uid"] != old
    assert (
        "of an earlier try has failed (FailedJobs: jobset failed); it is replaced"
        in launched.text()
    )
    complete(server, launched)
    launched.succeeded()


def test_a_training_that_is_being_deleted_is_waited_for(
    server: ApiServer, launch: Starter, work: Work
) -> None:
    old = server.put(build(work, PlatformSection(), environment={}))
    server.deletion_seconds = 0.3
    server.delete(NAME, {})
    launched = launch()
    wait_for(lambda: "created" in launched.text())
    assert server.job(NAME)["metadata"]["uid"] != old["metadata"]["uid"]  # type: ignore[index]
    complete(server, launched)
    launched.succeeded()


def test_a_trainjob_of_someone_else_is_left_alone(
    server: ApiServer, launch: Starter, work: Work
) -> None:
    other = replace(work, key=KEY[:16] + "f" * 48)  # the same name
    server.put(build(other, PlatformSection(), environment={}))
    assert "not of this work; delete or rename it" in launch().failed()
    assert server.job(NAME) is not None


def test_a_queued_training_is_waited_for_without_limit(server: ApiServer, launch: Starter) -> None:
    """Ten watches that end without news stand for days: no clock of ours runs meanwhile."""

    def suspend(job: dict[str, object]) -> None:
        job["spec"]["suspend"] = True  # type: ignore[index] # as Kueue's webhook does

    server.admit = suspend
    launched = launch(watch_seconds=0, platform=PlatformSection(queue="gpu-train"))
    wait_for(lambda: server.job(NAME))
    server.change(NAME, conditions=[SUSPENDED])
    seen = server.count("watch", "trainjobs")
    wait_for(lambda: server.count("watch", "trainjobs") > seen + 10)
    assert launched.text().count("is queued in gpu-train") == 1
    server.change(NAME, suspend=False, conditions=[RESUMED])
    run_pods(server)
    wait_for(lambda: "is running on all nodes" in launched.text())
    complete(server, launched)
    launched.succeeded()


def test_a_failure_tells_conditions_pods_events_and_the_log(
    server: ApiServer, launch: Starter
) -> None:
    launched = launch()
    wait_for(lambda: server.job(NAME))
    run_pods(server, *(f"step {n}" for n in range(40)))
    server.note("Pod", NODE, "BackOff", "back-off restarting failed container")
    server.note("TrainJob", NAME, "TrainJobResourcesCreationFailed", "no such runtime")
    server.note("TrainJob", NAME, "Scheduled", "of no interest", type_="Normal")
    ended = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    server.end_pod(NODE, "Failed", containerStatuses=[{"name": "node", "state": ended}])
    server.change(NAME, conditions=[RESUMED, FAILED])
    message = launched.failed()
    assert message.startswith(f"sft: TrainJob {NAME} failed (FailedJobs: jobset failed)")
    for part in (
        "  Suspended=False Resumed: waits\n  Failed=True FailedJobs: jobset failed",
        f"  {NODE}: exit code 137, OOMKilled (out of memory: raise platform.gpu_pod.memory)",
        "  TrainJob TrainJobResourcesCreationFailed: no such runtime\n  Pod BackOff: back-off",
        "  step 10\n",
        "  step 39\n",
        f"kubectl -n {NAMESPACE} describe trainjob {NAME}",
    ):
        assert part in message
    assert "of no interest" not in message
    assert "step 9\n" not in message
    assert server.job(NAME) is not None  # kept


def test_pods_that_cannot_start_are_explained_once(server: ApiServer, launch: Starter) -> None:
    launched = launch(watch_seconds=0)
    wait_for(lambda: server.job(NAME))
    server.add_pod(NODE, "Pending", labels=LABELS)
    server.note("Pod", NODE, "FailedScheduling", "0/3 nodes are available")
    server.change(NAME, jobsStatus=[{"name": "node", "active": 1, "ready": 0}])
    wait_for(lambda: "0/3 nodes" in launched.text())
    seen = server.count("watch", "trainjobs")
    wait_for(lambda: server.count("watch", "trainjobs") > seen + 3)
    assert launched.text().count("event: Pod FailedScheduling: 0/3 nodes are available") == 1
    complete(server, launched)
    launched.succeeded()


def test_a_deleted_training_is_no_success(server: ApiServer, launch: Starter) -> None:
    launched = launch()
    wait_for(lambda: server.count("watch", "trainjobs"))
    server.remove(NAME)
    assert "was deleted before its result was committed" in launched.failed()


def test_one_of_the_same_name_made_meanwhile_is_not_taken_for_it(
    server: ApiServer, launch: Starter, work: Work
) -> None:
    launched = launch()
    wait_for(lambda: server.count("watch", "trainjobs"))
    server.fault = lambda *_: "503"
    server.cut_watches()
    server.remove(NAME)
    server.put(build(work, PlatformSection(), environment={}))
    server.change(NAME, conditions=[COMPLETE])
    server.fault = lambda *_: ""
    assert "was deleted before its result was committed" in launched.failed()


def test_the_end_of_the_log_is_shown_before_the_pods_go(server: ApiServer, launch: Starter) -> None:
    launched = launch()
    wait_for(lambda: "is accepted" in launched.text())
    server.add_pod(NODE, labels=LABELS)
    server.write_log(NODE, "all there was")
    complete(server, launched)
    launched.succeeded()
    assert "node-0 | all there was" in launched.said


def test_a_result_counts_whoever_deleted_the_trainjob(server: ApiServer, launch: Starter) -> None:
    launched = launch()
    wait_for(lambda: server.count("watch", "trainjobs"))
    launched.committed.set()
    server.remove(NAME)
    launched.succeeded()


def test_a_training_that_commits_nothing_is_no_success(server: ApiServer, launch: Starter) -> None:
    launched = launch()
    wait_for(lambda: server.job(NAME))
    run_pods(server, "nothing to do")
    server.end_pod(NODE)
    server.change(NAME, conditions=[COMPLETE])
    message = launched.failed()
    assert "is complete, but the store has no result of it" in message
    assert "  nothing to do" in message


def test_a_job_that_fails_after_its_commit_is_a_success(server: ApiServer, launch: Starter) -> None:
    launched = launch()
    wait_for(lambda: server.job(NAME))
    launched.committed.set()
    server.change(NAME, conditions=[FAILED])
    launched.succeeded()
    assert "which stands" in launched.text()


@pytest.mark.parametrize("verb", ["create", "list", "watch"])
def test_a_missing_permission_names_the_role(server: ApiServer, launch: Starter, verb: str) -> None:
    server.forbidden.add((verb, "trainjobs"))
    message = launch().failed()
    assert f"not allowed to {verb} trainjobs in namespace {NAMESPACE}" in message
    assert (
        "add to the Role of the pipeline's service account: apiGroups [trainer.kubeflow.org], "
        "resources [trainjobs], verbs [create, get, list, watch, delete]"
    ) in message
    assert "system:serviceaccount:team:pipeline-runner" in message


def test_a_success_needs_no_right_to_delete_or_read_logs(
    server: ApiServer, launch: Starter
) -> None:
    server.forbidden |= {("delete", "trainjobs"), ("get", "pods/log"), ("list", "events")}
    launched = launch()
    wait_for(lambda: server.job(NAME))
    run_pods(server)
    wait_for(lambda: "log cannot be shown: not allowed to get pods/log" in launched.text())
    complete(server, launched)
    launched.succeeded()
    assert "stays: not allowed to delete trainjobs" in launched.text()


def test_a_failure_is_told_without_the_right_to_see_pods(
    server: ApiServer, launch: Starter
) -> None:
    server.forbidden |= {("list", "pods"), ("list", "events")}
    launched = launch()
    wait_for(lambda: server.job(NAME))
    server.change(NAME, conditions=[FAILED])
    message = launched.failed()
    assert "Failed=True FailedJobs: jobset failed" in message
    assert "no more is known: not allowed to list pods" in message


def test_a_cluster_without_trainer_says_what_to_install(server: ApiServer, launch: Starter) -> None:
    server.has_trainer = False
    message = launch().failed()
    assert "knows no TrainJobs" in message
    assert "install Kubeflow Trainer 2.3" in message


def test_an_older_trainer_is_refused_not_misunderstood(server: ApiServer, launch: Starter) -> None:
    spec = {k: v for k, v in server.schema["spec"].items() if k != "runtimePatches"}
    server.schema = server.schema | {"spec": spec}
    message = launch().failed()
    assert "needs 2.3" in message
    assert 'unknown field "spec.runtimePatches"' in message


@pytest.mark.parametrize("code", [403, 422])
def test_an_admission_policy_speaks_for_itself(
    server: ApiServer, launch: Starter, code: int
) -> None:
    def deny(job: dict[str, object]) -> None:
        raise RefuseError(code, "Invalid", 'admission webhook "images" denied: no such digest')

    server.admit = deny
    message = launch().failed()
    assert f"the cluster refuses the trainjobs ({code})" in message
    assert "denied: no such digest" in message


def test_a_token_that_is_not_known_is_told(launch: Starter) -> None:
    assert "does not know this service account (401)" in launch(token="stale").failed()


def test_cut_watches_lose_nothing(server: ApiServer, launch: Starter) -> None:
    launched = launch()
    wait_for(lambda: server.job(NAME))
    run_pods(server, "step 1")
    wait_for(lambda: "node-0 | step 1" in launched.said)
    for number in range(2, 6):
        seen = server.count("watch", "trainjobs")
        server.cut_watches()
        server.write_log(NODE, f"step {number}")
        wait_for(lambda seen=seen: server.count("watch", "trainjobs") > seen)  # type: ignore[misc]
    server.write_log(NODE, "step 6")
    wait_for(lambda: "node-0 | step 6" in launched.said)
    complete(server, launched)
    launched.succeeded()
    assert [x for x in launched.said if "step" in x] == [f"node-0 | step {n}" for n in range(1, 7)]


def test_an_expired_watch_is_followed_by_a_fresh_look(server: ApiServer, launch: Starter) -> None:
    launched = launch()
    wait_for(lambda: server.count("watch", "trainjobs"))
    listed = server.count("list", "trainjobs")
    server.compact()  # the open watch gets 410 Gone
    wait_for(lambda: server.count("list", "trainjobs") > listed)
    complete(server, launched)
    launched.succeeded()


def test_the_api_may_be_away_for_minutes(server: ApiServer, launch: Starter, clock: Clock) -> None:
    server.fault = lambda verb, resource: ("cut", "503")[len(server.asked) % 2]
    launched = launch()
    wait_for(lambda: clock.now > 300)
    server.fault = lambda verb, resource: ""
    wait_for(lambda: server.job(NAME))
    complete(server, launched)
    launched.succeeded()
    assert "is away" in launched.text()


def test_an_api_that_stays_away_ends_the_launcher_not_the_training(
    server: ApiServer, launch: Starter, clock: Clock
) -> None:
    launched = launch()
    wait_for(lambda: server.count("watch", "trainjobs"))
    server.fault = lambda verb, resource: "503"
    server.cut_watches()
    message = launched.failed()
    assert "has not answered for 600 s (503" in message
    assert "a training that runs goes on" in message
    assert 600 < clock.now < 700
    assert server.job(NAME) is not None


def test_a_create_whose_answer_is_lost_is_found_again(server: ApiServer, launch: Starter) -> None:
    lost = iter(["lost"])

    def lose(job: dict[str, object]) -> None:
        if next(lost, None):
            server.put(job)
            raise RefuseError(503, "ServiceUnavailable", "the answer was lost")

    server.admit = lose
    launched = launch()
    wait_for(lambda: "going on with it" in launched.text())
    complete(server, launched)
    launched.succeeded()


def test_only_the_trainjob_that_is_meant_is_deleted(
    server: ApiServer, connect: Callable[..., Cluster], work: Work
) -> None:
    uid = server.put(build(work, PlatformSection(), environment={}))["metadata"]["uid"]
    connect().delete(NAME, "of one before it")
    assert server.job(NAME) is not None
    for _ in range(2):  # gone already is well, too
        connect().delete(NAME, uid)
        assert server.job(NAME) is None


def test_the_end_of_a_run_takes_what_it_left_unfinished(
    server: ApiServer, connect: Callable[..., Cluster], said: list[str], work: Work
) -> None:
    left, failed, other = (
        work,
        replace(work, stage="dpo"),
        replace(work, stage="x", pipeline_run="2"),
    )
    for each in (left, failed, other):
        server.put(build(each, PlatformSection(), environment={}))
    server.change(failed.name, conditions=[FAILED])
    assert end_run(connect(), "run-1", said.append) == [left.name]
    assert [server.job(each.name) is None for each in (left, failed, other)] == [True, False, False]


def test_a_stage_is_executed_in_the_cluster_and_reused_afterwards(
    server: ApiServer,
    connect: Callable[..., Cluster],
    said: list[str],
    job: Callable[[LocalStore], Job],
    tmp_path: Path,
) -> None:
    store = LocalStore(tmp_path / "store")
    stage = job(store)
    server.add_pod("step-1", containers=[{"name": "main", "image": "prepare@sha256:1"}])

    def workers(resource: dict[str, Any]) -> None:
        """Do at once what the pods would do in hours."""
        for kind in stage.stage.outputs:
            output = tmp_path / kind
            output.mkdir()
            (output / "rows").write_text(resource["spec"]["trainer"]["image"])
            store.commit(
                output, kind=kind, key=stage.key, stage="prepare", code_version="", config={},
                inputs={}, input_digests={}, metrics={}, seconds=1,
            )  # fmt: skip
        resource["status"] = {"conditions": [COMPLETE]}

    server.admit = workers
    pod = {"KFP_POD_NAME": "step-1"}
    given: dict[str, Any] = {"cluster": connect(), "environment": pod, "say": said.append}
    first = execute(stage, PlatformSection(), "{}", **given)
    assert not first.reused
    rows = store.fetch(first.outputs["examples"]) / "rows"
    assert rows.read_text() == "prepare@sha256:1"
    asked = len(server.asked)
    assert execute(stage, PlatformSection(), "{}", **given).reused
    assert len(server.asked) == asked


def test_outside_of_a_pod_the_image_must_be_named(
    connect: Callable[..., Cluster], job: Callable[[LocalStore], Job], tmp_path: Path
) -> None:
    stage = job(LocalStore(tmp_path / "store"))
    with pytest.raises(LaunchError, match="which image the TrainJob needs is not known"):
        execute(stage, PlatformSection(), "{}", cluster=connect(), environment={}, say=print)


# The launcher as the process that it is:

LAUNCHER = """
import sys
from pathlib import Path
from typing import Any
from chainsight.config import PlatformSection
from chainsight.launch.manifest import Work
from chainsight.launch.trainjob import run_trainjob
run = sys.argv[2]
work = Work("sft", "ab12" * 16, '{"stage": "sft"}', "image@sha256:0", pipeline_run=run)
run_trainjob(work, PlatformSection(), done=Path(sys.argv[1]).exists)
"""


@contextmanager
def launcher(
    server: ApiServer, folder: Path, run: str = "run-1", config: Path | None = None
) -> Iterator["subprocess.Popen[str]"]:
    if config is None:
        config = folder / "kubeconfig"
        config.write_text(kubeconfig(server))
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(folder / "committed"), run],
        env=os.environ | {"KUBECONFIG": str(config)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_killed_launcher_finds_its_training_again(server: ApiServer, tmp_path: Path) -> None:
    with launcher(server, tmp_path) as first:
        wait_for(lambda: server.count("watch", "trainjobs"))
        uid = server.job(NAME)["metadata"]["uid"]  # type: ignore[index]
        run_pods(server, "step 1")
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert server.job(NAME)["metadata"]["uid"] == uid  # type: ignore[index]
    seen = server.count("watch", "trainjobs")
    with launcher(server, tmp_path) as second:
        wait_for(lambda: server.count("watch", "trainjobs") > seen)
        assert server.job(NAME)["metadata"]["uid"] == uid  # type: ignore[index]
        (tmp_path / "committed").touch()
        server.end_pod(NODE)
        server.change(NAME, conditions=[COMPLETE])
        errors = second.communicate(timeout=20)[1]
    assert second.returncode == 0, errors
    assert "of an earlier try is there; going on with it" in errors
    assert "node-0 | step 1" in errors
    assert server.job(NAME) is None


def test_without_a_cluster_the_way_out_is_told(server: ApiServer, tmp_path: Path) -> None:
    with launcher(server, tmp_path, config=tmp_path / "none") as process:
        errors = process.communicate(timeout=20)[1]
    assert "platform.launcher is trainjob, but no cluster is known here" in errors
    assert "set KUBECONFIG, or set it to pod" in errors


def test_a_terminated_launcher_deletes_its_training(server: ApiServer, tmp_path: Path) -> None:
    with launcher(server, tmp_path) as process:
        wait_for(lambda: server.count("watch", "trainjobs"))
        process.send_signal(signal.SIGTERM)
        errors = process.communicate(timeout=20)[1]
    assert process.returncode == 143
    assert "deleted, as the launcher is terminated" in errors
    assert "Traceback" not in errors
    assert server.job(NAME) is None


def test_a_terminated_launcher_deletes_what_it_found_of_its_own_run_only(
    server: ApiServer, tmp_path: Path, work: Work
) -> None:
    server.put(build(work, PlatformSection(), environment={}))  # made by run-1
    for run, left in (("run-2", True), ("run-1", False)):
        seen = server.count("watch", "trainjobs")
        with launcher(server, tmp_path, run) as process:
            wait_for(lambda seen=seen: server.count("watch", "trainjobs") > seen)  # type: ignore[misc]
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=20)
        assert (server.job(NAME) is not None) == left


def test_a_pod_learns_its_workflow_and_its_image_from_itself(
    server: ApiServer, connect: Callable[..., Cluster], said: list[str]
) -> None:
    owner = {
        "kind": "Workflow",
        "name": "run-x7",
        "uid": "u-1",
        "apiVersion": "argoproj.io/v1alpha1",
    }
    containers = [{"name": "wait", "image": "argoexec"}, {"name": "main", "image": "sft@sha256:1"}]
    server.add_pod("step-1", metadata={"ownerReferences": [owner]}, containers=containers)
    cluster = connect()
    found = surroundings(cluster, said.append, {"KFP_POD_NAME": "step-1"})
    assert found == (Owner("run-x7", "u-1"), "sft@sha256:1")
    assert surroundings(cluster, said.append, {}) == (None, None)
    server.forbidden.add(("get", "pods"))
    assert surroundings(cluster, said.append, {"KFP_POD_NAME": "step-1"}) == (None, None)
    assert "will belong to no workflow" in said[-1]
