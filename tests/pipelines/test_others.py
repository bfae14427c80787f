"""The pipelines beside `train`: of the same components, wired for other starts."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from kfp import compiler

from chainsight import component
from chainsight.config import PlatformSection, RunSection
from chainsight.store import Store, open_store
from pipelines import align, evaluate, verify

PIPELINES = {"align": align.build, "evaluate": evaluate.build, "verify": verify.build}
TASKS = {
    "align": {"prepare", "existing", "sample", "pair", "dpo", "evaluate", "register", "summarize"},
    "evaluate": {"prepare", "score"},
    "verify": {"prepare", "verify", "verification"},
}


@pytest.mark.parametrize("name", PIPELINES)
def test_it_compiles_with_a_description_on_every_parameter(name: str, tmp_path: Path) -> None:
    pipeline = PIPELINES[name]("mine", PlatformSection())
    compiler.Compiler().compile(pipeline, str(tmp_path / "ir.yaml"))
    spec = pipeline.pipeline_spec  # type: ignore[attr-defined]
    root, inside = spec.root, spec.components["comp-exit-handler-1"].dag.tasks
    assert {*root.dag.tasks, *inside} - {"exit-handler-1"} == TASKS[name]
    for parameter, about in root.input_definitions.parameters.items():
        assert about.description, parameter


def artifact(path: Path) -> Any:
    return SimpleNamespace(path=str(path), metadata={})


@pytest.fixture
def run(tmp_path: Path) -> RunSection:
    return RunSection(home=str(tmp_path / "home"), tracking_uri="none")


@pytest.fixture
def store(run: RunSection, tmp_path: Path) -> Store:
    return open_store(run.store_uri(), tmp_path / "cache")


def committed(store: Store, folder: Path, kind: str, inputs: dict[str, str]) -> str:
    folder.mkdir()
    (folder / "file").write_text(kind)
    about: dict[str, Any] = {"config": {}, "input_digests": {}, "metrics": {"num_rows": 3}}
    store.commit(
        folder, kind=kind, key="k", stage="x", code_version="c", seconds=1, inputs=inputs, **about
    )
    return store.artifact_uri(kind, "k")


def test_a_policy_is_taken_with_what_it_was_trained_on(
    run: RunSection, store: Store, tmp_path: Path
) -> None:
    inputs = {
        kind: committed(store, tmp_path / kind, kind, {}) for kind in ("examples", "rationales")
    }
    policy = committed(store, tmp_path / "policy", "policy", inputs)
    outputs = {k: artifact(tmp_path / f"{k}.json") for k in ("policy", "examples", "rationales")}
    component.take_existing(run.model_dump(), policy, outputs)
    for kind, uri in {**inputs, "policy": policy}.items():
        assert Path(outputs[kind].path).read_text() == store.load(uri).to_json()
        assert outputs[kind].metadata["store_uri"] == uri
        assert outputs[kind].metadata["num_rows"] == 3


def test_what_is_no_policy_is_refused_with_one_message(
    run: RunSection, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = committed(store, tmp_path / "pairs", "pairs", {})
    with pytest.raises(SystemExit) as caught:
        component.take_existing(run.model_dump(), other, {"rationales": artifact(tmp_path / "r")})
    assert caught.value.code == 2
    assert "was not trained on rationales; is it a policy?" in capsys.readouterr().err


def test_models_are_scored_into_a_table_and_metrics(
    run: RunSection, tmp_path: Path, student_folder: Path
) -> None:
    bars = [{"dataset": "bars", "split": "test", "limit": 2}]
    prepare = {"examples": [{"dataset": "bars", "limit": 4}], "benchmarks": bars}
    made = {
        k: artifact(tmp_path / k)
        for k in ("examples", "benchmarks", "inventory", "page", "metrics", "table")
    }
    component.run_component(
        "prepare",
        prepare,
        run=run.model_dump(exclude_none=True),
        model={},
        pipeline_run="",
        inputs={},
        outputs={k: made[k] for k in ("examples", "benchmarks", "inventory")},
        metrics=artifact(tmp_path / "m"),
        page=made["page"],
    )
    assert "<title>Chainsight: data</title>" in Path(made["page"].path).read_text()
    sections = {
        "run": run.model_dump(exclude_none=True),
        "prepare": prepare,
        "evaluate": {"max_new_tokens": 3, "max_direct_tokens": 2},
    }
    component.score_models(
        sections,
        [f"mine={student_folder}"],
        made["benchmarks"],
        metrics=made["metrics"],
        table=made["table"],
    )
    assert set(made["metrics"].metadata) == {"mine/direct", "mine/cot"}
    assert Path(made["table"].path).read_text().splitlines()[2].startswith("| mine | 0.0 ± 0.0 |")


def test_a_policy_may_be_the_aligned_model_of_a_round_before(
    run: RunSection, store: Store, tmp_path: Path
) -> None:
    data = {k: committed(store, tmp_path / k, k, {}) for k in ("examples", "rationales")}
    policy = committed(store, tmp_path / "policy", "policy", data)
    pairs = committed(store, tmp_path / "pairs", "pairs", {"rationales": data["rationales"]})
    inputs = {"examples": data["examples"], "pairs": pairs, "policy": policy}
    aligned = committed(store, tmp_path / "aligned", "aligned", inputs)
    outputs = {k: artifact(tmp_path / f"{k}.json") for k in ("policy", "examples", "rationales")}
    component.take_existing(run.model_dump(), aligned, outputs)
    assert {k: a.metadata["store_uri"] for k, a in outputs.items()} == data | {"policy": aligned}


BARS = {
    "examples": [{"dataset": "bars", "limit": 4}],
    "benchmarks": [{"dataset": "bars", "split": "test", "limit": 2}],
}


def verified(run: RunSection, given: dict[str, str], version: str = "") -> None:
    component.verify_models(
        {"run": run.model_dump(exclude_none=True), "prepare": BARS},
        version=version,
        given=given,
        pipeline_run="",
        benchmarks=artifact(Path("none.json")),
        verified=artifact(Path("verified.json")),
        metrics=artifact(Path("metrics.json")),
    )


def test_a_verification_of_nothing_says_what_to_name(
    run: RunSection, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        verified(run, {"policy": "", "aligned": ""})
    assert caught.value.code == 2
    assert "--model models:/NAME@ALIAS or --aligned URI" in capsys.readouterr().err


def test_an_aligned_model_is_verified_against_its_own_policy(
    run: RunSection, tmp_path: Path, student_folder: Path
) -> None:
    """Stage and page, as their pods do them; the aligned model is the policy under another name."""
    store = open_store(run.store_uri(), tmp_path / "cache")
    about: dict[str, Any] = {"config": {}, "input_digests": {}, "metrics": {}, "seconds": 0.0}
    uris: dict[str, str] = {}
    for kind in ("policy", "aligned"):
        store.commit(
            student_folder,
            kind=kind,
            key="k",
            stage="x",
            code_version="c",
            inputs=dict(uris),
            **about,
        )
        uris[kind] = store.artifact_uri(kind, "k")
    made = {
        k: artifact(tmp_path / k) for k in ("benchmarks", "verified", "metrics", "page", "html")
    }
    component.run_component(
        "prepare", BARS, run=run.model_dump(exclude_none=True), model={}, pipeline_run="",
        inputs={}, outputs={"benchmarks": made["benchmarks"]}, metrics=artifact(tmp_path / "m"),
    )  # fmt: skip
    sections = {
        "run": run.model_dump(exclude_none=True),
        "prepare": BARS,
        "verify": {"num_candidates": 2, "max_new_tokens": 3, "batch_size": 2},
    }
    component.verify_models(
        sections, version="", given={"policy": "", "aligned": uris["aligned"]}, pipeline_run="",
        benchmarks=made["benchmarks"], verified=made["verified"], metrics=made["metrics"],
    )  # fmt: skip
    manifest = store.load(made["verified"].metadata["store_uri"])
    assert {k: manifest.inputs[k] for k in uris} == uris
    component.verification_page(sections, version="", verified=made["verified"], page=made["html"])
    assert "best_truncated" in Path(made["html"].path).read_text()


def test_a_claim_is_mounted_in_every_pod(tmp_path: Path) -> None:
    pipeline = evaluate.build("mine", PlatformSection(home_claim="work"))
    compiler.Compiler().compile(pipeline, str(tmp_path / "ir.yaml"))
    platform = list(yaml.safe_load_all((tmp_path / "ir.yaml").read_text()))[1]["platforms"]
    executors = platform["kubernetes"]["deploymentSpec"]["executors"]
    for name, pod in executors.items():
        (mount,) = pod["pvcMount"]
        assert (mount["mountPath"], mount["constant"]) == ("/chainsight", "work"), name
