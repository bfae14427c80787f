"""What the launcher's tests share beside their fixtures: a clock, a launcher in a thread."""

import threading
import time
from collections.abc import Callable
from typing import Any

from chainsight.config import PlatformSection
from chainsight.launch.cluster import Cluster
from chainsight.launch.manifest import Work
from chainsight.launch.trainjob import run_trainjob

KEY = "ab12" * 16
NAME = f"chainsight-sft-{KEY[:16]}"
IMAGE = "team/chainsight-sft@sha256:" + "0" * 64


class Clock:
    """Seconds that pass only in `sleep`; it naps for real, so that others get on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        time.sleep(0.01)


class Launch:
    """A launcher at work in a thread, what it said, and how it ended."""

    def __init__(self, cluster: Cluster, work: Work, said: list[str], **options: Any) -> None:
        self.said, self.committed = said, threading.Event()
        self.error: Exception | None = None
        platform = options.pop("platform", PlatformSection())
        given = {"cluster": cluster, "environment": {}, "say": said.append, **options}

        def target() -> None:
            try:
                run_trainjob(work, platform, done=self.committed.is_set, **given)
            except Exception as error:
                self.error = error

        self._thread = threading.Thread(target=target, daemon=True)
        self._thread.start()

    def ended(self) -> "Launch":
        self._thread.join(20)
        assert not self._thread.is_alive(), self.said
        return self

    def succeeded(self) -> "Launch":
        self.ended()
        if self.error:
            raise self.error
        return self

    def failed(self) -> str:
        self.ended()
        assert self.error is not None
        return str(self.error)

    def text(self) -> str:
        return "\n".join(self.said)


def wait_for(condition: Callable[[], Any], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.01)
