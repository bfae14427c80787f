"""The pipeline on one machine: two steps of everything on real rows, then nothing again."""

from pathlib import Path

import pytest
from workplace import Workplace

from chainsight import records
from chainsight.records import Candidate, Example, Pair, Prediction, Rationale
from chainsight.stages import STAGES
from chainsight.store import open_store

CONFIG = "configs/smoke.yaml"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return Workplace(tmp_path_factory.mktemp("run") / "home", {"MLFLOW_TRACKING_URI": ""})


def test_real_rows_go_through_all_stages_and_nothing_is_done_twice(place: Workplace) -> None:
    summary, shown = place.run(CONFIG)
    assert [line.split()[1] for line in shown.splitlines() if line[0] == "✓"] == ["doctor", *STAGES]
    assert set(summary["models"]) == {"base", "policy", "aligned"}
    assert summary["registered"]["version"] == 1
    again, shown = place.run(CONFIG)
    assert shown.count("reused") == len(STAGES)
    assert again["models"] == summary["models"]
    check_counts(place)
    check_report(place)


def check_counts(place: Workplace) -> None:
    """Every row that entered a stage left it, kept or set aside."""
    config = place.config(CONFIG)
    store = open_store(config.run.store_uri(), place.home / "cache")
    folders = {
        kind: store.fetch(manifest)
        for run in place.resolve(CONFIG).values()
        for kind, manifest in run.outputs.items()
    }
    rows = {
        kind: list(records.read(folders[kind] / f"{kind}.parquet", record))
        for kind, record in {
            "examples": Example, "rationales": Rationale, "candidates": Candidate,
            "pairs": Pair, "benchmarks": Example, "predictions": Prediction,
        }.items()
    }  # fmt: skip
    rejected = list(records.read(folders["rationales"] / "rejected.parquet", Rationale))
    ids = [e.id for e in rows["examples"]]
    assert len(ids) == 20
    assert sorted(ids) == sorted(r.example_id for r in rows["rationales"] + rejected)
    assert len(rows["candidates"]) == 2 * len(ids)
    assert len(rows["predictions"]) == 3 * 2 * len(rows["benchmarks"])
    chosen = {p.example_id for p in rows["pairs"]}
    assert chosen <= {r.example_id for r in rows["rationales"]}


def check_report(place: Workplace) -> None:
    folder = place.home / "reports" / "smoke"
    page = (folder / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")  # self-contained
    assert (folder / "summary.json").is_file()


def test_a_failing_stage_names_its_reason_and_keeps_what_was_done(tmp_path: Path) -> None:
    workplace = Workplace(tmp_path / "home", {"MLFLOW_TRACKING_URI": ""})
    strict = {"prepare__max_image_pixels": 16, "prepare__max_quarantine_rate": 0.5}
    process = workplace.start(CONFIG, **strict)
    _, shown = process.communicate()
    assert process.returncode == 1
    assert "prepare.max_quarantine_rate" in shown or "max_quarantine_rate" in shown
    assert "Traceback" not in shown
    assert not Path(workplace.home / "reports" / "smoke" / "report.html").exists()


def test_the_runs_model_and_its_registered_version_are_verified_alike(place: Workplace) -> None:
    place.run(CONFIG)
    few = {"verify__num_candidates": 2, "verify__max_new_tokens": 16}
    own = place.call("verify", CONFIG, **few)
    assert (own["num_questions"], own["version"]) == (4, None)
    version = place.call("verify", CONFIG, "--model", "chainsight-smoke/1", **few)
    assert version["version"] == "models:/chainsight-smoke/1"
    assert version["artifacts"] == own["artifacts"]  # found again, not made again
    assert version["curves"] == own["curves"]
    assert (place.home / "reports/smoke/verification.html").is_file()
