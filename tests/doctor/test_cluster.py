"""The cluster: what is asked of it, what is not, and what an account with few rights sees."""

from typing import Any

import pytest
import yaml

from chainsight.config import RunConfig
from chainsight.doctor import Check, Cluster
from chainsight.doctor.cluster import cluster

World = Any


def look(world: World) -> dict[str, Check]:
    config = RunConfig.model_validate(world.settings)
    return {check.what: check for check in cluster(config, world.cluster())}


def asked(world: World) -> list[str]:
    return [request for request, _, _ in world.api.seen]


def test_nothing_is_created_and_no_secret_is_read(world: World) -> None:
    world.in_a_pod()
    look(world)
    written = [request for request in asked(world) if not request.startswith("GET ")]
    assert set(written) == {"POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews"}
    secrets = [headers for request, headers, _ in world.api.seen if "/secrets/" in request]
    assert len(secrets) == 3
    assert all("PartialObjectMetadata" in headers["Accept"] for headers in secrets)


def test_the_rights_are_those_that_a_launcher_uses(world: World) -> None:
    look(world)
    trainjobs = {r["verb"] for r in world.kube.reviews if r["resource"] == "trainjobs"}
    assert trainjobs == {"create", "get", "list", "watch", "delete"}
    assert {r["group"] for r in world.kube.reviews if r["resource"] == "trainjobs"} == {
        "trainer.kubeflow.org"
    }
    others = {(r["verb"], r["resource"], r["subresource"]) for r in world.kube.reviews}
    assert {("get", "pods", "log"), ("list", "pods", ""), ("list", "events", "")} <= others
    assert {r["namespace"] for r in world.kube.reviews} == {"team"}


def test_training_in_a_pod_asks_nothing_of_the_trainer(world: World) -> None:
    world.set("platform.launcher", "pod")
    assert set(look(world)) == {"cluster", "secrets", "gpu nodes"}
    assert not [request for request in asked(world) if "trainer" in request]


def test_an_account_that_may_not_look_gets_warnings_with_the_command(world: World) -> None:
    for route in world.api.routes:
        if "/secrets/" in route or "nodes" in route or "trainingruntimes" in route:
            world.api.routes[route] = (403, {"message": "forbidden"})
        if "localqueues" in route or "selfsubject" in route:
            world.api.routes[route] = (403, {"message": "forbidden"})
    found = look(world)
    unsure = {"secrets", "gpu nodes", "runtime", "permissions", "queue"}
    assert {what for what, check in found.items() if check.level == "warn"} == unsure
    for what in unsure:
        assert "HTTP 403" in found[what].finding
        assert "kubectl" in found[what].way_out


def test_optional_secrets_may_be_missing_with_a_warning(world: World) -> None:
    world.in_a_pod()
    world.set("platform.store_secret", "no-such-secret")
    found = cluster(RunConfig.model_validate(world.settings), world.cluster())
    (check,) = [check for check in found if check.level != "ok"]
    assert (check.what, check.level) == ("secrets", "warn")
    assert "it may be, where pods need no store credentials" in check.finding
    assert "platform.store_secret" in check.way_out


def test_nodes_are_those_of_the_selector_whose_taints_are_tolerated(world: World) -> None:
    world.set("platform.node_selector", {"pool": "gpu"})
    assert "2 nodes with nvidia.com/gpu x 8 (pool=gpu)" in look(world)["gpu nodes"].finding
    assert "GET /api/v1/nodes?labelSelector=pool%3Dgpu" in asked(world)
    world.set("platform.tolerations", [])
    check = look(world)["gpu nodes"]
    assert check.level == "warn"
    assert "of 3 nodes 1 take such pods, the largest has 0 GPUs" in check.finding


@pytest.mark.parametrize(
    ("taint", "tolerated"),
    [
        ({"key": "nvidia.com/gpu", "effect": "NoSchedule", "value": "present"}, True),
        ({"key": "nvidia.com/gpu", "effect": "NoExecute"}, False),
        ({"key": "dedicated", "value": "team", "effect": "NoExecute"}, True),
        ({"key": "dedicated", "value": "others", "effect": "NoSchedule"}, False),
        ({"key": "spot", "effect": "PreferNoSchedule"}, True),
    ],
)
def test_a_toleration_means_what_it_means_to_the_scheduler(
    world: World, taint: dict[str, str], tolerated: bool
) -> None:
    team = {"key": "dedicated", "operator": "Equal", "value": "team", "effect": None}
    world.set("platform.tolerations", [{}, team])
    node = {"spec": {"taints": [taint]}, "status": {"allocatable": {"nvidia.com/gpu": "8"}}}
    world.api.routes["GET /api/v1/nodes"] = (200, {"items": [node, node]})
    assert (look(world)["gpu nodes"].level == "ok") is tolerated


def test_a_kubeconfig_gives_the_address_and_the_namespace(world: World) -> None:
    path = world.folder / "kubeconfig"
    path.write_text(
        yaml.safe_dump(
            {
                "current-context": "c",
                "clusters": [{"name": "k", "cluster": {"server": world.api.url}}],
                "users": [{"name": "u", "user": {"token": "t0ken"}}],
                "contexts": [
                    {"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "team"}}
                ],
            }
        )
    )
    config = RunConfig.model_validate(world.settings)
    assert {check.level for check in cluster(config, Cluster(kubeconfig=path))} == {"ok"}
    assert {headers["authorization"] for _, headers, _ in world.api.seen} == {"Bearer t0ken"}


def test_no_way_to_a_cluster_is_told(world: World) -> None:
    config = RunConfig.model_validate(world.settings)
    (check,) = cluster(config, Cluster(kubeconfig=world.folder / "nowhere"))
    assert (check.what, check.level) == ("cluster", "fail")
    assert "no way to a cluster" in check.finding
    assert "--kubeconfig" in check.way_out
