"""What a TrainJob's status says, for people and for the launcher: pure functions on its JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from chainsight.launch.manifest import MANAGED_BY, NODE, PIPELINE_RUN, STAGE_KEY, Work

Phase = Literal["queued", "starting", "running", "complete", "failed"]
_REASONS = {
    "OOMKilled": "out of memory: raise platform.gpu_pod.memory",
    "Evicted": "taken off its node: raise platform.gpu_pod.memory, or the node was short of disk",
}


@dataclass(frozen=True)
class State:
    """Where a TrainJob stands; equal states have equal texts."""

    phase: Phase
    text: str

    @property
    def finished(self) -> bool:
        return self.phase in ("complete", "failed")


def state_of(resource: Mapping[str, Any]) -> State:
    """Read a TrainJob's conditions and counts.

    It counts as queued while suspended, by Kueue or by hand; as running once all its pods are.
    """
    conditions = _true_conditions(resource)
    for phase, name in (("failed", "Failed"), ("complete", "Complete")):
        if name in conditions:
            return State(phase, f"{phase} ({explained(conditions[name])})")  # type: ignore[arg-type]
    if "Suspended" in conditions or resource.get("spec", {}).get("suspend"):
        queue = resource["metadata"].get("labels", {}).get("kueue.x-k8s.io/queue-name")
        return State("queued", f"queued in {queue}" if queue else "suspended")
    counts = _counts(resource)
    if counts.get("ready"):
        return State("running", "running on all nodes")
    return State("starting", "pods are starting" if counts.get("active") else "accepted")


def _true_conditions(resource: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    found = resource.get("status", {}).get("conditions") or []
    return {item["type"]: item for item in found if item.get("status") == "True"}


def _counts(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    jobs = resource.get("status", {}).get("jobsStatus") or []
    return next((item for item in jobs if item["name"] == NODE), {})


def explained(item: Mapping[str, Any]) -> str:
    """Reason and message of a condition or event."""
    return ": ".join(item[part] for part in ("reason", "message") if item.get(part))


def conditions(resource: Mapping[str, Any]) -> list[str]:
    """One line a condition, as they stand."""
    found = resource.get("status", {}).get("conditions") or []
    return [f"{item['type']}={item['status']} {explained(item)}" for item in found]


def is_of(resource: Mapping[str, Any], work: Work) -> bool:
    """Whether a TrainJob of our name is of the very same work."""
    metadata = resource["metadata"]
    return bool(
        metadata.get("labels", {}).get(MANAGED_BY) == "chainsight"
        and metadata.get("annotations", {}).get(STAGE_KEY) == work.key
    )


def is_of_run(resource: Mapping[str, Any], work: Work) -> bool:
    """Whether this pipeline run made it; equal work of another run may have."""
    annotations: Mapping[str, str] = resource["metadata"].get("annotations", {})
    return annotations.get(PIPELINE_RUN) == work.pipeline_run


def pod_troubles(pod: Mapping[str, Any]) -> list[str]:
    """Why the containers of a pod ended badly or cannot start."""
    status, name = pod.get("status", {}), pod["metadata"]["name"]
    found = []
    if status.get("reason"):
        found.append(f"{name}: {_with_hint(status['reason'])}")
    for container in status.get("containerStatuses") or []:
        ended = (container.get("state") or {}).get("terminated") or {}
        waiting = (container.get("state") or {}).get("waiting") or {}
        if ended.get("exitCode"):
            found.append(f"{name}: exit code {ended['exitCode']}, {_with_hint(ended['reason'])}")
        elif waiting.get("message"):
            found.append(f"{name}: {explained(waiting)}")
    return found


def _with_hint(reason: str) -> str:
    return f"{reason} ({_REASONS[reason]})" if reason in _REASONS else reason


def node_index(pod: Mapping[str, Any]) -> str | None:
    """Which node of the training a pod is; its label since Kubernetes 1.28, else an annotation."""
    name = "batch.kubernetes.io/job-completion-index"
    metadata = pod["metadata"]
    found = metadata.get("labels", {}).get(name) or metadata.get("annotations", {}).get(name)
    return found if found is None else str(found)
