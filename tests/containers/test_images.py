"""What is in the images, and how a container of them behaves."""

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from locked_down import LOCKED_DOWN, UID
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from chainsight.stages import STAGES

ROOT = Path(__file__).parents[2]
CHECK = (ROOT / "docker" / "check_image.py").read_text(encoding="utf-8")
CPU_STAGES = {"prepare", "distill", "pair", "register"}
STATE = """
import json, os, pathlib
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
refused = []
for folder in ("/", "/opt/chainsight", "/work", os.environ["PATH"].split(":")[0]):
    try:
        pathlib.Path(folder, "new").write_text("x")
    except OSError:
        refused.append(folder)
pathlib.Path("/tmp/new").write_text("x")
print(json.dumps({
    "uid": os.getuid(), "capabilities": int(status["CapEff"], 16),
    "no_new_privileges": int(status["NoNewPrivs"]), "refused": len(refused),
    "interfaces": sorted(os.listdir("/sys/class/net")),
    "first": pathlib.Path("/proc/1/comm").read_text().strip(),
}))
"""
INSTALLED = """
import json
from importlib.metadata import distributions
print(json.dumps({d.name: d.version for d in distributions()}))
"""


@pytest.mark.parametrize("stage", STAGES)
def test_a_container_has_no_rights_and_one_place_to_write(stage: str, probe: Any) -> None:
    state = json.loads(probe(stage, STATE))
    assert state == {
        "uid": UID,
        "capabilities": 0,
        "no_new_privileges": 1,
        "refused": 4,
        "interfaces": ["lo"],
        "first": "tini",
    }


def test_torch_is_in_gpu_images_and_openai_in_one(probe: Any) -> None:
    has = {stage: json.loads(probe(stage, CHECK, "--list")) for stage in STAGES}
    print(_table(has))
    assert {stage for stage in STAGES if has[stage]["torch"]} == set(STAGES) - CPU_STAGES
    assert {stage for stage in STAGES if has[stage]["openai"]} == {"distill"}
    assert {stage for stage in STAGES if has[stage]["trl"]} == {"sft", "dpo"}
    assert not any(has[stage]["pip"] for stage in STAGES)


def _table(has: dict[str, dict[str, bool]]) -> str:
    """The table of docs/images.md."""
    rows = [f"| {name} | " + " | ".join("x" if has[s][name] else "" for s in STAGES) + " |"
            for name in has["prepare"]]  # fmt: skip
    return "\n".join(rows)


@pytest.mark.parametrize("stage", STAGES)
def test_an_image_holds_what_its_lock_says_and_no_more(stage: str, probe: Any) -> None:
    installed = json.loads(probe(stage, INSTALLED))
    found = {canonicalize_name(name): version for name, version in installed.items()}
    del found["chainsight"]
    if stage not in CPU_STAGES:
        assert found.pop("torch").partition("+")[0] == "2.13.0"
    assert found == _locked(stage)


def _locked(stage: str) -> dict[str, str]:
    text = (ROOT / "docker/requirements" / f"{stage}.txt").read_text(encoding="utf-8")
    lines = re.findall(r"^[a-z0-9].*?(?= \\$)", text, re.MULTILINE)
    pins = [Requirement(line) for line in lines]
    return {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
        for pin in pins
        if pin.marker is None or pin.marker.evaluate()
    }


def test_a_termination_ends_a_container_at_once(engine: Any, lock: dict[str, Any]) -> None:
    """KFP's commands are `sh -c` lines, and a first process ignores SIGTERM: tini passes it on."""
    container = engine.containers.run(
        lock["images"]["pair"]["image"],
        ["sh", "-c", "python -c 'import time; print(1); time.sleep(60)'; echo never"],
        detach=True,
        **LOCKED_DOWN,
    )
    try:
        for _ in range(100):
            if container.logs():
                break
            time.sleep(0.1)
        start = time.monotonic()
        container.stop(timeout=30)
        assert time.monotonic() - start < 5
        assert container.wait()["StatusCode"] == 143
        assert b"never" not in container.logs()
    finally:
        container.remove(force=True)


@pytest.mark.parametrize("stage", STAGES)
def test_labels_say_what_an_image_is(stage: str, engine: Any, lock: dict[str, Any]) -> None:
    image = engine.images.get(lock["images"][stage]["image"])
    prefix = "org.opencontainers.image."
    labels = {name.removeprefix(prefix): value for name, value in image.labels.items()}
    assert labels["title"] == f"chainsight-{stage}"
    assert labels["version"] == lock["tag"]
    assert {"description", "licenses", "revision"} <= set(labels)
    assert image.attrs["Config"]["User"] == f"{UID}:{UID}"


def test_every_image_is_recorded_by_digest_once_it_is_pushed(lock: dict[str, Any]) -> None:
    assert set(lock["images"]) == set(STAGES)
    entries = lock["images"] | lock["services"]
    if os.environ["CHAINSIGHT_CONTAINERS"] == "digest":
        assert all("@sha256:" in entry["image"] for entry in entries.values())
