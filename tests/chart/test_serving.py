"""Serving and the reconciler: what the one renders is what the other changes."""

import pytest
import yaml
from charts import DIGEST, RIGHT, Pod, Rendered, of_kind, pods, render, the

ENGINES = (("serving.engine=chainsight",), ("serving.engine=vllm", "serving.gpus=1",
           f"images.vllm.digest={DIGEST}"))  # fmt: skip


@pytest.mark.parametrize("values", RIGHT)
def test_the_model_is_left_to_the_reconciler(values: str) -> None:
    """A variable that the chart rendered would be put back by the next `helm upgrade`."""
    for pod in pods(render(values)):
        for container in pod.containers:
            names = [variable["name"] for variable in container.get("env") or ()]
            assert "CHAINSIGHT_MODEL" not in names, str(pod.owner)


@pytest.mark.parametrize("sets", ENGINES, ids=lambda sets: sets[0].partition("=")[2])
def test_the_reconciler_finds_the_containers_that_it_changes(sets: tuple[str, ...]) -> None:
    (pod,) = (p for p in pods(render("default", sets=sets)) if p.owner.component == "serving")
    names = {container["name"] for container in pod.containers}
    assert names & {"serve", "fetch"}, names


def test_with_vllm_the_model_is_fetched_and_verified_before_it_starts() -> None:
    (pod,) = (p for p in pods(render("default", sets=ENGINES[1])) if p.owner.component == "serving")
    first = pod.spec["initContainers"][0]
    assert first["name"] == "fetch"
    assert "fetch" in first["args"] + first.get("command", [])
    (server,) = pod.spec["containers"]
    shared = {m["name"] for m in first["volumeMounts"]} & {
        m["name"] for m in server["volumeMounts"]
    }
    assert shared
    assert server["resources"]["limits"]["nvidia.com/gpu"] in (1, "1")
    variables = {v["name"]: v.get("value") for v in server.get("env") or ()}
    assert variables.get("HF_HUB_OFFLINE") == "1", "vLLM asks the hub for what it does not find"
    secret = [v for v in server.get("env") or () if "secretKeyRef" in (v.get("valueFrom") or {})]
    assert secret == [], "vLLM needs no credentials: fetch has been there"


@pytest.mark.parametrize("values", RIGHT)
def test_long_running_containers_are_probed(values: str) -> None:
    """Readiness decides who gets traffic, liveness who is restarted; a slow start has its own."""
    for one in of_kind(render(values), "Deployment", "StatefulSet"):
        (pod,) = (pod for pod in pods((one,)))
        for container in pod.spec["containers"]:
            assert {"readinessProbe", "livenessProbe"} <= set(container), (
                str(one),
                container["name"],
            )
            assert container["readinessProbe"] != container["livenessProbe"], str(one)


def _path(one: Rendered, container: str, probe: str) -> str:
    (pod,) = pods((one,))
    (found,) = (c for c in pod.spec["containers"] if c["name"] == container)
    return str(found[probe]["httpGet"]["path"])


def test_serving_is_ready_once_its_model_is_and_alive_before() -> None:
    serving = the(render("default", sets=ENGINES[0]), "Deployment", "serving")
    assert _path(serving, "serve", "readinessProbe") == "/readyz"
    assert _path(serving, "serve", "livenessProbe") == "/healthz"


def test_a_rollout_of_serving_loses_no_answer() -> None:
    for sets in ENGINES:
        serving = the(render("default", sets=sets), "Deployment", "serving")
        strategy = serving.body["spec"].get("strategy") or {}
        if not sets[-1].startswith("images"):
            assert strategy.get("rollingUpdate", {}).get("maxUnavailable") in (0, "0"), sets


def test_a_rollout_is_given_up_by_the_deployment_no_sooner_than_by_the_reconciler() -> None:
    """The reconciler waits rollout_seconds; a smaller progressDeadlineSeconds would say failed."""
    serving = the(render("default"), "Deployment", "serving").body["spec"]
    assert serving.get("progressDeadlineSeconds", 600) >= 1800


def test_the_reconciler_rolls_the_deployment_that_is_there() -> None:
    objects = render("default")
    serving = the(objects, "Deployment", "serving")
    named = {
        yaml.safe_load(data).get("promotion", {}).get("deployment")
        for one in of_kind(objects, "ConfigMap")
        for name, data in (one.body.get("data") or {}).items()
        if name.endswith(".yaml") and "promotion:" in data
    }
    assert named - {None} == {serving.name}
    watcher = the(objects, "Deployment", "watcher")
    namespaces = {one.body["metadata"].get("namespace") for one in (serving, watcher)}
    assert len(namespaces) == 1


def test_there_is_one_reconciler() -> None:
    spec = the(render("default"), "Deployment", "watcher").body["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"]["type"] == "Recreate"


def test_a_change_of_configuration_rolls_the_pods_that_read_it() -> None:
    """Kubelet changes a mounted file, but nobody reads it twice."""
    before, after = render("default"), render("default", sets=("promotion.pollSeconds=7",))
    changed = {
        one.name
        for one, other in zip(
            of_kind(before, "ConfigMap"), of_kind(after, "ConfigMap"), strict=True
        )
        if one.body != other.body
    }
    assert changed
    rolled = {
        one.name
        for one, other in zip(
            of_kind(before, "Deployment"), of_kind(after, "Deployment"), strict=True
        )
        if one.body["spec"]["template"] != other.body["spec"]["template"]
    }
    reading = {
        pod.owner.name
        for pod in pods(before)
        if pod.owner.kind == "Deployment" and _mounted(pod) & changed
    }
    assert rolled == reading != set()


def _mounted(pod: Pod) -> set[str]:
    volumes = pod.spec.get("volumes") or ()
    return {volume["configMap"]["name"] for volume in volumes if "configMap" in volume}


def test_budgets_never_block_the_drain_of_a_node() -> None:
    """One pod and at least one of it available: the node is never empty."""
    for values in RIGHT:
        objects = render(values)
        for one in of_kind(objects, "PodDisruptionBudget"):
            assert one.body["spec"].get("maxUnavailable") in (1, "1"), one
