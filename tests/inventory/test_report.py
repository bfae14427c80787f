"""The data report as JSON: every row is accounted for, and equal data give equal bytes."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from inventories import (
    example,
    facts_of,
    quarantined,
    read,
    small_inventory,
)

from chainsight.inventory.report import (
    MAX_REASONS,
    NUM_QUARANTINED,
    NUM_SAMPLES,
    Inventory,
    write,
)


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    inventory, reads = small_inventory()
    return inventory.finish(reads)


def test_every_row_that_was_read_is_accounted_for(report: dict[str, Any]) -> None:
    for source in report["sources"]:
        parts = ("kept", "skipped", "faults", "leaks", "duplicates")
        assert source["rows"] == sum(source[part] for part in parts)
    assert report["overview"]["rows"] == 12
    assert report["overview"]["examples"] == 5
    assert report["overview"]["benchmarks"] == 2
    assert [report["overview"][name] for name in ("faults", "leaks", "duplicates")] == [2, 1, 1]


def test_leaks_are_counted_by_training_set_and_benchmark(report: dict[str, Any]) -> None:
    (leak,) = report["leaks"]
    assert leak == {
        "training": "chartqa/train",
        "benchmark": "chartqa/test",
        "how": "image is in benchmark",
        "rows": 1,
    }


def test_reasons_come_with_rows_to_look_at(report: dict[str, Any]) -> None:
    first, *others = report["quarantine"]
    assert (first["reason"], first["rows"], first["cause"]) == ("no image", 2, "fault")
    assert first["sources"] == {"chartqa/train": 2}
    assert [one["id"] for one in first["samples"]] == ["chartqa/train/5", "chartqa/train/6"]
    (leaked,) = next(one for one in others if one["cause"] == "leak")["samples"]
    assert leaked["picture"].startswith("data:image/jpeg;base64,")
    assert leaked["detail"] == "same"


def test_expected_rows_are_compared_with_those_found() -> None:
    found = Inventory()
    for num_rows, limit, differs in ((9, None, False), (8, None, True), (3, 3, False)):
        (source,) = found.finish([read("examples", num_rows, limit=limit)])["sources"]
        assert source["differs"] is differs
        assert source["expected"] == 9
    (source,) = found.finish([read("examples", 12, num_skipped=3)])["sources"]
    assert not source["differs"], "the publisher may count the subset alone"
    (source,) = found.finish([read("examples", 12, "val")])["sources"]
    assert not source["differs"]
    assert source["expected"] is None


def test_places_of_one_source_are_one_row() -> None:
    reads = [read("examples", 3, place="a"), read("examples", 4, place="b")]
    (source,) = Inventory().finish(reads)["sources"]
    assert source["places"] == ["a", "b"]
    assert source["rows"] == 7
    assert not source["differs"]


def test_terms_and_fingerprints_stand_with_the_source(report: dict[str, Any]) -> None:
    training = report["sources"][0]
    assert training["copyleft"]
    assert not training["non_commercial"]
    assert training["fingerprints"] == ["owner/name@main/train"]


def test_training_rows_that_are_too_long_are_counted() -> None:
    found = Inventory()
    for side in (400, 2800):  # (2800 / 28)^2 tokens of Qwen2.5-VL
        found.add_kept("examples", facts_of(example(), side, side))
    tokens = found.finish([])["contents"]["examples"]["total"]["row_tokens"]
    assert tokens["Qwen2.5-VL"]["too_long"] == 1
    assert tokens["LLaVA-NeXT (336 px tiles)"]["too_long"] == 0


def test_equal_rows_in_any_order_give_equal_bytes(tmp_path: Path) -> None:
    rows = [("kept", number) for number in range(40)] + [("bad", n) for n in range(40, 80)]
    for seed in (0, 1):
        found = Inventory()
        for kind, number in random.Random(seed).sample(rows, len(rows)):
            one = example(number)
            if kind == "kept":
                found.add_kept("examples", facts_of(one))
                found.offer("examples", one)
            else:
                found.add_quarantined("examples", quarantined(number, f"{number % 3} eyes"), one)
        (tmp_path / str(seed)).mkdir()
        write(tmp_path / str(seed), found.finish([read("examples", 80)]))
    for name in ("inventory.json", "inventory.html"):
        first, second = ((tmp_path / seed / name).read_bytes() for seed in "01")
        assert first == second


def test_what_is_shown_is_bounded() -> None:
    found = Inventory()
    for number in range(300):
        shown = example(number, images=(b"",))
        found.offer("examples", shown)
        found.add_quarantined("examples", quarantined(number, f"reason {number % 30}"), shown)
    report = found.finish([])
    assert len(report["samples"]["examples"]["chartqa/train"]) == NUM_SAMPLES
    assert [len(one["samples"]) for one in report["quarantine"]] == [
        *[NUM_QUARANTINED] * MAX_REASONS,
        *[0] * (30 - MAX_REASONS),
    ]
    assert sum(one["rows"] for one in report["quarantine"]) == 300


def test_two_rows_of_one_id_are_both_shown() -> None:
    found = Inventory()
    for row in (1, 2):
        twin = quarantined(row, "duplicate id")
        found.add_quarantined("examples", type(twin)(**{**twin.__dict__, "id": "chartqa/train/x"}))
    (reason,) = found.finish([])["quarantine"]
    assert len(reason["samples"]) == 2


def test_the_report_is_json_that_can_be_read_again(report: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path, report)
    again = json.loads((tmp_path / "inventory.json").read_text())
    assert again["overview"] == report["overview"]
    assert again["format"] == 1
