"""The stage in mode `batch`, against the scripted teacher."""

import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from chainsight import records
from chainsight.config import DistillSection
from chainsight.context import Context
from chainsight.demo import bars, teacher
from chainsight.errors import TeacherError
from chainsight.records import Example, Rationale
from chainsight.stages import distill
from chainsight.teacher.batches.telling import Teller


def questions(folder: Path, num_charts: int) -> Path:
    found = [
        Example(
            f"bars/train/{i}-{j}", "bars", "train", question.text, (question.answer,),
            "exact_match", (chart.image,),
        )
        for i, chart in zip(range(num_charts), bars.charts(0, "train"), strict=False)
        for j, question in enumerate(chart.questions)
    ]  # fmt: skip
    folder.mkdir(parents=True)
    records.write(folder / "examples.parquet", found, Example)
    return folder


def distilled(
    url: str, mode: str, examples: Path, home: Path, **more: Any
) -> tuple[Any, list[Rationale]]:
    settings: dict[str, Any] = {"mode": mode, "batch": {"poll_seconds": 0.05}, **more}
    config = DistillSection(teacher=url, teacher_model="gpt-4o-2024-05-13", **settings)
    output = home / f"rationales-{mode}-{examples.name}"
    output.mkdir(parents=True, exist_ok=True)
    counts = distill.run(
        config,
        examples=examples,
        rationales=output,
        context=Context(work=home / "work", ledger=home / "ledger"),
    )
    return counts, list(records.read(output / "rationales.parquet", Rationale))


def test_both_modes_give_the_same_rationales(tmp_path: Path) -> None:
    examples = questions(tmp_path / "examples", 6)
    with teacher.serve(batch=teacher.Batching(seconds=0.1)) as server:
        one, by_one = distilled(server.url, "sync", examples, tmp_path / "one")
        batched, by_batch = distilled(server.url, "batch", examples, tmp_path / "batch")
    assert [(row.example_id, row.text) for row in by_one] == [
        (row.example_id, row.text) for row in by_batch
    ]
    assert batched["num_asked"] == one["num_asked"] > 10


def test_a_batch_asks_only_what_was_not_answered_one_by_one(tmp_path: Path) -> None:
    few, many = questions(tmp_path / "few", 3), questions(tmp_path / "many", 6)
    with teacher.serve(batch=teacher.Batching(seconds=0.1)) as server:
        first, _ = distilled(server.url, "sync", few, tmp_path)
        second, _ = distilled(server.url, "batch", many, tmp_path)
        third, _ = distilled(server.url, "sync", many, tmp_path)
        assert server.bill.num_billed == first["num_asked"] + second["num_asked"]
    assert second["num_from_ledger"] == pytest.approx(first["num_asked"])
    assert third["num_asked"] == 0


def test_a_batch_is_budgeted_by_the_answers_of_before(tmp_path: Path) -> None:
    """Not by the longest answers: these cost several times as much, and the rest had to wait."""
    few, many = questions(tmp_path / "few", 10), questions(tmp_path / "many", 30)
    with teacher.serve(batch=teacher.Batching(seconds=0.1)) as server:
        first, _ = distilled(server.url, "sync", few, tmp_path)
        each = first["cost_usd"] / first["num_asked"]
        budget = first["cost_usd"] + 1.1 * 0.5 * each * 2 * first["num_asked"]
        second, _ = distilled(server.url, "batch", many, tmp_path, budget_usd=budget)
        assert server.bill.usd <= budget
    assert (second["num_batches"], second["num_from_ledger"]) == (1, first["num_asked"])


def interrupted(url: str, examples: Path, home: Path) -> None:
    """One batch is created, and left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Teller, "seen", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            distilled(url, "batch", examples, home)


def test_what_waits_in_a_batch_is_not_asked_one_by_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    examples = questions(tmp_path / "examples", 3)
    with teacher.serve(batch=teacher.Batching(seconds=0.1)) as server:
        interrupted(server.url, examples, tmp_path)
        assert "1 batches go on at the API and will be billed" in caplog.text
        with pytest.raises(TeacherError, match=r"in 1 batches of an earlier run.*mode batch"):
            distilled(server.url, "sync", examples, tmp_path)
        counts, _ = distilled(server.url, "batch", examples, tmp_path)
        then, _ = distilled(server.url, "sync", examples, tmp_path)
        assert server.bill.num_billed == counts["num_asked"] > 0
    assert then["num_asked"] == 0


def test_a_batch_that_ended_while_nobody_looked_counts_in_the_budget(tmp_path: Path) -> None:
    few, many = questions(tmp_path / "few", 3), questions(tmp_path / "many", 12)
    with teacher.serve(batch=teacher.Batching(seconds=0.0)) as server:
        interrupted(server.url, few, tmp_path)
        time.sleep(0.1)
        budget = 1.1 * server.bill.usd  # as good as spent
        with pytest.raises(TeacherError, match="spent on 12 of"):
            distilled(server.url, "batch", many, tmp_path, budget_usd=budget)
        assert server.bill.num_billed == 12
