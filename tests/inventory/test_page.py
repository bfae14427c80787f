"""The page: whole, closed, escaped, small, and the same from the JSON as from the rows."""

import io
import json
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from inventories import example, facts_of, quarantined, read, small_inventory
from PIL import Image

from chainsight.inventory import figures, marks
from chainsight.inventory.page import render
from chainsight.inventory.report import Inventory

VOID = {"meta", "img", "br"}


class Whole(HTMLParser):
    """Fails on a tag that is not closed; collects what a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page() -> str:
    inventory, reads = small_inventory()
    return render(inventory.finish(reads))


def test_the_page_is_whole_and_refers_to_nothing_elsewhere(page: str) -> None:
    parser = Whole()
    parser.feed(page)
    assert parser.open == []
    assert "script" not in parser.tags
    assert parser.links
    assert all(link.startswith("data:image/jpeg;base64,") for link in parser.links)
    assert "default-src 'none'" in page


def test_what_a_dataset_wrote_is_escaped(page: str) -> None:
    assert "How many &lt;b&gt;cars&lt;/b&gt; did" in page
    found = Inventory()
    evil = '"><script>alert(1)</script>'
    said = {"question": evil, "choices": (evil,), "references": (evil,)}
    found.offer("examples", example(id=f"chartqa/{evil}/1", **said))
    found.add_quarantined("examples", quarantined(1, evil, detail=evil))
    one = example(split=evil)
    found.add_kept("examples", facts_of(one))
    page = render(found.finish([read("examples", 2, evil, place=evil, fingerprint=evil)]))
    assert "<script" not in page


@pytest.mark.parametrize(
    "text",
    [
        "Copyleft or share-alike, which may bind what is made from it:</b> chartqa/train (GPL-3.0)",
        "image is in benchmark: 1",
        "What the teacher would cost",
        "gpt-4o-2024-05-13",
        'aria-label="5 kept, 2 faults, 1 leaks, 1 duplicates"',
        "owner/name@main/train",
    ],
)
def test_the_page_says(page: str, text: str) -> None:
    assert text in page


def test_the_page_of_the_json_is_the_page() -> None:
    inventory, reads = small_inventory()
    report = inventory.finish(reads)
    assert render(json.loads(json.dumps(report, sort_keys=True))) == render(report)


def test_the_page_of_nothing_is_a_page() -> None:
    parser = Whole()
    parser.feed(render(Inventory().finish([])))
    assert parser.open == []


def test_two_hundred_pictures_take_less_than_two_megabytes() -> None:
    found, noise = Inventory(), np.random.default_rng(0)
    for number in range(200):
        pixels = noise.integers(0, 256, (40, 60, 3), dtype=np.uint8)
        file = io.BytesIO()
        smooth = Image.fromarray(pixels).resize((900, 600), Image.Resampling.BICUBIC)
        smooth.save(file, "JPEG")  # busier than a photograph
        found.offer("examples", example(number, f"s{number // 4}", images=(file.getvalue(),)))
    page = render(found.finish([]))
    assert page.count("<img") == 200
    assert len(page) < 2_000_000


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [(0, 0, "-"), (0, 5, "0 %"), (5, 5, "100 %"), (1, 8, "12.5 %"), (1, 9999, "<0.1 %")],
)
def test_a_share_is_never_rounded_to_none_or_all(part: int, whole: int, said: str) -> None:
    assert figures.share(part, whole) == said
    assert figures.share(9998, 9999) == ">99.9 %"


def test_bins_that_are_too_long_are_marked() -> None:
    bins: list[Any] = [("up to 1", 3), ("2 to 3", 4), ("4 on", 5)]
    assert marks.histogram("t", bins, over="2 to 3").count('class="over"') == 2
    assert marks.histogram("t", bins).count('class="over"') == 0
