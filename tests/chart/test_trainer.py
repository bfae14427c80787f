"""The TrainingRuntime that the chart ships, against the one that docs/trainjob.md explains."""

import re
from typing import Any

import yaml
from charts import RIGHT, ROOT, Rendered, of_kind, pods, render, text

DOCUMENTED = next(
    block
    for block in map(
        yaml.safe_load,
        re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/trainjob.md").read_text(), re.DOTALL),
    )
    if block["kind"] == "TrainingRuntime"
)


def _runtime() -> Rendered:
    (runtime,) = of_kind(render("all-on"), "TrainingRuntime")
    return runtime


def _jobset(body: Any) -> Any:
    return body["spec"]["template"]["spec"]


def _job(body: Any) -> Any:
    (job,) = _jobset(body)["replicatedJobs"]
    return job


def _pod(body: Any) -> Any:
    return _job(body)["template"]["spec"]["template"]["spec"]


def test_it_is_the_documented_one_in_what_trainer_lets_no_trainjob_patch() -> None:
    shipped, documented = _runtime().body, DOCUMENTED
    assert shipped["metadata"]["labels"]["trainer.kubeflow.org/framework"] == "torch"
    assert shipped["spec"]["mlPolicy"] == documented["spec"]["mlPolicy"]
    assert _job(shipped)["name"] == _job(documented)["name"] == "node"
    step = "trainer.kubeflow.org/trainjob-ancestor-step"
    assert _job(shipped)["template"]["metadata"]["labels"][step] == "trainer"
    assert _job(shipped)["template"]["spec"]["backoffLimit"] == 0
    for key in ("restartPolicy", "automountServiceAccountToken", "terminationGracePeriodSeconds"):
        assert _pod(shipped)[key] == _pod(documented)[key], key


def test_its_container_works_where_the_documented_one_does() -> None:
    shipped, documented = (_pod(body)["containers"][0] for body in (_runtime().body, DOCUMENTED))
    assert shipped["name"] == documented["name"]
    assert shipped["workingDir"] == documented["workingDir"]
    assert shipped["securityContext"].items() >= documented["securityContext"].items()
    places = [{m["mountPath"] for m in one["volumeMounts"]} for one in (shipped, documented)]
    assert places[0] >= places[1]
    volumes = {v["name"]: v for v in _pod(_runtime().body)["volumes"]}
    assert all("emptyDir" in volumes[mount["name"]] for mount in shipped["volumeMounts"])


def test_lost_pods_are_restarted_and_finished_jobs_never_expire() -> None:
    """Trainer makes a JobSet that expired anew, and with it the training."""
    assert _jobset(_runtime().body)["failurePolicy"]["maxRestarts"] >= 1
    for values in RIGHT:
        for one in of_kind(render(values), "TrainingRuntime"):
            assert "ttlSecondsAfterFinished" not in text(dict(one.body)), values


def test_the_grace_period_outlasts_the_workers_last_checkpoint() -> None:
    """docs/trainjob.md: workers take up to 120 s for it."""
    assert _pod(_runtime().body)["terminationGracePeriodSeconds"] > 120


def test_it_stands_where_the_runs_are_and_under_the_name_that_they_ask_for() -> None:
    objects = render("all-on")
    (runtime,) = of_kind(objects, "TrainingRuntime")
    profiles = [
        yaml.safe_load(data)
        for one in of_kind(objects, "ConfigMap")
        for name, data in (one.body.get("data") or {}).items()
        if name.endswith(".yaml") and "platform:" in data
    ]
    asking = [p["platform"] for p in profiles if p["platform"].get("launcher") == "trainjob"]
    assert asking
    assert {platform["runtime"] for platform in asking} == {runtime.name}
    (queue,) = of_kind(objects, "LocalQueue")
    assert {platform["queue"] for platform in asking} == {queue.name}
    places = {one.body["metadata"].get("namespace") for one in (runtime, queue)}
    assert len(places) == 1


def test_a_trainjob_patches_containers_that_the_runtime_has() -> None:
    """src/chainsight/launch names the job and the container."""
    (pod,) = [pod for pod in pods(render("all-on")) if pod.owner.kind == "TrainingRuntime"]
    assert [container["name"] for container in pod.containers] == ["node"]
