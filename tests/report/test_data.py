"""What the report reads from a run's artifacts."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from chainsight import records
from chainsight.records import Example
from chainsight.report import StageResult, collect, summary
from chainsight.report.flow import MAX_REASONS, flows
from chainsight.stages import STAGES

Run = dict[str, StageResult]
MOMENT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def test_the_summary_has_what_machines_rely_on(finished: Run) -> None:
    found = json.loads(json.dumps(summary(collect("demo", finished, created=MOMENT))))
    assert set(found["models"]) == {"base", "policy", "aligned"}
    for modes in found["models"].values():
        assert set(modes) == {"direct", "cot"}
        for score in modes.values():
            assert {"value", "standard_error", "num_examples"} <= set(score)
    assert found["models"]["policy"]["cot"]["num_examples"] == 40
    assert found["counts"]["sample"] == {"num_questions": 24, "num_candidates": 192}
    assert found["seconds"]["sft"] == 241.5
    assert found["total_seconds"] == pytest.approx(494.4)
    assert found["cost_usd"]["distill"] == found["total_cost_usd"] == pytest.approx(1.2)
    assert found["versions"]["chainsight"]
    assert found["registered"]["version"] == 1
    assert found["registered"]["aliases"] == ["challenger", "champion"]
    assert found["missing"] == []
    assert found["created"] == "2026-01-02T03:04:00+00:00"


def test_an_unfinished_run_says_what_is_missing(finished: Run) -> None:
    part = {name: finished[name] for name in ("prepare", "distill", "sft")}
    found = summary(collect("demo", part))
    assert found["missing"] == ["sample", "pair", "dpo", "evaluate", "register"]
    assert found["models"] == {}
    assert found["registered"] is None


def test_every_flow_adds_up(finished: Run) -> None:
    found = collect("demo", finished).flows
    assert [flow.stage for flow in found] == [
        "prepare", "distill", "sft", "sample", "sample", "pair", "dpo", "evaluate",
    ]  # fmt: skip
    for flow in found:
        assert flow.entered == flow.left + sum(count for _, count in flow.lost)
    by_stage = {flow.stage: flow for flow in found}
    assert (by_stage["prepare"].entered, by_stage["prepare"].left) == (66, 64)
    assert by_stage["prepare"].lost == (("the image does not decode", 2),)
    assert by_stage["distill"].lost == (("mismatch", 2),)
    assert (by_stage["pair"].entered, by_stage["pair"].left) == (24, 16)


def test_rare_reasons_are_added_up(rerun: Callable[[], Run]) -> None:
    run = rerun()
    bad = [
        records.Quarantined(str(n), "bars", "train", n, f"reason {n:02d}")
        for n in range(MAX_REASONS + 3)
    ]
    folder = run["prepare"].folders["examples"]
    records.write(folder / "quarantine.parquet", bad, records.Quarantined)
    (flow,) = flows({"prepare": run["prepare"].metrics}, run["prepare"].folders)
    assert len(flow.lost) == MAX_REASONS + 1
    assert flow.lost[-1] == ("other reasons", 3)


def test_pairs_by_the_teacher_do_not_count_as_too_hard() -> None:
    """With `teacher_as_chosen` questions below the band are paired as well."""
    metrics = {
        "num_questions": 10.0,
        "num_too_hard": 6.0,
        "num_too_easy": 1.0,
        "num_in_band_unpaired": 0.0,
        "num_paired": 8.0,
        "num_unpaired": 2.0,
    }
    (flow,) = flows({"pair": metrics}, {})
    assert (flow.entered, flow.left) == (10, 8)
    assert dict(flow.lost) == {"too easy (above the band)": 1, "too hard (below the band)": 1}


def test_accuracies_are_those_of_the_questions(finished: Run) -> None:
    data = collect("demo", finished)
    assert len(data.accuracies) == 24
    assert set(data.accuracies) <= {k / 8 for k in range(9)}
    assert data.num_candidates == 8
    assert data.exercises.rules.band == (0.25, 0.85)


def test_a_picture_that_does_not_decode_is_left_out(rerun: Callable[[], Run]) -> None:
    run = rerun()
    path = run["prepare"].folders["benchmarks"] / "benchmarks.parquet"
    broken = [replace(e, images=(b"<html>",)) for e in records.read(path, Example)]
    records.write(path, broken, Example)
    samples = collect("demo", run).samples
    assert samples is not None
    assert {sheet.pictures for sheet in samples.sheets} == {()}
    assert len(samples.shown) == 40


@pytest.mark.parametrize("count", range(9))
def test_every_prefix_of_the_pipeline_has_a_report(finished: Run, count: int) -> None:
    part: Mapping[str, StageResult] = {name: finished[name] for name in list(STAGES)[:count]}
    data = collect("demo", part)
    assert len(data.missing) == 8 - count
    assert summary(data)["run"] == "demo"
