"""The workflows under .github: they parse, their scripts too, and they hold no surprises."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[1] / ".github/workflows"
FILES = sorted(FOLDER.glob("*.yml"))


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    """All steps of a workflow."""
    return [step for job in workflow["jobs"].values() for step in job.get("steps", [])]


def read(path: Path) -> dict[str, Any]:
    """A workflow; YAML reads its key `on` as true."""
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(workflow, dict)
    workflow["on"] = workflow.pop(True)
    return workflow


def test_there_are_two_workflows() -> None:
    assert [path.name for path in FILES] == ["ci.yml", "release.yml"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_workflow_has_triggers_jobs_and_few_rights(path: Path) -> None:
    workflow = read(path)
    assert workflow["on"]
    assert workflow["permissions"] == {"contents": "read"}  # jobs ask for more by name
    for name, job in workflow["jobs"].items():
        assert "uses" in job or {"runs-on", "timeout-minutes", "steps"} <= set(job), name
    assert all(("run" in step) != ("uses" in step) for step in steps(workflow))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_script_is_valid_bash(path: Path) -> None:
    for step in steps(read(path)):
        if "run" in step:
            assert "${{" not in step["run"], "values come in by `env`: a script is no template"
            subprocess.run(["bash", "-n", "-c", step["run"]], check=True)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_actions_are_pinned_to_a_commit_or_say_that_they_are_not(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for reference, note in re.findall(r"uses: (\S+)(.*)", text):
        if not reference.startswith("./"):
            commit = re.search(r"@[0-9a-f]{40}$", reference) and re.search(r"# v\d", note)
            assert commit or (re.search(r"@v\d+$", reference) and "# major tag" in note), reference


def test_a_release_names_no_registry() -> None:
    text = (FOLDER / "release.yml").read_text(encoding="utf-8")
    assert "vars.IMAGE_PREFIX" in text
    assert not re.search(r"\b(ghcr|docker|quay|gcr|azurecr|amazonaws)\.(io|com)\b", text)
