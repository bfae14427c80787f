"""A user starts from what the paper's authors published: no teacher is asked, no chain sampled."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chainsight import records, runner, shards
from chainsight.config import RunSection, SftSection
from chainsight.context import Shard
from chainsight.errors import QuarantineError
from chainsight.records import Example, Pair, Rationale
from chainsight.store import Store, open_store
from chainsight.training.lessons import Reasons, build_rows
from chainsight.vlm import checkpoint

RELEASED = Path(__file__).parent / "fixtures" / "datasets" / "sharegpt4o"
BENCHMARKS = [{"dataset": "bars", "split": "test", "limit": 4}]


@dataclass
class Workplace:
    run: RunSection
    store: Store

    def stage(self, name: str, config: dict[str, Any], *inputs: runner.StageRun) -> runner.StageRun:
        return runner.execute(self.job(name, config, *inputs))

    def job(self, name: str, config: dict[str, Any], *inputs: runner.StageRun) -> runner.Job:
        given = {
            kind: m
            for one in inputs
            for kind, m in one.outputs.items()
            if kind not in ("benchmarks", "inventory")
        }
        uris = {kind: self.store.artifact_uri(kind, m.key) for kind, m in given.items()}
        return runner.job(name, config, run=self.run, model={}, inputs=uris, store=self.store)

    def prepare(self, *sources: dict[str, Any]) -> runner.StageRun:
        return self.stage("prepare", {"examples": list(sources), "benchmarks": BENCHMARKS})

    def rows(self, stage: runner.StageRun, kind: str, record: type) -> list[Any]:
        folder = self.store.fetch(stage.outputs[kind])
        return list(records.read(folder / f"{kind}.parquet", record))


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    run = RunSection(home=str(tmp_path / "home"), tracking_uri="none")
    return Workplace(run, open_store(run.store_uri(), tmp_path / "cache"))


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """The released files without their images, which lie elsewhere."""
    folder = tmp_path / "released"
    for name in ("sft/chartqa/cot.none.jsonl", "sft/aokvqa/cot.none.jsonl",
                 "dpo_preview/chartqa.pairwise.train.jsonl"):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((RELEASED / name).read_bytes())
    return folder


def source(folder: Path, dataset: str, split: str) -> dict[str, Any]:
    images = str(RELEASED / "images")
    return {"dataset": dataset, "split": split, "source": str(folder), "images": images}


def test_sft_learns_from_published_rationales(
    place: Workplace, released: Path, student_folder: Path
) -> None:
    prepared = place.prepare(
        source(released, "sharegpt4o_sft", "chartqa"), source(released, "sharegpt4o_sft", "aokvqa")
    )
    assert prepared.metrics["num_examples"] == 20
    distilled = place.stage("distill", {"teacher": "published"}, prepared)
    assert distilled.metrics["num_kept"] == 20
    assert distilled.metrics["cost_usd"] == 0.0
    examples = {row.id: row for row in place.rows(prepared, "examples", Example)}
    reasons = {row.example_id: row.text for row in place.rows(distilled, "rationales", Rationale)}
    template = checkpoint.load(student_folder).template
    learned = build_rows(examples, Reasons(reasons), template, SftSection())
    assert learned.counts == {("sharegpt4o_sft", mode): 20 for mode in ("direct", "cot")}
    said = [template.tokenizer.decode(row.response_ids[:-1]) for row in learned.kept]
    assert said[0] == "3"
    assert said[1] == "One triangle has 3 corners, and there are 1.\n\n### Answer: 3"
    assert said[-2] == "C. triangle"


def policy(place: Workplace, folder: Path) -> runner.StageRun:
    """An artifact that is no model: whoever loads it fails."""
    folder.mkdir()
    (folder / "none").write_text("no model")
    about: dict[str, Any] = {"config": {}, "inputs": {}, "input_digests": {}, "metrics": {}}
    manifest = place.store.commit(
        folder, kind="policy", key="p", stage="sft", code_version="test", seconds=0.0, **about
    )
    return runner.StageRun("sft", {"policy": manifest}, reused=False)


def test_dpo_gets_the_published_pairs(place: Workplace, released: Path, tmp_path: Path) -> None:
    path = released / "dpo_preview/chartqa.pairwise.train.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[4]["answer"] = "999"  # the annotation contradicts both chains
    rows[5]["rejected"] = "I do not know."
    path.write_text("\n".join(map(json.dumps, rows)))
    prepared = place.prepare(source(released, "sharegpt4o_dpo", "chartqa"))
    sampled = place.stage(
        "sample", {"source": "published"}, prepared, policy(place, tmp_path / "policy")
    )
    assert sampled.metrics["num_chosen_wrong"] == 1
    none = runner.StageRun("distill", {"rationales": no_rationales(place, tmp_path)}, reused=False)
    paired = place.stage("pair", {}, sampled, none)
    pairs = place.rows(paired, "pairs", Pair)
    assert [int(pair.example_id.split("/")[-1]) for pair in pairs] == [0, 1, 2, 3, 6, 7, 8, 9]
    assert [(p.chosen, p.rejected) for p in pairs] == [
        (row["chosen"], row["rejected"]) for n, row in enumerate(rows) if n not in (4, 5)
    ]
    assert (paired.metrics["num_all_wrong"], paired.metrics["num_in_band_unpaired"]) == (1, 1)


def no_rationales(place: Workplace, tmp_path: Path) -> Any:
    records.write(tmp_path / "none/rationales.parquet", [], Rationale)
    about: dict[str, Any] = {"config": {}, "inputs": {}, "input_digests": {}, "metrics": {}}
    return place.store.commit(
        tmp_path / "none", kind="rationales", key="r", stage="distill", code_version="test",
        seconds=0.0, **about,
    )  # fmt: skip


def test_shards_have_nothing_to_do_for_published_rationales(
    place: Workplace, released: Path
) -> None:
    prepared = place.prepare(source(released, "sharegpt4o_sft", "aokvqa"))
    job = place.job("distill", {"teacher": "published"}, prepared)
    for number in range(2):
        shards.execute(job, Shard(number, 2))
    shards.gather(job, shards.parse("all/2"))
    assert runner.execute(job).metrics["num_kept"] == 10


def test_published_rows_whose_image_is_missing_are_set_aside(
    place: Workplace, released: Path
) -> None:
    chartqa = source(released, "sharegpt4o_sft", "chartqa")
    empty = released / "empty"
    empty.mkdir()
    with pytest.raises(QuarantineError, match="10 the image's file is missing"):
        place.prepare(chartqa | {"images": str(empty)})
