"""images.lock.json from what an engine says of its images."""

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

from chainsight.stages import STAGES
from components.images import image, pinned

RECORD = Path(__file__).parents[2] / "docker" / "record.py"
record, over_budget = (runpy.run_path(str(RECORD))[name] for name in ("record", "over_budget"))
DIGEST = "sha256:" + "d" * 64
BASES = ("sha256:cpu", "sha256:gpu")


def _inspected(size: int = 300_000_000, *, pushed: bool = True) -> list[dict[str, Any]]:
    """What `docker image inspect` prints of nine images and two bases, as far as it matters."""
    images: list[dict[str, Any]] = [
        {"Id": BASES[0], "RepoTags": ["base:1"], "RepoDigests": [], "Size": 100_000_000},
        {"Id": BASES[1], "RepoTags": None, "RepoDigests": None, "Size": 200_000_000},
    ]
    for target in (*STAGES, "mlflow"):
        name = f"registry/team/chainsight-{target}"
        images.append({
            "Id": f"sha256:{target}",
            "RepoTags": [f"old/chainsight-{target}:0.0.1", f"{name}:0.1-abc"],
            "RepoDigests": [f"old/x@{DIGEST[:-1]}e", f"{name}@{DIGEST}"] if pushed else [],
            "Size": size,
        })  # fmt: skip
    return images


def test_pushed_images_are_recorded_by_the_digest_of_their_own_repository() -> None:
    lock = record(_inspected(), "0.1-abc", "cuda", BASES)
    assert set(lock["images"]) == set(STAGES)
    entry = lock["images"]["sft"]
    assert entry["image"] == f"registry/team/chainsight-sft@{DIGEST}"
    assert entry["tag"] == "registry/team/chainsight-sft:0.1-abc"
    assert entry["bytes_over_base"] == 100_000_000
    assert lock["images"]["pair"]["bytes_over_base"] == 200_000_000


def test_images_that_were_not_pushed_are_recorded_by_tag() -> None:
    lock = record(_inspected(pushed=False), "0.1-abc", "cuda", BASES)
    assert lock["images"]["pair"]["image"] == "registry/team/chainsight-pair:0.1-abc"


def test_services_are_recorded_apart_from_the_stages() -> None:
    """`chainsight compile` takes images for stages alone."""
    lock = record(_inspected(), "0.1-abc", "cuda", BASES)
    assert set(lock["services"]) == {"mlflow"}
    entry = lock["services"]["mlflow"]
    assert entry["image"] == f"registry/team/chainsight-mlflow@{DIGEST}"
    assert entry["bytes_over_base"] == 200_000_000


def test_cpu_images_have_a_budget_and_gpu_images_have_none() -> None:
    at_bound = record(_inspected(800_000_000), "0.1-abc", "cuda", BASES)
    assert over_budget(at_bound) == []
    beyond = record(_inspected(800_000_001), "0.1-abc", "cuda", BASES)
    faults = over_budget(beyond)
    assert [fault.partition(":")[0] for fault in faults] == [
        "prepare",
        "distill",
        "pair",
        "register",
        "mlflow",
    ]
    assert "budget 700 MB" in faults[0]


def test_the_file_that_is_written_is_the_one_that_components_read(tmp_path: Path) -> None:
    lock = tmp_path / "images.lock.json"
    done = _write(lock, _inspected())
    assert done.returncode == 0
    assert "100 MB over its base" in done.stdout
    name = image("dpo", {"CHAINSIGHT_IMAGES_LOCK": str(lock)})
    assert pinned(name)


def test_an_image_over_budget_fails_the_build_after_writing_the_figures(tmp_path: Path) -> None:
    lock = tmp_path / "images.lock.json"
    done = _write(lock, _inspected(900_000_000))
    assert done.returncode == 1
    assert "prepare: 800 MB over its base" in done.stderr
    assert json.loads(lock.read_text())["images"]["prepare"]["bytes"] == 900_000_000


def _write(lock: Path, inspected: list[dict[str, Any]]) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(RECORD), str(lock), "--tag", "0.1-abc", "--torch", "cuda"]
    return subprocess.run(
        [*command, "--bases", *BASES],
        input=json.dumps(inspected),
        capture_output=True,
        text=True,
        check=False,
    )
