"""What a Deployment serves and how far its rollout is: pure functions on its JSON."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from chainsight.launch.state import explained, pod_troubles

VERSION = "chainsight.dev/version"
"""Annotation of the pod template: number of the version that its pods serve."""
READY = "chainsight.dev/ready-version"
"""Annotation of the Deployment: the version that was ready last."""
ROLLED = "chainsight.dev/rolled-at"
"""Annotation of the Deployment: when the rollout was begun, ISO 8601."""
MODEL_VARIABLE = "CHAINSIGHT_MODEL"
CONTAINERS = ("serve", "fetch")
"""Names of the containers that load a model; every one of them is told which."""


@dataclass(frozen=True)
class Served:
    """A Deployment at one moment."""

    version: int | None
    """The version that it is to serve; none before the first rollout."""
    ready: bool
    """All its pods serve that version."""
    last_ready: int | None = None
    """The version that was ready last; `version` itself once its rollout is done."""
    seconds: float | None = None
    """Since the rollout was begun."""
    failed: str | None = None
    """Why Kubernetes has given up, if it has."""
    reason: str = ""
    """What the pods that are not ready say."""


def served_by(
    deployment: Mapping[str, Any], pods: Iterable[Mapping[str, Any]], now: datetime
) -> Served:
    """Read a Deployment's annotations, status and conditions, and its pods' troubles."""
    template = deployment["spec"]["template"]["metadata"].get("annotations") or {}
    notes = deployment["metadata"].get("annotations") or {}
    reason = "; ".join(dict.fromkeys(_troubles(pods, template.get(VERSION))))
    gave_up = _gave_up(deployment)
    return Served(
        version=_number(template.get(VERSION)),
        ready=is_rolled_out(deployment),
        last_ready=_number(notes.get(READY)),
        seconds=_seconds_since(notes.get(ROLLED), now),
        failed=f"{gave_up}: {reason}" if gave_up and reason else gave_up,
        reason=reason,
    )


def is_rolled_out(deployment: Mapping[str, Any]) -> bool:
    """As `kubectl rollout status` decides it."""
    status, wanted = deployment.get("status") or {}, deployment["spec"].get("replicas", 1)
    updated = status.get("updatedReplicas", 0)
    return bool(
        status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
        and updated >= wanted
        and status.get("replicas", 0) <= updated
        and status.get("availableReplicas", 0) >= updated
    )


def _gave_up(deployment: Mapping[str, Any]) -> str | None:
    status = deployment.get("status") or {}
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return None  # these conditions are of the rollout before
    for condition in status.get("conditions") or []:
        if condition["type"] == "Progressing" and condition["status"] == "False":
            return explained(condition)
    return None


def _troubles(pods: Iterable[Mapping[str, Any]], version: str | None) -> list[str]:
    found = []
    for pod in pods:
        notes = pod["metadata"].get("annotations") or {}
        if notes.get(VERSION) == version:
            found += pod_troubles(_with_init(pod)) or _not_ready(pod)
    return found


def _with_init(pod: Mapping[str, Any]) -> dict[str, Any]:
    """A pod whose init containers count as containers: `fetch` is one."""
    status = dict(pod.get("status") or {})
    first, then = status.get("initContainerStatuses"), status.get("containerStatuses")
    status["containerStatuses"] = [_last_state(one) for one in [*(first or []), *(then or [])]]
    return {**pod, "status": status}


def _last_state(container: Mapping[str, Any]) -> dict[str, Any]:
    """One that waits to be started again: why it ended tells more than CrashLoopBackOff."""
    state = container.get("state") or {}
    ended = (container.get("lastState") or {}).get("terminated")
    return {**container, "state": {"terminated": ended} if "waiting" in state and ended else state}


def _not_ready(pod: Mapping[str, Any]) -> list[str]:
    conditions = (pod.get("status") or {}).get("conditions") or []
    name = pod["metadata"]["name"]
    return [
        f"{name}: {explained(condition)}"
        for condition in conditions
        if condition["type"] in ("Ready", "PodScheduled")
        and condition["status"] == "False"
        and explained(condition)
    ]


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _seconds_since(moment: str | None, now: datetime) -> float | None:
    try:
        return (now - datetime.fromisoformat(moment or "").astimezone(UTC)).total_seconds()
    except ValueError:  # never rolled, or a person wrote it
        return None


def rolling_patch(
    deployment: Mapping[str, Any], model: str, version: int, last_ready: int | None, now: datetime
) -> dict[str, Any]:
    """A strategic merge patch: another model for the containers that load one.

    It holds the version of the Deployment that was looked at, so that a second writer is refused.
    """
    pod = deployment["spec"]["template"]["spec"]
    told: dict[str, Any] = {
        kind: [
            {"name": one["name"], "env": [{"name": MODEL_VARIABLE, "value": f"{model}/{version}"}]}
            for one in pod.get(kind) or []
            if one["name"] in CONTAINERS
        ]
        for kind in ("containers", "initContainers")
    }
    ready = None if last_ready is None else str(last_ready)
    return {
        "metadata": _noted(deployment, {ROLLED: now.isoformat(), READY: ready}),
        "spec": {
            "template": {
                "metadata": {"annotations": {VERSION: str(version)}},
                "spec": {kind: listed for kind, listed in told.items() if listed},
            }
        },
    }


def ready_patch(deployment: Mapping[str, Any], version: int) -> dict[str, Any]:
    """Note that a version was ready; nothing is rolled."""
    return {"metadata": _noted(deployment, {READY: str(version)})}


def _noted(deployment: Mapping[str, Any], notes: Mapping[str, str | None]) -> dict[str, Any]:
    version = deployment["metadata"]["resourceVersion"]
    return {"resourceVersion": version, "annotations": dict(notes)}
