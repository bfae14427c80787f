"""Any number of shards gives the artifacts of a single pod, to the last byte."""

import random
import re
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from chainsight import records, runner, shards
from chainsight.config import RunSection
from chainsight.context import WHOLE, Shard
from chainsight.demo import bars
from chainsight.errors import ConfigError, StoreError, TeacherError
from chainsight.job import Job
from chainsight.records import Example
from chainsight.store import Store, open_store
from chainsight.tracking import NO_TRACKING

CHARTQA = str(Path(__file__).parent / "fixtures/chartqa")
NUM_CHARTS = 9  # 36 questions: more than a block of evaluate
SETTINGS: dict[str, dict[str, Any]] = {
    "prepare": {
        "examples": [
            {"dataset": "chartqa", "source": CHARTQA},
            {"dataset": "bars", "limit": 8},
        ],
        "benchmarks": [{"dataset": "chartqa", "split": "test", "source": CHARTQA}],
    },
    "distill": {"teacher": "scripted"},
    "sample": {"num_candidates": 2, "max_new_tokens": 3, "batch_size": 2},
    "evaluate": {"max_new_tokens": 3, "batch_size": 1, "max_direct_tokens": 2},
}


class Place:
    """A store with what the stages read, and nothing that they write."""

    def __init__(self, root: Path, student: Path) -> None:
        self.root = root
        self.student = student
        self.run = RunSection(home=str(root / "home"), tracking_uri=NO_TRACKING)
        self.store: Store = open_store(self.run.store_uri(), root / "home/cache")
        rows = [
            Example(
                f"bars/{i}/{j}", "bars", "train", q.text, (q.answer,), "exact_match", (c.image,)
            )
            for i, c in enumerate(islice(bars.charts(0, "train"), NUM_CHARTS))
            for j, q in enumerate(c.questions)
        ]
        for kind in ("examples", "benchmarks"):
            records.write(root / kind / f"{kind}.parquet", rows, Example)
        self.inputs = {kind: self._commit(kind, root / kind) for kind in ("examples", "benchmarks")}
        for kind in ("policy", "aligned"):
            copy = root / kind
            copy.mkdir()
            for path in student.iterdir():
                (copy / path.name).write_bytes(path.read_bytes())
            self.inputs[kind] = self._commit(kind, copy)

    def _commit(self, kind: str, folder: Path) -> str:
        about: dict[str, Any] = {"config": {}, "inputs": {}, "input_digests": {}, "metrics": {}}
        self.store.commit(
            folder, kind=kind, key="k", stage="x", code_version="c", seconds=0.0, **about
        )
        return self.store.artifact_uri(kind, "k")

    def job(self, stage: str, **settings: Any) -> Job:
        wanted = runner.STAGES[stage].inputs
        return runner.job(
            stage,
            SETTINGS[stage] | settings,
            run=self.run,
            model={"base": str(self.student)},
            inputs={kind: self.inputs[kind] for kind in wanted},
            store=self.store,
        )


@pytest.fixture
def places(tmp_path: Path, student_folder: Path) -> list[Place]:
    return [Place(tmp_path / name, student_folder) for name in ("whole", "parts")]


def contents(job: Job) -> dict[str, str]:
    done = runner.find(job)
    assert done is not None
    return {kind: manifest.content_digest for kind, manifest in done.outputs.items()}


@pytest.mark.parametrize(
    ("stage", "count"), [("prepare", 2), ("distill", 3), ("sample", 4), ("evaluate", 2)]
)
def test_shards_and_one_pod_make_the_same_artifacts(
    places: list[Place], stage: str, count: int
) -> None:
    whole, parts = (place.job(stage) for place in places)
    runner.execute(whole)
    for number in random.Random(0).sample(range(count), count):
        shards.execute(parts, Shard(number, count))
    shards.gather(parts, shards.parse(f"all/{count}"))
    blocks = sum(len(m.files) for m in parts.store.list(shards.KIND))
    assert blocks == {"prepare": 3, "distill": 3, "sample": 18, "evaluate": 3 * 2 * 2}[stage]
    done = runner.execute(parts)
    assert contents(parts) == contents(whole)
    assert done.metrics.get("num_asked", 0.0) == 0.0  # the shards had asked everything


def test_a_shard_does_nothing_once_the_stage_is_done(places: list[Place]) -> None:
    job = places[0].job("distill")
    runner.execute(job)
    shards.execute(job, Shard(0, 2))
    shards.gather(job, Shard(0, 2))
    assert not list(job.store.list(shards.KIND))


def test_there_may_be_more_shards_than_blocks(places: list[Place]) -> None:
    whole, parts = (place.job("sample", limit=1, batch_size=1) for place in places)
    runner.execute(whole)
    for number in range(3):
        shards.execute(parts, Shard(number, 3))
    shards.gather(parts, shards.parse("all/3"))
    runner.execute(parts)
    assert contents(parts) == contents(whole)


def test_a_missing_shard_is_named(places: list[Place]) -> None:
    job = places[0].job("distill")
    shards.execute(job, Shard(1, 2))
    with pytest.raises(StoreError, match=r"distill: shard 0/2 left no blocks; run it again"):
        shards.gather(job, Shard(0, 2))


def test_each_shard_has_its_share_of_the_budget(places: list[Place]) -> None:
    job = places[0].job("distill", budget_usd=0.012, concurrency=1)
    with pytest.raises(TeacherError, match=r"distill.budget_usd: \$0\.0040 allowed") as caught:
        shards.execute(job, Shard(0, 3))
    own = re.search(r"on \d+ of (\d+) questions", str(caught.value))
    assert own
    assert int(own[1]) == 12  # of 36


@pytest.mark.parametrize(
    ("text", "shard"), [("0/4", Shard(0, 4)), ("3/4", Shard(3, 4)), ("all/2", Shard(0, 2))]
)
def test_a_shard_is_written_as_number_and_count(text: str, shard: Shard) -> None:
    assert shards.parse(text) == shard


@pytest.mark.parametrize("text", ["4/4", "1", "x/2", "-1/2", "1/", ""])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="shard"):
        shards.parse(text)


def test_every_block_belongs_to_exactly_one_shard() -> None:
    for index in range(20):
        assert sum(Shard(number, 6).has(index) for number in range(6)) == 1
        assert WHOLE.has(index)
