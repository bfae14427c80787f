"""Which image a stage gets: from the lock file, from the environment, or by version."""

import json
from pathlib import Path
from typing import Any

import pytest

import components
from chainsight import __version__
from chainsight.errors import ConfigError
from chainsight.stages import ALL, STAGES
from components.images import OWNERS, image, pinned, require_pinned, unpinned

DIGEST = "sha256:" + "5" * 64


@pytest.fixture
def lock(tmp_path: Path) -> dict[str, str]:
    """An environment with a lock file that names every image by digest."""
    images = {s: {"image": f"somewhere/team/chainsight-{s}@{DIGEST}"} for s in STAGES}
    return _environment(tmp_path, {"images": images})


def _environment(folder: Path, content: Any) -> dict[str, str]:
    path = folder / "images.lock.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return {"CHAINSIGHT_IMAGES_LOCK": str(path)}


def test_images_come_from_the_lock_file_by_digest(lock: dict[str, str]) -> None:
    assert image("pair", lock) == f"somewhere/team/chainsight-pair@{DIGEST}"
    assert unpinned(lock) == {}
    require_pinned(lock)


def test_a_mirror_changes_the_place_and_keeps_the_digest(lock: dict[str, str]) -> None:
    mirrored = lock | {"CHAINSIGHT_IMAGE_PREFIX": "mirror/x/"}
    assert image("sft", mirrored) == f"mirror/x/chainsight-sft@{DIGEST}"


def test_what_has_no_image_of_its_own_runs_in_that_of_a_stage(lock: dict[str, str]) -> None:
    wanted = {"rft": "sft", "score": "evaluate", "verify": "evaluate", "adopt": "pair"}
    assert {task: image(task, lock) for task in wanted} == {
        task: image(stage, lock) for task, stage in wanted.items()
    }
    assert set(OWNERS) >= {*ALL, *components.__all__} - {"node"}  # whose task says its stage's
    assert set(OWNERS.values()) == set(STAGES)
    replaced = lock | {"CHAINSIGHT_IMAGE_SFT": "mine:1"}
    assert image("rft", replaced) == "mine:1"


def test_one_image_can_be_replaced(lock: dict[str, str]) -> None:
    replaced = lock | {"CHAINSIGHT_IMAGE_SFT": "mine:1", "CHAINSIGHT_IMAGE_PREFIX": "mirror/"}
    assert image("sft", replaced) == "mine:1"
    assert image("dpo", replaced) == f"mirror/chainsight-dpo@{DIGEST}"
    assert unpinned(replaced) == {"sft": "mine:1"}


def test_without_a_lock_file_an_image_is_named_by_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert image("pair", {}) == f"chainsight-pair:{__version__}"
    assert (
        image("pair", {"CHAINSIGHT_IMAGE_PREFIX": "a/b/"}) == f"a/b/chainsight-pair:{__version__}"
    )


def test_a_lock_file_in_the_current_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: dict[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert image("pair", {}) == image("pair", lock)


def test_a_stage_that_was_not_built_falls_back_to_its_version(tmp_path: Path) -> None:
    some = _environment(tmp_path, {"images": {"pair": {"image": f"a@{DIGEST}"}}})
    assert list(unpinned(some)) == [stage for stage in STAGES if stage != "pair"]


def test_tags_are_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"8 images bear no digest .*--push.*--allow-tags"):
        require_pinned(_environment(tmp_path, {"images": {}}))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (f"a/b@{DIGEST}", True),
        (f"a/b:1@{DIGEST}", True),
        ("a/b:1", False),
        ("a/b", False),
        (DIGEST, False),  # an image id: only the engine that built it knows it
        (f"a/b@{DIGEST}0", False),
        ("a/b@sha256:123", False),
        (f"a/b@{DIGEST}\n", False),
    ],
)
def test_only_a_whole_digest_pins(name: str, expected: bool) -> None:
    assert pinned(name) is expected


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "Expecting property name"),
        ("[]", 'no object "images"'),
        ({"images": []}, 'no object "images"'),
        ({"images": {"bake": {"image": "a"}}}, "no stage is called 'bake'"),
        ({"images": {"sft": "a"}}, '"image" of sft is None'),
        ({"images": {"sft": {"image": ""}}}, "\"image\" of sft is ''"),
    ],
)
def test_a_damaged_lock_file_is_named_with_its_fault(
    tmp_path: Path, content: Any, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        image("pair", _environment(tmp_path, content))
    assert "images.lock.json" in str(caught.value)


def test_a_lock_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not there"):
        image("pair", {"CHAINSIGHT_IMAGES_LOCK": str(tmp_path / "none.json")})
