"""The log of a training's first node, line by line, through restarts and cut connections."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import urllib3

from chainsight.errors import LaunchError
from chainsight.launch.cluster import Cluster
from chainsight.launch.refusals import RefusalError
from chainsight.launch.state import node_index

TAIL = 30
"""Lines kept for a failure's message."""
_ENDED = ("Succeeded", "Failed")
_PAUSE_SECONDS = 1.0
_DRAIN_SECONDS = 10.0


class NodeLog:
    """Follows node 0, whichever pod that is, in a thread of its own."""

    def __init__(self, cluster: Cluster, name: str, write: Callable[[str], None]) -> None:
        self._cluster, self._name, self._write = cluster, name, write
        self._stop = threading.Event()
        self._tail: deque[str] = deque(maxlen=TAIL)
        self._newest: dict[str, tuple[str, str]] = {}
        """By pod, the moment of the last line: where a cut log goes on."""
        self._read_out: set[str] = set()
        """Pods that had ended before their log was read."""
        self._thread = threading.Thread(target=self._follow, name="pod-log", daemon=True)

    @contextmanager
    def following(self) -> Iterator["NodeLog"]:
        """Write lines as they come; when left, those that are still under way."""
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()

    def drained(self) -> list[str]:
        """The last lines of the log of a job that has ended."""
        self._stop.set()
        self._thread.join(_DRAIN_SECONDS)
        return list(self._tail)

    def _follow(self) -> None:
        while True:
            last = self._stop.is_set()  # one more look after the end: the end is what matters
            try:
                self._read()
            except LaunchError as error:
                # Any other refusal passes: a container that waits, a pod that has just gone.
                if not isinstance(error, RefusalError) or error.status in (401, 403):
                    self._write(f"the training's log cannot be shown: {error}")
                    return
            except urllib3.exceptions.HTTPError:
                pass  # cut; the next round goes on after the last line
            if last:
                return
            self._stop.wait(_PAUSE_SECONDS)

    def _read(self) -> None:
        pods = [pod for pod in self._cluster.pods(self._name) if node_index(pod) in ("0", None)]
        if not pods:
            return
        name, phase = pods[-1]["metadata"]["name"], pods[-1].get("status", {}).get("phase")
        if phase in ("Running", *_ENDED) and name not in self._read_out:
            self._copy(name)
            if phase in _ENDED:
                self._read_out.add(name)

    def _copy(self, pod: str) -> None:
        for line in self._cluster.log(pod):
            moment, _, text = line.partition(" ")
            order = _order(moment)
            if order > self._newest.get(pod, ("", "")):
                self._newest[pod] = order
                self._tail.append(text)
                self._write(text)


def _order(moment: str) -> tuple[str, str]:
    """RFC 3339 as something that compares: zeros at the end of its fraction are left out."""
    second, _, fraction = moment.removesuffix("Z").partition(".")
    return second, fraction.ljust(9, "0")
