"""What the server counts, as Prometheus reads it."""

import threading
from collections import Counter
from collections.abc import Iterator

BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds."""


class Metrics:
    """Requests by status, their seconds, and the tokens they took."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[int] = Counter()
        self._tokens: Counter[str] = Counter()
        self._seconds = 0.0
        self._buckets: Counter[float] = Counter()

    def request(self, status: int, seconds: float) -> None:
        """Count an answered request."""
        with self._lock:
            self._requests[status] += 1
            self._seconds += seconds
            self._buckets.update(bound for bound in BUCKETS if seconds <= bound)

    def tokens(self, *, prompt: int, completion: int) -> None:
        """Count the tokens of an answer."""
        with self._lock:
            self._tokens.update(prompt=prompt, completion=completion)

    def text(self, *, ready: bool, num_waiting: int, model: str = "", version: int = 0) -> str:
        """All figures in Prometheus' text form."""
        with self._lock:
            lines = list(self._lines())
        lines += _one("ready", "gauge", "Whether the model answers.", int(ready))
        lines += _one("queue", "gauge", "Requests that wait.", num_waiting)
        if ready:
            labels = f'{{name="{model}",version="{version}"}}'
            lines += _one("model_info", "gauge", "The version that is served.", 1, labels)
        return "\n".join(lines) + "\n"

    def _lines(self) -> Iterator[str]:
        yield from _head("requests_total", "counter", "Requests by HTTP status.")
        for status, count in sorted(self._requests.items()):
            yield f'chainsight_serving_requests_total{{status="{status}"}} {count}'
        name = "chainsight_serving_request_seconds"
        total = sum(self._requests.values())
        yield from _head("request_seconds", "histogram", "Seconds from request to answer.")
        for bound in BUCKETS:
            yield f'{name}_bucket{{le="{bound}"}} {self._buckets[bound]}'
        yield f'{name}_bucket{{le="+Inf"}} {total}'
        yield f"{name}_sum {self._seconds:.6f}"
        yield f"{name}_count {total}"
        yield from _head("tokens_total", "counter", "Tokens read and written.")
        for kind in ("prompt", "completion"):
            yield f'chainsight_serving_tokens_total{{kind="{kind}"}} {self._tokens[kind]}'


def _head(name: str, kind: str, meaning: str) -> list[str]:
    full = f"chainsight_serving_{name}"
    return [f"# HELP {full} {meaning}", f"# TYPE {full} {kind}"]


def _one(name: str, kind: str, meaning: str, value: float, labels: str = "") -> list[str]:
    return [*_head(name, kind, meaning), f"chainsight_serving_{name}{labels} {value}"]
