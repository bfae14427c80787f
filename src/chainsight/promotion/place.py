"""Where promotions happen: store, registry, the models' names, and what tests put in their way."""

import getpass
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chainsight.config import GateSection, RunConfig
from chainsight.gate import Decision
from chainsight.promotion.log import Log
from chainsight.store import Store, open_store
from chainsight.tracking import Registry, Version

Judge = Callable[[Version, Version | None], Decision]
"""Decides whether the first version may follow the second, the champion, or None."""
SETTLE_SECONDS = 15.0
"""An entry that is open for longer has lost its writer, most likely: its steps take under a second,
with a slow registry a few."""


def _go_on(step: str) -> None:
    """Nothing happens between the steps of a writer."""


@dataclass
class Place:
    """One production model, and the candidates for it."""

    store: Store
    registry: Registry
    model: str
    """Registered model whose alias `champion` is followed."""
    candidates: str
    """Registered model that candidates are versions of; the same, or one of its own."""
    judge: Judge
    step: Callable[[str], None] = _go_on
    """Called between the steps of a writer: where tests stop or kill it."""
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.time
    settle_seconds: float = SETTLE_SECONDS
    log: Log = field(init=False)
    verifying: bool = field(default=False, init=False)
    """Whether files are being read just now."""

    def __post_init__(self) -> None:
        self.log = Log(self.store, self.model)

    @property
    def separate(self) -> bool:
        """Whether candidates and production are two models."""
        return self.model != self.candidates

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Files are being read: not a sign of a loop that hangs."""
        self.verifying = True
        try:
            yield
        finally:
            self.verifying = False

    def pause(self, tried: int) -> None:
        """Let others go first: full jitter, so that a hundred writers soon stand in line."""
        self.sleep(random.uniform(0, min(4.0, 0.05 * 2**tried)))  # noqa: S311 - no secret


def open_place(config: RunConfig) -> Place:
    """The place that a configuration means.

    Raises:
        StoreError, TrackingError: the store or MLflow cannot be reached.
    """
    store = open_store(config.run.store_uri(), Path(config.run.home) / "cache")
    section = config.register_
    return Place(
        store=store,
        registry=Registry(config.run.mlflow_uri()),
        model=config.champion_model(),
        candidates=section.model_name,
        judge=judge_by_rows(store, section.gate),
    )


def judge_by_rows(store: Store, policy: GateSection) -> Judge:
    """The gate, on the rows that both versions were registered with."""

    def judge(candidate: Version, champion: Version | None) -> Decision:
        from chainsight import versions
        from chainsight.gate import decide

        mine = versions.results(candidate, policy.mode, store.fetch)
        if champion is None:
            return decide(mine, None, policy)
        return decide(mine, versions.results(champion, policy.mode, store.fetch), policy)

    return judge


def author(given: str | None = None) -> str:
    """Who promotes: `--by`, CHAINSIGHT_USER, MLFLOW_TRACKING_USERNAME, or user@host."""
    named = given or os.environ.get("CHAINSIGHT_USER") or os.environ.get("MLFLOW_TRACKING_USERNAME")
    return named or f"{_user()}@{socket.gethostname()}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a pod's user without a name
        return str(os.getuid())
