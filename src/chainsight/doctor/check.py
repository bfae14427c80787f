"""What the doctor says: findings with a level and a way out, and where it looks from."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from chainsight.errors import ChainsightError

Level = Literal["ok", "warn", "fail"]
Where = Literal["here", "task", "pod"]
"""On somebody's machine, from which a run may be sent elsewhere; in a task of a run on this very
machine; in a pod of a run."""


@dataclass(frozen=True)
class Check:
    """One finding. `fail` stops a run; `warn` stops it on this machine, or may cost time."""

    what: str
    level: Level
    finding: str
    way_out: str = ""
    """What to do about it; every warning and failure has one."""

    def __post_init__(self) -> None:
        assert (self.level == "ok") == (not self.way_out), self


Checks = Iterator[Check]


@dataclass(frozen=True)
class Cluster:
    """The cluster to look at; by default the one that this process or its kubeconfig is in."""

    kubeconfig: Path | None = None
    """None: the pod's own account, else the usual places."""
    namespace: str | None = None
    """Where the run's pods are; None: the pod's or the kubeconfig's."""
    api: Any = None
    """A `kubernetes.client.ApiClient` that is connected already."""


def ok(what: str, finding: str) -> Check:
    return Check(what, "ok", finding)


def warn(what: str, finding: str, way_out: str) -> Check:
    return Check(what, "warn", finding, way_out)


def fail(what: str, finding: str, way_out: str) -> Check:
    return Check(what, "fail", finding, way_out)


def told(what: str, error: ChainsightError, level: Level = "fail") -> Check:
    """A finding from an error whose message ends in `; <way out>`, as the store's do."""
    finding, _, way_out = str(error).rpartition("; ")
    if not finding:
        return Check(what, level, way_out, "correct the configuration")
    return Check(what, level, finding, way_out)


def wanting(where: Where) -> Level:
    """The level of what is missing on a machine that may not be the one that needs it."""
    return "warn" if where == "here" else "fail"
