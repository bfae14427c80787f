"""The doctor as a pipeline's first task, and what people see of it."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from chainsight.doctor import examine_component, markdown, show
from chainsight.doctor.check import fail, ok, warn
from chainsight.progress import EVENTS_VARIABLE

World = Any
CHECKS = [
    ok("store", "/store: written"),
    warn("model", "[red]3[/] tensors", "see <docs>"),
    fail("teacher", "a|b", "say 'c'"),
]


@pytest.fixture
def sound(tmp_path: Path) -> dict[str, Any]:
    """A configuration as KFP hands it over: every whole number a float."""
    bars = {"dataset": "bars", "limit": 6.0}
    return {
        "run": {"home": str(tmp_path / "home"), "seed": 3.0},
        "prepare": {"examples": [bars], "benchmarks": [bars | {"split": "test"}]},
        "distill": {"teacher": "scripted"},
    }


def test_a_sound_run_goes_on_and_has_its_page(
    sound: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    examine_component(sound, page=tmp_path / "page.md", where="pod")
    page = (tmp_path / "page.md").read_text()
    assert page.startswith("# Doctor: ")
    assert "0 failed" in page
    assert "| passed | config |" in page
    assert "0 failed" in capsys.readouterr().out


def test_a_fault_ends_the_task_with_one_message_and_the_page(
    sound: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound["model"] = {"base": "/nowhere"}
    with pytest.raises(SystemExit) as ended:
        examine_component(sound, page=tmp_path / "page.md")
    assert ended.value.code == 1
    page = (tmp_path / "page.md").read_text()
    assert "| **failed** | model | /nowhere: no such checkpoint folder | correct model.base" in page
    printed = capsys.readouterr()
    assert len(printed.err.strip().splitlines()) == 1
    assert "1 failed; model: /nowhere: no such checkpoint folder -> correct" in printed.err
    assert "✗ model" in printed.out


def test_a_wrong_parameter_ends_the_task_with_every_one_named(
    sound: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound["sft"] = {"lerning_rate": 1, "epochs": -1}
    with pytest.raises(SystemExit) as ended:
        examine_component(sound, page=tmp_path / "page.md")
    assert ended.value.code == 1
    page = (tmp_path / "page.md").read_text()
    assert "sft.lerning_rate: unknown key" in page
    assert "sft.epochs" in page


def test_the_terminal_that_waits_is_told(
    sound: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = tmp_path / "events.jsonl"
    monkeypatch.setenv(EVENTS_VARIABLE, str(events))
    examine_component(sound, page=tmp_path / "page.md")
    sound["model"] = {"base": "/nowhere"}
    with pytest.raises(SystemExit):
        examine_component(sound, page=tmp_path / "page.md")
    told = [json.loads(line) for line in events.read_text().splitlines()]
    assert [event["event"] for event in told] == ["stage", "done", "stage", "failed"]
    assert told[1]["metrics"]["num_ok"] > 5
    assert "/nowhere" in told[3]["message"]


def test_the_question_that_costs_is_asked_by_the_task_unless_it_is_told_not_to(
    world: World, serve: Callable[[dict[str, Any]], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    completion = {"choices": [{}], "usage": {"prompt_tokens": 100, "completion_tokens": 1}}
    teacher = serve({"GET *": (200, {"data": [{"id": "m"}]}), "POST *": (200, completion)})
    world.set("distill", {"teacher": f"{teacher.url}/v1", "teacher_model": "m"})
    page = world.folder / "page.md"
    examine_component(world.settings, page=page)
    examine_component(world.settings, page=page, spend=False)
    asked = [request for request, _, _ in teacher.seen]
    assert asked == ["POST /v1/chat/completions", "GET /v1/models"]


def test_in_a_pod_the_cluster_is_looked_at_as_the_pods_account(
    sound: dict[str, Any], tmp_path: Path
) -> None:
    """Without the account's files there is no way to the cluster, which is told, not skipped."""
    code = (
        "import json, sys; from chainsight.doctor import examine_component; "
        "examine_component(json.loads(sys.argv[1]), page=sys.argv[2])"
    )
    pod = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBECONFIG": str(tmp_path / "none")}
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(sound), str(tmp_path / "page.md")],
        env=os.environ | pod,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "cluster: no way to a cluster" in done.stderr
    assert "| packages |" not in (tmp_path / "page.md").read_text()


def test_a_log_gets_a_line_a_finding_and_a_terminal_a_table() -> None:
    log, screen = io.StringIO(), io.StringIO()
    show(Console(file=log), CHECKS)
    assert log.getvalue().splitlines() == [
        "✓ store        /store: written",
        "! model        [red]3[/] tensors",
        "               -> see <docs>",
        "✗ teacher      a|b",
        "               -> say 'c'",
        "1 passed, 1 warnings, 1 failed",
    ]
    show(Console(file=screen, force_terminal=True, width=100, color_system=None), CHECKS)
    assert "way out" in screen.getvalue()
    assert "[red]3[/] tensors" in screen.getvalue()


def test_the_page_keeps_its_columns_whatever_is_found() -> None:
    rows = markdown(CHECKS).splitlines()[4:]
    assert [row.replace("\\|", "").count("|") for row in rows] == [5, 5, 5]
    assert "&lt;docs>" in rows[1]
