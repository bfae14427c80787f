"""`chainsight verify`: a registered version against its policy, from the flag to the page."""

import json
import re
from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner

from chainsight.cli import app
from chainsight.config import load_config
from chainsight.store import open_store
from chainsight.tracking import ALIGNED_URI, CONTENT_DIGEST, Registry
from chainsight.vlm import checkpoint

FAST = {"num_candidates": 2, "max_new_tokens": 8, "batch_size": 2}


class Desk:
    """A run's configuration, a store with two models, a registry with versions of them."""

    def __init__(self, root: Path, student: Path):
        self.root, self.student = root, student
        self.home = root / "home"
        self.path = root / "run.yaml"
        self.path.write_text(
            yaml.safe_dump(
                {
                    "run": {"name": "try", "home": str(self.home)},
                    "model": {"base": str(student)},
                    "prepare": {
                        "examples": [{"dataset": "bars", "limit": 4}],
                        "benchmarks": [{"dataset": "bars", "split": "test", "limit": 3}],
                    },
                    "verify": FAST,
                }
            )
        )
        self.config = load_config(self.path)
        self.registry = Registry(self.config.run.mlflow_uri())
        self.store = open_store(self.config.run.store_uri(), self.home / "cache")
        self.policy = self.model("policy", 0.0)

    def model(self, kind, noise, **inputs):
        """Commit the student, its weights moved by so much; the artifact's URI."""
        loaded = checkpoint.load(self.student)
        torch.manual_seed(3)
        with torch.no_grad():
            for weight in loaded.model.parameters():
                weight.add_(noise * torch.randn_like(weight))
        folder = self.root / f"{kind}-{len(list(self.root.iterdir()))}"
        checkpoint.save(loaded, folder, base=str(self.student), kind="full", dtype="float32")
        about = {"config": {}, "input_digests": {}, "metrics": {}, "seconds": 1.0}
        self.store.commit(
            folder,
            kind=kind,
            key=folder.name,
            stage="dpo",
            code_version="c",
            inputs=inputs,
            **about,
        )
        return self.store.artifact_uri(kind, folder.name)

    def version(self, **inputs):
        """Register an aligned model."""
        uri = self.model("aligned", 0.02, **inputs)
        digest = self.store.load(uri).content_digest
        tags = {ALIGNED_URI: uri, CONTENT_DIGEST: digest}
        return self.registry.create("toy", f"file:{uri}", run_id=None, tags=tags, description="")

    def verify(self, *arguments):
        return CliRunner().invoke(app, ["verify", str(self.path), *arguments])


@pytest.fixture(scope="module")
def desk(tmp_path_factory, student_folder):
    return Desk(tmp_path_factory.mktemp("desk"), student_folder)


@pytest.fixture(scope="module")
def version(desk):
    found = desk.version(policy=desk.policy)
    desk.registry.set_alias(found, "challenger")
    return found


@pytest.fixture(scope="module")
def found(desk, version):
    """What the command says of the version, for machines."""
    done = desk.verify("--model", f"models:/toy/{version.number}", "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_version_is_compared_with_the_policy_that_it_was_trained_from(desk, version, found):
    assert found["version"] == f"models:/toy/{version.number}"
    assert found["artifacts"]["aligned"] == version.tags[ALIGNED_URI]
    assert found["artifacts"]["policy"] == desk.policy
    assert (found["num_questions"], found["num_candidates"]) == (3, 2)
    points = found["curves"]["all"]
    assert {(p["method"], p["n"]) for p in points} >= {("best", 1), ("best", 2), ("oracle", 2)}
    assert list(found["curves"]) == ["all"]  # one benchmark


def test_the_answers_are_kept_and_found_again_by_alias(desk, found):
    done = desk.verify("--model", "toy@challenger")
    assert done.exit_code == 0, done.output
    words = " ".join(done.stdout.split())
    assert "gain over greedy" in words
    assert "3 questions, 2 samples each" in words
    assert len(list((desk.home / "store/verified").iterdir())) == 1


def test_the_page_and_its_figures_stand_in_the_reports(desk, found):
    page = Path(found["page"])
    assert page.parent == desk.home / "reports/try"
    assert page.stem == "verification-" + found["version"].removeprefix("models:/").replace(
        "/", "-"
    )
    text = page.read_text()
    assert "://" not in text.replace("http://www.w3.org", "")
    assert "<script" not in text
    assert f"models:/toy/{found['version'][-1]}" in text
    assert text.count("<svg") == 1
    figures = json.loads(page.with_suffix(".json").read_text())
    assert figures["curves"] == found["curves"]


def test_every_accuracy_of_the_table_is_in_the_figures(found):
    text = Path(found["page"]).read_text()
    for method in ("best", "majority", "oracle"):
        row = re.search(rf"<tr><td>{method}<br>.*?</tr>", text, re.DOTALL)[0]
        cells = re.findall(r'<td class="n">([\d.]+)</td>', row)
        own = [point for point in found["curves"]["all"] if point["method"] == method]
        assert cells == [f"{100 * point['value']:.1f}" for point in own]


def test_the_curves_are_in_mlflow_with_n_as_the_step(desk, found):
    from mlflow import MlflowClient

    client = MlflowClient(desk.config.run.mlflow_uri())
    experiment = client.get_experiment_by_name("chainsight").experiment_id
    runs = client.search_runs([experiment])
    run = next(r for r in runs if r.info.run_name.startswith("try-verify-"))
    steps = [one.step for one in client.get_metric_history(run.info.run_id, "best/accuracy")]
    assert sorted(steps) == [1, 2]
    assert run.data.tags["chainsight.version"] == found["version"]
    names = {one.path for one in client.list_artifacts(run.info.run_id)}
    page = Path(found["page"])
    assert names == {page.name, page.with_suffix(".json").name}
    stages = [r for r in runs if r.info.run_name == "verify"]
    assert all(one.data.tags["mlflow.parentRunId"] for one in stages)


def test_a_version_of_unknown_policy_needs_one_by_hand(desk, version):
    lonely = desk.version()
    reference = f"toy/{lonely.number}"
    done = desk.verify("--model", reference)
    assert done.exit_code != 0
    assert "does not say which policy it was trained from" in str(done.exception)
    assert "--policy" in str(done.exception)
    again = desk.verify("--model", reference, "--policy", desk.policy, "--json")
    assert json.loads(again.stdout)["artifacts"]["policy"] == desk.policy


def test_what_contradicts_itself_or_is_not_there_is_refused(desk):
    done = desk.verify("--model", "toy/1", "--aligned", desk.policy)
    assert "leave --aligned out" in str(done.exception)
    done = desk.verify("--model", "toy@nobody")
    assert "has no alias 'nobody'" in str(done.exception)
    done = desk.verify("--set", "run.name=other")
    assert "verify reads policy, which is not there yet" in str(done.exception)
