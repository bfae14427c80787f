"""Who reaches whom under the chart's NetworkPolicies."""

from typing import Any

import pytest
from charts import NAMESPACE, RIGHT, TAGS, Pod, Rendered, of_kind, pods, render
from network import Peer, allowed, namespace_of, selecting

from chainsight.stages import STAGES

WORLD = Peer(address="203.0.113.7")
METADATA = Peer(address="169.254.169.254")
PRIVATE = Peer(address="10.20.30.40")
TEACHES = {"distill", "doctor"}
ON = ("networkPolicy.enabled=true",)


def _policies(objects: tuple[Rendered, ...]) -> list[Any]:
    return [one.body for one in of_kind(objects, "NetworkPolicy")]


def _runs(objects: tuple[Rendered, ...]) -> str:
    """The namespace of the pipelines' pods: where the policies are that select their stages."""
    found = {
        namespace_of(policy, NAMESPACE)
        for policy in _policies(objects)
        if "chainsight.dev/" in str(policy["spec"].get("podSelector"))
    }
    assert len(found) == 1, found
    return found.pop()


def _peer(pod: Pod) -> Peer:
    return Peer(pod.labels, pod.owner.body["metadata"].get("namespace", NAMESPACE))


def _stages(objects: tuple[Rendered, ...]) -> dict[str, Peer]:
    """The pods of a pipeline, with the labels that it gives them."""
    runs = _runs(objects)
    return {
        stage: Peer({"chainsight.dev/stage": stage, "chainsight.dev/run": "r"}, runs)
        for stage in (*STAGES, "doctor")
    }


def _everyone(objects: tuple[Rendered, ...]) -> dict[str, Peer]:
    own = {str(p.owner): _peer(p) for p in pods(objects) if p.owner.kind != "TrainingRuntime"}
    return own | _stages(objects)


@pytest.mark.parametrize("values", RIGHT)
def test_every_pod_is_denied_by_default_in_both_directions(values: str) -> None:
    objects = render(values, sets=ON)
    for name, peer in _everyone(objects).items():
        for direction in ("Ingress", "Egress"):
            assert selecting(_policies(objects), peer, direction, NAMESPACE), (name, direction)


@pytest.mark.parametrize("values", RIGHT)
def test_only_distill_and_the_doctor_reach_the_world(values: str) -> None:
    objects = render(values, sets=(*ON, "networkPolicy.hub.stages:=[]"))
    for port in (443, 80, 22):
        reaching = {
            name
            for name, peer in _everyone(objects).items()
            if allowed(_policies(objects), peer, WORLD, port, NAMESPACE, "Egress")
        }
        assert reaching == (TEACHES if port == 443 else set()), port


@pytest.mark.parametrize("values", RIGHT)
def test_nobody_reaches_the_metadata_of_the_cloud(values: str) -> None:
    objects = render(values, sets=ON)
    for name, peer in _everyone(objects).items():
        for port in (80, 443):
            assert not allowed(_policies(objects), peer, METADATA, port, NAMESPACE, "Egress"), name


def test_nobody_outside_the_cluster_reaches_a_pod_by_its_address() -> None:
    objects = render("default", sets=ON)
    for name, peer in _everyone(objects).items():
        for port in (5000, 8000, 8080, 5432):
            assert not allowed(_policies(objects), peer, WORLD, port, NAMESPACE, "Ingress"), name


def test_every_pod_asks_dns_and_reaches_the_store() -> None:
    objects = render("default", sets=ON)
    dns = Peer({"k8s-app": "kube-dns"}, "kube-system")
    for name, peer in _everyone(objects).items():
        for port in (53, -53):
            assert allowed(_policies(objects), peer, dns, port, NAMESPACE, "Egress"), name
    for name, peer in _stages(objects).items():
        assert allowed(_policies(objects), peer, PRIVATE, 9000, NAMESPACE, "Egress"), name


def test_mlflow_hears_our_own_pods_and_not_others() -> None:
    objects = render("default", sets=ON)
    policies = _policies(objects)
    server = next(
        p for p in pods(objects) if p.owner.kind == "Deployment" and "mlflow" in str(p.owner)
    )
    friends = [
        *_stages(objects).values(),
        *(_peer(p) for p in pods(objects) if p.owner.kind == "Deployment"),
    ]
    assert all(allowed(policies, _peer(server), one, 5000, NAMESPACE, "Ingress") for one in friends)
    stranger = Peer({"app": "other"}, NAMESPACE)
    assert not allowed(policies, _peer(server), stranger, 5000, NAMESPACE, "Ingress")


SERVER = ("teacher.server.enabled=true", "teacher.server.model=qwen/qwen-vl", *ON)


def test_the_teacher_of_the_release_hears_who_asks_it_and_nobody_else() -> None:
    objects = render("default", sets=(*SERVER, *TAGS))
    policies, stages = _policies(objects), _stages(objects)
    server = next(_peer(p) for p in pods(objects) if p.owner.component == "teacher")
    hearing = {
        name
        for name, peer in _everyone(objects).items()
        if allowed(policies, server, peer, 8000, NAMESPACE, "Ingress")
    }
    assert hearing == TEACHES
    reaching = {
        name
        for name, peer in stages.items()
        if allowed(policies, peer, server, 8000, NAMESPACE, "Egress")
    }
    assert reaching == TEACHES


@pytest.mark.parametrize("download", [True, False])
def test_the_teacher_of_the_release_reaches_the_world_only_to_download(download: bool) -> None:
    given = (
        "teacher.server.existingClaim=weights",
        f"teacher.server.download:={str(download).lower()}",
    )
    objects = render("default", sets=(*SERVER, *TAGS, *given))
    server = next(_peer(p) for p in pods(objects) if p.owner.component == "teacher")
    assert allowed(_policies(objects), server, WORLD, 443, NAMESPACE, "Egress") == download
