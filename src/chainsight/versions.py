"""What a registered version says of itself: its files, and the rows it was judged by."""

from collections.abc import Callable, Iterable
from pathlib import Path

from chainsight import records
from chainsight.errors import CheckpointError, RecordError
from chainsight.gate import Results, Row, dataset_of
from chainsight.records import Prediction
from chainsight.store import Manifest, Store
from chainsight.tracking import (
    ALIGNED_URI,
    CONTENT_DIGEST,
    FINGERPRINT,
    PREDICTIONS_URI,
    Registry,
    Version,
)

CANDIDATE = "aligned"
"""The model in `predictions` that a version was registered for."""


def results(version: Version, mode: str, fetch: Callable[[str], Path]) -> Results:
    """The rows that a version was judged by, in `mode`; none if it was not asked so.

    `fetch` gives the local folder of an artifact's store URI (`Store.fetch`).

    Raises:
        RecordError: the version does not say where its rows are, or they cannot be read.
    """
    for tag in (PREDICTIONS_URI, FINGERPRINT):
        if tag not in version.tags:
            raise RecordError(
                f"{version.uri} has no tag {tag}, so there is nothing to compare with; evaluate "
                "it by adding it to evaluate.models, or move the alias to another version"
            )
    rows = read_rows(fetch(version.tags[PREDICTIONS_URI]), CANDIDATE, mode)
    return Results(version.tags[FINGERPRINT], rows, version.tags.get(CONTENT_DIGEST, ""))


def read_rows(predictions: Path, model: str, mode: str) -> dict[str, Row]:
    """One model's rows in one mode, by example id, of an artifact `predictions`."""
    every: Iterable[Prediction] = records.read(predictions / "predictions.parquet", Prediction)
    return {
        row.example_id: Row(dataset_of(row.example_id), row.score, row.status, row.num_tokens)
        for row in every
        if (row.model, row.mode) == (model, mode)
    }


def artifact(version: Version) -> str:
    """Store URI of a version's files.

    Raises:
        RecordError: the version does not say.
    """
    if ALIGNED_URI not in version.tags:
        raise RecordError(
            f"{version.uri} has no tag {ALIGNED_URI}, so chainsight did not register it; give the "
            "folder of its files instead"
        )
    return version.tags[ALIGNED_URI]


def load(ref: str, registry: Registry, store: Store) -> tuple[Version, Path]:
    """The version that `models:/NAME@ALIAS` or `models:/NAME/3` means, and its files, verified.

    Raises:
        TrackingError: there is no such version.
        RecordError: the version does not say where its files are.
        StoreError: a file is missing or damaged.
        CheckpointError: the files are not those that were registered.
    """
    version = registry.resolve(ref)
    manifest = store.load(artifact(version))
    require_content(version, manifest)
    return version, store.fetch(manifest)


def require_content(version: Version, manifest: Manifest) -> None:
    """CheckpointError unless the artifact holds the files that `version` was registered for."""
    registered = version.tags.get(CONTENT_DIGEST, "")
    if manifest.content_digest != registered:
        raise CheckpointError(
            f"{version.uri} was registered with the content digest {registered or '(none)'}, but "
            f"{version.tags[ALIGNED_URI]} has {manifest.content_digest}: its files or tags were "
            "changed; register the model again, or move the alias to a version that is whole"
        )
