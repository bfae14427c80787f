"""The last task's summary: what ran, what failed, what it cost."""

from pathlib import Path
from typing import Any

from chainsight.closing import close, summary
from chainsight.config import RunConfig, validate
from chainsight.runner import StageRun, run_alone
from chainsight.stages import STAGES
from chainsight.store import Manifest, open_store


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


LIMIT = {"limit": 4}
FINISHED = [
    done("prepare", "examples", 2.0),
    done("distill", "rationales", 1000.0, cost_usd=12.345),
]


def test_a_stopped_run_is_told_with_its_place_its_error_and_its_cost() -> None:
    text = summary("mine", STAGES.values(), FINISHED, "FAILED", " sft: out of memory \n", "run-7")
    assert text.startswith("# mine: FAILED\n")
    assert "Stopped in or before **sft**: run again" in text
    assert "```\nsft: out of memory\n```" in text
    assert "| distill | 1,000 | 12.35 | rationales `" in text
    assert "| prepare | 2 |  | examples `" in text
    assert "| **all** | 1,002 | 12.35 | |" in text
    assert "Kubeflow run run-7" in text


def test_a_configuration_that_cannot_be_read_still_leaves_a_summary(tmp_path: Path) -> None:
    path = tmp_path / "summary"
    close({"sftt": {"a": 1}}, pipeline_run="r", state="FAILED", error="", path=path)
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


def test_a_run_that_began_with_a_policy_is_told_from_there(tmp_path: Path) -> None:
    bars = [{"dataset": "bars", "limit": 4}]
    sections = {
        "run": {"name": "new", "home": str(tmp_path), "tracking_uri": "none"},
        "prepare": {"examples": bars, "benchmarks": [{"dataset": "bars", "split": "test"} | LIMIT]},
        "distill": {},
        "sft": {},
    }
    config = validate(RunConfig, sections, "test")
    _, made = run_alone("prepare", config, {})
    store = open_store(config.run.store_uri(), tmp_path / "cache")
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy/file").touch()
    inputs = {"examples": made["examples"], "rationales": f"{store.uri}/rationales/k"}
    about: dict[str, Any] = {"config": {}, "input_digests": {}, "metrics": {}}
    store.commit(
        tmp_path / "policy",
        kind="policy",
        key="k",
        stage="sft",
        code_version="c",
        seconds=1,
        inputs=inputs,
        **about,
    )
    path = tmp_path / "summary"
    policy = store.artifact_uri("policy", "k")
    close(sections, pipeline_run="", state="FAILED", error="", path=path, policy_uri=policy)
    assert "Stopped in or before **sample**" in path.read_text()
    assert "| prepare |" in path.read_text()
