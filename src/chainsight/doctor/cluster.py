"""What the cluster must offer: an API, secrets, GPU nodes, what TrainJobs need.

Nothing is created. Of a secret only the metadata is asked for, never the content.
"""

from typing import Any

from chainsight.config import PlatformSection, RunConfig, Toleration
from chainsight.doctor.check import Check, Checks, Cluster, fail, ok, told, warn
from chainsight.doctor.cluster_api import Answer, Api, connect
from chainsight.doctor.trainer import trainer
from chainsight.errors import ConfigError

METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


def cluster(config: RunConfig, access: Cluster) -> Checks:
    """All of the cluster, or the one reason why it cannot be asked."""
    try:
        api = connect(access)
    except ConfigError as error:
        yield told("cluster", error)
        return
    version = api.get("/version")
    if version.status != 200:
        yield _unreachable(api, version)
        return
    server = version.body.get("gitVersion", "?")
    yield ok("cluster", f"{api.address} (Kubernetes {server}), namespace {api.namespace}")
    yield from _secrets(config, api)
    yield from _gpu_nodes(config.platform, api)
    if config.platform.launcher == "trainjob":
        yield from trainer(config.platform, api)


def _unreachable(api: Api, answer: Answer) -> Check:
    if answer.status == 0:
        return fail(
            "cluster",
            f"{api.address} cannot be reached ({str(answer.body)[:160]})",
            "check the kubeconfig's server, the network and the VPN",
        )
    return fail(
        "cluster",
        f"{api.address} refuses this account (HTTP {answer.status}: {answer.body})",
        "renew the kubeconfig's credentials, or bind a Role to the service account",
    )


def _secrets(config: RunConfig, api: Api) -> Checks:
    """The secrets that pods refer to. One that is missing keeps its pods from starting."""
    platform, teacher = config.platform, config.distill.teacher
    if teacher not in ("scripted", "published"):
        yield _secret(api, platform.teacher_secret, "teacher", required=teacher == "openai")
    if config.run.store_uri().startswith("s3://"):
        yield _secret(api, platform.store_secret, "store", required=False)
    if config.run.mlflow_uri().startswith("http"):
        yield _secret(api, platform.tracking_secret, "tracking", required=False)


def _secret(api: Api, name: str, kind: str, *, required: bool) -> Check:
    where = f"secret {name} in namespace {api.namespace}"
    answer = api.get(api.local("/api/v1", "secrets", name), METADATA_ONLY)
    if answer.status == 200:
        return ok("secrets", f"{where} is there")
    way_out = (
        f"kubectl -n {api.namespace} create secret generic {name} --from-literal=..., or set "
        f"platform.{kind}_secret to the one that is there"
    )
    if answer.status == 404 and required:
        return fail("secrets", f"{where} is missing: {kind} pods will not start", way_out)
    if answer.status == 404:
        return warn(
            "secrets",
            f"{where} is missing; it may be, where pods need no {kind} credentials",
            way_out,
        )
    return warn(
        "secrets",
        f"{where}: this account may not look (HTTP {answer.status}), so it was not checked",
        f"check it as somebody who may: kubectl -n {api.namespace} get secret {name}",
    )


def _gpu_nodes(platform: PlatformSection, api: Api) -> Checks:
    """Nodes that a GPU pod could be put on; an autoscaler may yet make some, so a warning."""
    selector = ",".join(f"{key}={value}" for key, value in platform.node_selector.items())
    answer = _nodes(platform, api)
    if answer.status != 200:
        yield warn(
            "gpu nodes",
            f"this account may not list nodes (HTTP {answer.status}), so GPUs were not counted",
            "check them as somebody who may: kubectl get nodes -o wide",
        )
        return
    open_nodes = [node for node in answer.body["items"] if _tolerated(node, platform.tolerations)]
    counts = [_allocatable(node, platform.gpu_type) for node in open_nodes]
    wanted = platform.nodes if platform.launcher == "trainjob" else 1
    enough = sum(count >= platform.gpus for count in counts)
    described = f"{platform.gpu_type} x {platform.gpus}" + (f" ({selector})" if selector else "")
    if enough >= wanted:
        yield ok("gpu nodes", f"{enough} nodes with {described}")
        return
    yield warn(
        "gpu nodes",
        f"{enough} nodes with {described}, {wanted} wanted; of {len(answer.body['items'])} nodes "
        f"{len(open_nodes)} take such pods, the largest has {max(counts, default=0)} GPUs",
        "add nodes, or correct platform.gpus, gpu_type, node_selector or tolerations; if an "
        "autoscaler makes them when they are asked for, all is well",
    )


def gpu_labels(config: RunConfig, access: Cluster) -> list[dict[str, str]]:
    """Labels of the nodes that GPU pods may run on; none if nobody tells."""
    platform = config.platform
    try:
        answer = _nodes(platform, connect(access))
    except ConfigError:
        return []
    items = answer.body["items"] if answer.status == 200 else ()
    return [
        node.get("metadata", {}).get("labels") or {}
        for node in items
        if _tolerated(node, platform.tolerations) and _allocatable(node, platform.gpu_type)
    ]


def _nodes(platform: PlatformSection, api: Api) -> Answer:
    selector = ",".join(f"{key}={value}" for key, value in platform.node_selector.items())
    query = {"labelSelector": selector} if selector else {}
    return api.get("/api/v1/nodes", **query)


def _allocatable(node: dict[str, Any], resource: str) -> int:
    quantity = str(node.get("status", {}).get("allocatable", {}).get(resource, "0"))
    return int(quantity) if quantity.isdecimal() else 0  # extended resources are whole numbers


def _tolerated(node: dict[str, Any], tolerations: tuple[Toleration, ...]) -> bool:
    spec = node.get("spec", {})
    taints = [t for t in spec.get("taints") or () if t.get("effect") != "PreferNoSchedule"]
    return all(any(_tolerates(one, taint) for one in tolerations) for taint in taints)


def _tolerates(toleration: Toleration, taint: dict[str, Any]) -> bool:
    return (
        toleration.key == taint.get("key")
        and toleration.effect in (None, taint.get("effect"))
        and (toleration.operator == "Exists" or (toleration.value or "") == taint.get("value", ""))
    )
