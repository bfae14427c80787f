"""Rows for the inventory's tests."""

import io
from dataclasses import replace
from typing import Any

from PIL import Image

from chainsight.datasets import DATASETS
from chainsight.hygiene.picture import Picture
from chainsight.inventory.facts import Facts, facts
from chainsight.inventory.report import Inventory, Read
from chainsight.records import Example, Quarantined


def picture(width: int = 400, height: int = 300, form: str = "PNG", colour: Any = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGBA" if isinstance(colour, tuple) else "RGB", (width, height), colour).save(
        file, form
    )
    return file.getvalue()


def example(number: int = 0, split: str = "train", **more: Any) -> Example:
    given: dict[str, Any] = {
        "id": f"chartqa/{split}/{number}",
        "dataset": "chartqa",
        "split": split,
        "question": "How many <b>cars</b> did Ford sell?",
        "references": ("15702",),
        "metric": "relaxed_accuracy",
        "images": (picture(),),
    }
    return Example(**(given | more))


def facts_of(row: Example, width: int = 400, height: int = 300) -> Facts:
    return facts(row, [Picture(b"", b"", width, height) for _ in row.images])


def quarantined(
    row: int, reason: str = "no image", cause: Any = "fault", **more: Any
) -> Quarantined:
    return Quarantined(f"chartqa/train/{row}", "chartqa", "train", row, reason, cause, **more)


def read(use: Any, num_rows: int, split: str = "train", **more: Any) -> Read:
    dataset = replace(DATASETS["chartqa"], copyleft=True, sizes={"train": 9})
    given = {"place": "somewhere", "fingerprint": "owner/name@main/train", "num_rows": num_rows}
    return Read(use, dataset, split, **(given | more))


def small_inventory() -> tuple[Inventory, list[Read]]:
    """9 training rows, of which 5 are kept, and 2 of a benchmark."""
    found = Inventory()
    for number in range(5):
        one = example(number, references=("15702" if number else "yes",))
        found.add_kept("examples", facts_of(one))
        found.offer("examples", one)
    for number in range(2):
        one = example(number, "test", choices=("a", "b"), references=("A",))
        found.add_kept("benchmarks", facts_of(one))
        found.offer("benchmarks", one)
    where = "image is in benchmark chartqa/test"
    for row in (quarantined(5), quarantined(6), quarantined(7, where, "leak", detail="same")):
        found.add_quarantined("examples", row, example(row.row) if row.cause == "leak" else None)
    found.add_quarantined("examples", quarantined(8, "repeats another row", "duplicate"))
    return found, [read("examples", 9), read("benchmarks", 3, "test", num_skipped=1)]
