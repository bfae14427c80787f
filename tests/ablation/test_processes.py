"""Real stages in real processes: an ablation killed, started twice at once, failing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from chainsight.ablation.work import Order, processes
from chainsight.store import LocalStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
ROOT = Path(__file__).parents[2]
TINY = {
    "run": {"name": "tiny", "tracking_uri": "none"},
    "prepare": {
        "examples": [{"dataset": "bars", "limit": 8}],
        "benchmarks": [{"dataset": "bars", "split": "test", "limit": 4}],
    },
    "distill": {"teacher": "scripted", "teacher_model": "scripted"},
    "sft": {"max_steps": 2, "batch_size": 4},
    "evaluate": {"max_new_tokens": 8, "max_direct_tokens": 4},
}
SETTINGS = {
    "format": {"recipe": "sft", "set": {"sft.composition": "format"}},
    "both": {"recipe": "sft"},
}


@pytest.fixture
def ablation(tmp_path: Path) -> Path:
    run = TINY | {"run": {**TINY["run"], "home": str(tmp_path / "home")}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run))
    path = tmp_path / "ablation.yaml"
    fields = {"name": "tiny", "run": "run.yaml", "seeds": [0], "settings": SETTINGS}
    path.write_text(yaml.safe_dump(fields))
    return path


def start(path: Path, *flags: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "chainsight", "ablate", str(path), "--json", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
        env={**os.environ, "CHAINSIGHT_CODE_VERSION": "test"},
        # A shell's background job, which tests may be, leaves SIGINT ignored to its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )


def finish(process: "subprocess.Popen[str]") -> dict[str, Any]:
    output, shown = process.communicate(timeout=1200)
    assert process.returncode == 0, shown
    found: dict[str, Any] = json.loads(output)
    return found


def created(folder: Path) -> dict[str, str]:
    """When each policy of the store was made, by its key."""
    store = LocalStore(folder / "home" / "store")
    return {manifest.key: manifest.created for manifest in store.list("policy")}


@pytest.fixture
def killed(ablation: Path) -> Path:
    """An ablation that was killed, with all its processes, when its first policy was there."""
    process = start(ablation, "--jobs", "1")
    deadline = time.monotonic() + 900
    while not list((ablation.parent / "home" / "store").glob("policy/*/manifest.json")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return ablation


def test_a_killed_ablation_goes_on_and_a_finished_one_does_nothing(killed: Path) -> None:
    before = created(killed.parent)
    found = finish(start(killed, "--jobs", "2"))
    after = created(killed.parent)
    assert len(after) == 2
    assert before.items() <= after.items()
    assert [len(setting["seeds"]) for setting in found["settings"]] == [1, 1]
    assert finish(start(killed)) == found
    assert created(killed.parent) == after
    page = (killed.parent / "home" / "reports" / "tiny" / "ablation.html").read_text()
    assert "format" in page


def test_ctrl_c_stops_all_with_a_word_and_no_traceback(ablation: Path) -> None:
    process = start(ablation, "--jobs", "1")
    nodes = ablation.parent / "home" / "reports" / "tiny" / "nodes"
    deadline = time.monotonic() + 900
    while not list(nodes.glob("*.events")):  # the fork server is still importing
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, shown = process.communicate()
    assert process.returncode == 130
    assert "the same command goes on from there" in shown
    assert "Traceback" not in shown


def test_two_at_once_do_each_node_once(ablation: Path) -> None:
    both = [start(ablation, "--jobs", "1") for _ in range(2)]
    first, second = (finish(process) for process in both)
    assert first == second
    assert len(created(ablation.parent)) == 2
    folder = ablation.parent / "home" / "reports" / "tiny" / "nodes"
    lines = [line for log in folder.glob("sft-*.events") for line in log.read_text().splitlines()]
    trainings = [event for event in map(json.loads, lines) if event.get("title") == "sft"]
    assert len(trainings) == 2  # one for each policy


def test_a_worker_says_why_it_failed_and_one_that_is_killed_how(tmp_path: Path) -> None:
    run = {"home": str(tmp_path / "home"), "tracking_uri": "none"}
    bad = Order("prepare", {"examples": []}, run, {}, {})
    rows = {
        "examples": [{"dataset": "bars", "limit": 50_000}],
        "benchmarks": [{"dataset": "bars", "split": "test", "limit": 1}],
    }
    long = Order("prepare", rows, run, {}, {})
    begin = processes(1)
    worker, other = begin(bad, tmp_path / "bad"), begin(long, tmp_path / "other")
    other.stop()
    while not worker.has_ended():
        time.sleep(0.1)
    assert "examples: " in str(worker.failure())
    assert "examples: " in (tmp_path / "bad.log").read_text()
    assert "killed by SIGTERM" in str(other.failure())
    assert (worker.crashed, other.crashed) == (False, True)
