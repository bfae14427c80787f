"""The last task's summary: what ran, what failed, what it cost."""

from pathlib import Path
from typing import Any

from chainsight.closing import close, summary
from chainsight.runner import StageRun
from chainsight.store import Manifest


def done(stage: str, kind: str, seconds: float, **metrics: float) -> StageRun:
    about: dict[str, Any] = {"config": {}, "inputs": {}, "input_digests": {}, "files": ()}
    manifest = Manifest(
        kind=kind,
        key="k",
        stage=stage,
        code_version="c",
        attempt="attempt-0",
        metrics=metrics,
        seconds=seconds,
        created="2026-01-01T00:00:00.000000+00:00",
        siblings=(kind,),
        **about,
    )
    return StageRun(stage, {kind: manifest}, reused=False)


FINISHED = [
    done("prepare", "examples", 2.0),
    done("distill", "rationales", 1000.0, cost_usd=12.345),
]


def test_a_stopped_run_is_told_with_its_place_its_error_and_its_cost() -> None:
    text = summary("mine", FINISHED, "FAILED", " sft: out of memory \n", "run-7")
    assert text.startswith("# mine: FAILED\n")
    assert "Stopped in or before **sft**: run again" in text
    assert "```\nsft: out of memory\n```" in text
    assert "| distill | 1,000 | 12.35 | rationales `" in text
    assert "| prepare | 2 |  | examples `" in text
    assert "| **all** | 1,002 | 12.35 | |" in text
    assert "Kubeflow run run-7" in text


def test_a_configuration_that_cannot_be_read_still_leaves_a_summary(tmp_path: Path) -> None:
    path = tmp_path / "summary"
    close({"sftt": {}}, pipeline_run="r", state="FAILED", error="", path=path)
    text = path.read_text()
    assert text.startswith("# FAILED\n")
    assert "sftt: unknown key" in text


def test_nothing_finished_is_said_too(tmp_path: Path) -> None:
    bars = [{"dataset": "bars", "limit": 4}]
    sections = {
        "run": {"name": "new", "home": str(tmp_path), "tracking_uri": "none"},
        "prepare": {"examples": bars, "benchmarks": bars},
    }
    close(sections, pipeline_run="", state="FAILED", error="no", path=tmp_path / "summary")
    assert "Stopped in or before **prepare**" in (tmp_path / "summary").read_text()
