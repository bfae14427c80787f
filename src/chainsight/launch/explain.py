"""What is said about a TrainJob that ended badly: all that the cluster knows of it."""

from collections.abc import Iterable, Mapping
from typing import Any

from chainsight.errors import LaunchError
from chainsight.launch.cluster import Cluster
from chainsight.launch.manifest import Work
from chainsight.launch.state import conditions, explained, pod_troubles, state_of

_PODS_ASKED = 4
"""Of so many pods the events are asked for: they usually tell the same."""
_EVENTS_SHOWN = 10


def vanished(work: Work) -> str:
    """Of a TrainJob that someone deleted."""
    return (
        f"{work.stage}: TrainJob {work.name} was deleted before its result was committed, by "
        "someone else or by the end of an equal run; run again to go on from its last checkpoint"
    )


def without_result(work: Work, log: Iterable[str]) -> str:
    """Of a TrainJob that is complete and committed nothing."""
    first = (
        f"{work.stage}: TrainJob {work.name} is complete, but the store has no result of it; "
        "launcher and workers may have different images or stores"
    )
    return "\n".join([first, *_part("last lines of the first node's log", log)])


def failure(cluster: Cluster, work: Work, last: Mapping[str, Any], log: Iterable[str]) -> str:
    """Of a TrainJob that failed: conditions, pods, events, log; `last` is its last state."""
    lines = [
        f"{work.stage}: TrainJob {work.name} {state_of(last).text}",
        *_part("conditions", conditions(last)),
    ]
    try:
        pods = cluster.pods(work.name)
        lines += _part("pods", [text for pod in pods for text in pod_troubles(pod)])
        lines += _part("events", warnings(cluster, work))
    except LaunchError as error:
        lines += [f"  no more is known: {error}"]
    lines += _part("last lines of the first node's log", log)
    where = f"kubectl -n {cluster.namespace} describe trainjob {work.name}"
    return "\n".join([*lines, f"It is kept ({where}); the next try replaces it and resumes."])


def warnings(cluster: Cluster, work: Work) -> list[str]:
    """The newest warnings about the TrainJob, its JobSet, its job and the first of its pods."""
    pods = [pod["metadata"]["name"] for pod in cluster.pods(work.name)]
    names = [work.name, f"{work.name}-node-0", *pods[:_PODS_ASKED]]
    events = [event for name in names for event in cluster.events(name)]
    return [
        f"{event['involvedObject']['kind']} {explained(event)}"
        for event in events
        if event.get("type") == "Warning"
    ][-_EVENTS_SHOWN:]


def _part(title: str, lines: Iterable[str]) -> list[str]:
    return [f"{title}:", *([f"  {line}" for line in lines] or ["  none"])]
