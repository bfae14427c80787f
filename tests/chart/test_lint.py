"""helm's own opinion: lint, rendering of every values file, refusal of the wrong ones."""

import re

import pytest
from charts import CHART, NAMESPACE, RIGHT, WRONG, helm, of_kind, render, template


def test_the_values_files_are_those_that_were_asked_for() -> None:
    assert set(RIGHT) >= {"default", "all-on", "gke", "eks", "aks", "metal"}
    assert len(WRONG) >= 3


@pytest.mark.parametrize("values", RIGHT)
def test_helm_lints_the_chart_strictly(values: str) -> None:
    done = helm("lint", "--strict", str(CHART), "-f", str(CHART / f"ci/{values}.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 chart(s) failed" in done.stdout


@pytest.mark.parametrize("values", RIGHT)
def test_a_values_file_renders_objects_of_its_namespaces(values: str) -> None:
    objects = render(values)
    assert of_kind(objects, "Deployment")
    for one in objects:
        assert "<no value>" not in str(one.body), one
        assert "<nil>" not in str(one.body), one


@pytest.mark.parametrize("values", WRONG)
def test_a_wrong_values_file_is_refused_with_its_sentence(values: str) -> None:
    first = (CHART / f"ci/{values}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# "), "the first line is the pattern of the message"
    done = template(values)
    assert done.returncode != 0
    assert re.search(first.removeprefix("# "), done.stderr), done.stderr


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("mlfow.enabled=true", "mlfow"),
        ("mlflow.replica=3", "replica"),
        ("mlflow.port=high", "port"),
        ("images.sft.digest=sha256:12", "digest"),
        ("gpu.profile=azure", "profile"),
        ("runner.create=maybe", "create"),
    ],
)
def test_a_misspelt_key_or_a_value_out_of_bounds_is_refused_by_name(
    setting: str, named: str
) -> None:
    done = template("default", sets=(setting,))
    assert done.returncode != 0
    assert named in done.stderr


def test_the_notes_are_a_checklist_that_ends_with_commands() -> None:
    done = helm(
        *("install", "cs", str(CHART), "--namespace", NAMESPACE, "--dry-run=client"),
        *("-f", str(CHART / "ci/default.yaml")),
    )
    assert done.returncode == 0, done.stderr
    notes = done.stdout.partition("NOTES:")[2]
    assert "Kubeflow Pipelines" in notes
    assert "<no value>" not in notes
    assert len(re.findall(r"^ +(?:kubectl|helm|chainsight) ", notes, re.MULTILINE)) >= 3
