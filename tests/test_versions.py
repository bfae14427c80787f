"""What a registered version says of itself, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from chainsight import records, versions
from chainsight.errors import CheckpointError, RecordError, StoreError, TrackingError
from chainsight.gate import Row
from chainsight.records import Prediction
from chainsight.store import Store, open_store
from chainsight.tracking import (
    ALIGNED_URI,
    CONTENT_DIGEST,
    FINGERPRINT,
    PREDICTIONS_URI,
    Registry,
    Version,
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"), tmp_path / "cache")


def commit(store: Store, folder: Path, kind: str) -> str:
    about = {"config": {}, "inputs": {}, "input_digests": {}, "metrics": {}, "seconds": 1.0}
    store.commit(folder, kind=kind, key="k", stage="x", code_version="c", **about)  # type: ignore[arg-type]
    return store.artifact_uri(kind, "k")


@pytest.fixture
def version(store: Store, tmp_path: Path) -> Version:
    """A version with its files and rows in the store."""
    rows = [
        Prediction(model, f"{name}/test/{i}", mode, "?", "", "", "marker", i / 2, 7 + i)
        for model in ("policy", "aligned")
        for mode in ("direct", "cot")
        for name in ("bars", "chartqa")
        for i in range(2)
    ]
    predictions, aligned = tmp_path / "predictions", tmp_path / "aligned"
    records.write(predictions / "predictions.parquet", rows, Prediction)
    aligned.mkdir()
    (aligned / "w").write_bytes(b"weights")
    uri = commit(store, aligned, "aligned")
    tags = {
        ALIGNED_URI: uri,
        PREDICTIONS_URI: commit(store, predictions, "predictions"),
        FINGERPRINT: "f",
        CONTENT_DIGEST: store.load(uri).content_digest,
    }
    return Version("m", 3, "s3://b/x", "", tags)


def without(version: Version, tag: str) -> Version:
    return replace(version, tags={k: v for k, v in version.tags.items() if k != tag})


def test_the_rows_are_those_of_the_model_in_the_mode(version: Version, store: Store) -> None:
    found = versions.results(version, "cot", store.fetch)
    assert found.fingerprint == "f"
    assert found.digest == version.tags[CONTENT_DIGEST]
    assert found.rows["chartqa/test/1"] == Row("chartqa", 0.5, "marker", 8)
    assert len(found.rows) == 4
    assert found.scores == {
        "bars/test/0": 0.0,
        "bars/test/1": 0.5,
        "chartqa/test/0": 0.0,
        "chartqa/test/1": 0.5,
    }


def test_a_mode_that_was_not_asked_has_no_rows(version: Version, store: Store) -> None:
    assert versions.results(version, "other", store.fetch).rows == {}


@pytest.mark.parametrize("tag", [PREDICTIONS_URI, FINGERPRINT])
def test_a_version_without_its_rows_says_the_way_out(
    version: Version, store: Store, tag: str
) -> None:
    with pytest.raises(RecordError, match=rf"models:/m/3 has no tag {tag}.*evaluate\.models"):
        versions.results(without(version, tag), "cot", store.fetch)


def test_a_version_of_others_has_no_artifact(version: Version) -> None:
    with pytest.raises(RecordError, match="chainsight did not register it"):
        versions.artifact(without(version, ALIGNED_URI))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return Registry(f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db")


def registered(registry: Registry, name: str, version: Version) -> str:
    made = registry.create(name, version.source, run_id=None, tags=version.tags, description="")
    registry.set_alias(made, "champion")
    return f"models:/{name}@champion"


def test_a_version_is_loaded_with_its_verified_files(
    registry: Registry, version: Version, store: Store
) -> None:
    found, folder = versions.load(registered(registry, "whole", version), registry, store)
    assert found.uri == "models:/whole/1"
    assert (folder / "w").read_bytes() == b"weights"


def test_files_of_another_digest_are_refused(
    registry: Registry, version: Version, store: Store
) -> None:
    """Somebody moved the tag to another artifact, or replaced the artifact."""
    other = replace(version, tags={**version.tags, CONTENT_DIGEST: "0" * 64})
    with pytest.raises(CheckpointError, match="models:/other/1 was registered with the content"):
        versions.load(registered(registry, "other", other), registry, store)
    bare = registered(registry, "bare", without(version, CONTENT_DIGEST))
    with pytest.raises(CheckpointError, match=r"digest \(none\)"):
        versions.load(bare, registry, store)


def test_a_damaged_file_is_refused(registry: Registry, version: Version, store: Store) -> None:
    path = store.fetch(version.tags[ALIGNED_URI]) / "w"
    path.chmod(0o644)
    path.write_bytes(b"weighty")
    fresh = open_store(store.uri, Path("unused"))
    with pytest.raises(StoreError, match="expected sha256"):
        versions.load(registered(registry, "damaged", version), registry, fresh)


def test_a_version_that_is_not_there_is_named(registry: Registry, store: Store) -> None:
    with pytest.raises(TrackingError, match="no version 9"):
        versions.load("models:/whole/9", registry, store)
