"""Which version is served, and its files: waited for, downloaded, verified."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from chainsight.config import RunConfig
from chainsight.errors import ChainsightError, CheckpointError, RecordError, TrackingError
from chainsight.store import Store, open_store
from chainsight.tracking import ALIGNED_URI, CHAMPION, CONTENT_DIGEST, Registry, Version

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
    name = config.promotion.production_name or config.register_.model_name
    return given or os.environ.get(MODEL_VARIABLE) or f"models:/{name}@{CHAMPION}"


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
    version, folder = _load(ref, registry, store)
    return Found(version, folder, store)


def _load(ref: str, registry: Registry, store: Store) -> tuple[Version, Path]:
    version = registry.resolve(ref)
    if ALIGNED_URI not in version.tags:
        raise RecordError(
            f"{version.uri} has no tag {ALIGNED_URI}, so chainsight did not register it; point "
            "to one that it did"
        )
    manifest = store.load(version.tags[ALIGNED_URI])
    registered = version.tags.get(CONTENT_DIGEST, "")
    if manifest.content_digest != registered:
        raise CheckpointError(
            f"{version.uri} was registered with the content digest {registered or '(none)'}, its "
            f"files have {manifest.content_digest}; register what is to be served"
        )
    return version, store.fetch(manifest)


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
