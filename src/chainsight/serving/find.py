"""Which version is served, and its files: waited for, downloaded, verified."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from chainsight import versions
from chainsight.config import RunConfig
from chainsight.errors import ChainsightError, TrackingError
from chainsight.store import Store, open_store
from chainsight.tracking import CHAMPION, Registry, Version

MODEL_VARIABLE = "CHAINSIGHT_MODEL"
"""Environment variable with the reference of the model; the reconciler sets it to roll over."""
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 30.0
"""Seconds between tries; each pause is twice the one before."""

T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    """A version and its verified local files, for good: an alias may move meanwhile."""

    version: Version
    folder: Path
    store: Store


def reference(config: RunConfig, given: str | None) -> str:
    """The model to serve: as given, by the environment, or the configuration's champion."""
    champion = f"models:/{config.champion_model()}@{CHAMPION}"
    return given or os.environ.get(MODEL_VARIABLE) or champion


def find(config: RunConfig, ref: str, cache: Path | None = None) -> Found:
    """Resolve `ref` in the registry and fetch the version's files from the store.

    Raises:
        TrackingError: the registry does not answer, or has no such version yet.
        RecordError: the version does not say where its files are.
        StoreError: a file is missing or damaged.
        CheckpointError: the files are not those that were registered.
    """
    registry = Registry(config.run.mlflow_uri())
    where = cache or Path(config.run.home) / "cache"
    store = open_store(config.run.store_uri(), where, read_only=True)
    version, folder = versions.load(ref, registry, store)
    return Found(version, folder, store)


def persist(
    attempt: Callable[[], T],
    *,
    while_: tuple[type[ChainsightError], ...] = (TrackingError,),
    say: Callable[[str], None],
    sleep: Callable[[float], None],
) -> T:
    """The result of `attempt`, tried for as long as it raises `while_`, each time with a line."""
    pause = FIRST_PAUSE
    while True:
        try:
            return attempt()
        except while_ as error:
            say(f"{error}; trying again in {pause:.0f} s")
        sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
