"""The one road into a stage: key, reuse, commit; shown on `pair`, which needs no model."""

import json
import multiprocessing
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chainsight import component, records, runner
from chainsight.config import ModelSection, PairSection, RunSection
from chainsight.errors import ConfigError, NoPairsError, StoreError
from chainsight.records import Candidate, Rationale
from chainsight.store import Store, open_store

NO_TRACKING = "none"


def candidates(texts: str) -> list[Candidate]:
    """One question's candidates; `r` is a right one, `w` a wrong one."""
    return [
        Candidate("q/0", i, f"chain {i}\n\n### Answer: {c}", c, "marker", float(c == "r"), 4, -1.0)
        for i, c in enumerate(texts)
    ]


def commit(store: Store, kind: str, rows: list[Any], record: type, folder: Path) -> str:
    """Put rows into the store as if a stage had made them; returns the artifact's URI."""
    records.write(folder / kind / f"{kind}.parquet", rows, record)
    manifest = store.commit(
        folder / kind,
        kind=kind,
        key=f"hand-made-{len(rows)}",
        stage="sample" if kind == "candidates" else "distill",
        code_version="test",
        config={},
        inputs={},
        input_digests={},
        metrics={},
        seconds=0.0,
    )
    return store.artifact_uri(kind, manifest.key)


class Workplace:
    """A store with candidates and rationales, and jobs for `pair` on them."""

    def __init__(self, folder: Path, texts: str = "rrww") -> None:
        self.folder = folder
        self.run = RunSection(home=str(folder / "home"), tracking_uri=NO_TRACKING)
        self.store = open_store(self.run.store_uri(), folder / "cache")
        self.inputs = {
            "candidates": commit(
                self.store, "candidates", candidates(texts), Candidate, folder / "made"
            ),
            "rationales": commit(self.store, "rationales", [], Rationale, folder / "made"),
        }

    def job(self, config: Any = None, **changes: Any) -> runner.Job:
        arguments = {"run": self.run, "model": {}, "inputs": self.inputs} | changes
        return runner.job("pair", config or {}, **arguments)


def test_a_stage_commits_its_artifact_with_its_lineage(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    done = runner.execute(place.job())
    manifest = done.outputs["pairs"]
    assert not done.reused
    assert done.metrics["num_pairs"] == 3
    assert manifest.inputs == place.inputs
    assert manifest.config["config"]["max_pairs"] == 3
    pairs = place.store.fetch(manifest) / "pairs.parquet"
    assert len(list(records.read(pairs, records.Pair))) == 3


def test_an_artifact_says_which_image_made_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAINSIGHT_IMAGE", "team/pair@sha256:1")
    place = Workplace(tmp_path)
    done = runner.execute(place.job())
    assert done.outputs["pairs"].image == "team/pair@sha256:1"
    monkeypatch.delenv("CHAINSIGHT_IMAGE")
    assert runner.execute(place.job()).reused  # another image of the same code: the same result


def test_a_second_execution_reuses_the_artifact(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    first = runner.execute(place.job())
    second = runner.execute(place.job())
    assert second.reused
    assert second.outputs == first.outputs


def test_each_thing_that_decides_the_result_changes_the_key(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    other = Workplace(tmp_path / "other", texts="rwww")
    seeded = place.run.model_copy(update={"seed": 1})
    keys = [
        place.job().key,
        place.job({"max_pairs": 2}).key,
        place.job(run=seeded).key,
        runner.job("pair", {}, run=other.run, model={}, inputs=other.inputs).key,
    ]
    assert len(set(keys)) == 4


def test_what_does_not_decide_the_result_leaves_the_key(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    named = place.run.model_copy(update={"name": "other", "experiment": "other"})
    model = ModelSection(dtype="bfloat16")  # pair reads no model
    assert place.job(run=named, model=model).key == place.job().key


def test_equal_inputs_made_another_way_give_the_same_key(tmp_path: Path) -> None:
    place, other = Workplace(tmp_path), Workplace(tmp_path / "other")
    assert place.inputs != other.inputs
    there = runner.job("pair", {}, run=other.run, model={}, inputs=other.inputs)
    assert there.key == place.job().key


def test_floats_that_kfp_made_of_integers_leave_the_key(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    floats = {"max_pairs": 3.0, "min_accuracy": 0.25}
    assert place.job(floats).key == place.job({"max_pairs": 3}).key


def test_a_failing_stage_leaves_nothing_committed(tmp_path: Path) -> None:
    place = Workplace(tmp_path, texts="wwww")
    with pytest.raises(NoPairsError):
        runner.execute(place.job())
    assert runner.find(place.job()) is None
    assert list(place.store.list("pairs")) == []


def test_the_work_folder_is_gone_after_the_commit(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    runner.execute(place.job())
    left = [p for p in (tmp_path / "home" / "work").rglob("*") if p.suffix != ".lock"]
    assert [p for p in left if p.is_file()] == []


def test_an_unknown_stage_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no stage 'pear'; the stages are prepare"):
        runner.job("pear", {}, run=Workplace(tmp_path).run, model={}, inputs={})


def test_a_missing_input_is_refused(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    with pytest.raises(ConfigError, match="pair reads candidates, rationales; got"):
        place.job(inputs={"candidates": place.inputs["candidates"]})


def test_an_input_of_another_kind_is_refused(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    swapped = {"candidates": place.inputs["rationales"], "rationales": place.inputs["rationales"]}
    with pytest.raises(ConfigError, match="is an artifact of kind 'rationales', not 'candidates'"):
        place.job(inputs=swapped)


def test_an_input_that_is_not_there_is_named(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    gone = place.inputs | {"candidates": place.store.artifact_uri("candidates", "f" * 64)}
    with pytest.raises(StoreError, match="no such artifact"):
        place.job(inputs=gone)


def test_a_wrong_setting_is_named_with_its_stage(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pair: 1 problem[\s\S]*max_pair: unknown key"):
        Workplace(tmp_path).job({"max_pair": 1})


def test_a_full_disk_is_one_clear_message(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    message = r"pair: no space left for .*home; free some"
    with pytest.raises(StoreError, match=message), runner.out_of_space(place.job()):
        Path("/dev/full").write_text("x" * 100_000)


def test_lineage_finds_what_an_artifact_came_from(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    done = runner.execute(place.job())
    found = runner.lineage(place.store, done.outputs)
    assert list(found) == ["distill", "sample", "pair"]
    assert found["pair"].outputs == done.outputs


def _execute(folder: Path, start: Any, results: Any) -> None:
    run = RunSection(home=str(folder / "home"), tracking_uri=NO_TRACKING)
    store = open_store(run.store_uri(), folder / "cache")
    inputs = {k: next(iter(store.list(k))) for k in ("candidates", "rationales")}
    uris = {k: store.artifact_uri(k, m.key) for k, m in inputs.items()}
    start.wait()
    done = runner.execute(runner.job("pair", {}, run=run, model={}, inputs=uris))
    results.put((done.reused, done.outputs["pairs"].attempt))


def test_processes_that_race_for_one_stage_do_the_work_once(tmp_path: Path) -> None:
    Workplace(tmp_path)
    spawn = multiprocessing.get_context("fork")
    start, results = spawn.Event(), spawn.Queue()
    racers = [spawn.Process(target=_execute, args=(tmp_path, start, results)) for _ in range(6)]
    for racer in racers:
        racer.start()
    start.set()
    outcomes = [results.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join()
    assert [reused for reused, _ in outcomes].count(False) == 1
    assert len({attempt for _, attempt in outcomes}) == 1


def component_call(place: Workplace, folder: Path, **config: Any) -> list[Any]:
    """What KFP does around a component: files for the inputs, paths for the outputs."""
    made = {}
    for kind, uri in place.inputs.items():
        path = folder / kind
        path.write_text(place.store.load(uri).to_json())
        made[kind] = SimpleNamespace(path=str(path), metadata={})
    pairs = SimpleNamespace(path=str(folder / "pairs"), metadata={})
    metrics = SimpleNamespace(path=str(folder / "metrics"), metadata={})
    component.run_component(
        "pair",
        config,
        run=place.run.model_dump(),
        model={},
        pipeline_run="",
        inputs=made,
        outputs={"pairs": pairs},
        metrics=metrics,
    )
    return [pairs, metrics]


def test_what_passes_through_kfp_is_the_manifest_and_numbers(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    pairs, metrics = component_call(place, tmp_path)
    body = json.loads(Path(pairs.path).read_text())
    assert body["kind"] == "pairs"
    assert pairs.metadata["store_uri"] == place.store.artifact_uri("pairs", body["key"])
    assert metrics.metadata["num_pairs"] == 3


def test_a_component_that_fails_exits_with_its_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        component_call(Workplace(tmp_path, texts="wwww"), tmp_path)
    assert caught.value.code == 1
    assert capsys.readouterr().err.startswith("pair: no pair from 1 questions")


def test_a_component_with_a_wrong_setting_exits_with_two(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        component_call(Workplace(tmp_path), tmp_path, max_pair=1)
    assert caught.value.code == 2


def test_the_code_version_can_be_given_from_outside() -> None:
    code = "from chainsight.job import code_version; print(code_version())"
    environment = {"CHAINSIGHT_CODE_VERSION": "image@sha256:1", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == "image@sha256:1"


def test_pair_settings_are_typed_when_given_as_a_section(tmp_path: Path) -> None:
    assert Workplace(tmp_path).job(PairSection(max_pairs=1)).config == PairSection(max_pairs=1)
