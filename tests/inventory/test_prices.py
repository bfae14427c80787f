"""The cost of distillation, worked out by hand."""

import pytest
from inventories import example, facts_of

from chainsight.config import DistillSection
from chainsight.inventory.prices import TEACHERS, distillation
from chainsight.inventory.tally import IMAGE_MAX_SIDE, Tally
from chainsight.teacher.cost import price_of


def of(num_rows: int, size: tuple[int, int], kind: str = "open") -> Tally:
    found = Tally()
    for number in range(num_rows):
        found.add(facts_of(example(number, kind=kind), *size))
    return found


def test_the_papers_teacher_for_a_thousand_questions() -> None:
    tally = of(1000, (1024, 1024))
    paper, newer, _ = distillation({"chartqa/train": tally})["teachers"]
    assert paper["image_tokens"] == 765_000
    text = tally.sums["asked_characters"] / 4
    assert paper["tokens_in"] == [765_000 + round(0.75 * text), 765_000 + round(1.25 * text)]
    assert paper["tokens_out"] == [105_000, 175_000]
    low = (paper["tokens_in"][0] * 5 + 105_000 * 15) / 1e6
    assert paper["usd"][0] == pytest.approx(low, abs=1e-4)
    assert paper["batch_usd"][0] == pytest.approx(low / 2, abs=1e-4)
    assert 5 < paper["usd"][0] < paper["usd"][1] < 10
    assert newer["usd"][1] < paper["usd"][0]


def test_a_large_image_costs_what_is_sent_of_it() -> None:
    assert of(1, (4096, 4096)).sums["gpt_4o_tokens"] == 765


def test_costs_of_sources_add_up_and_instructions_cost_nothing() -> None:
    sources = {
        "a/train": of(10, (800, 600)),
        "b/train": of(5, (300, 300)),
        "c/train": of(7, (300, 300), kind="instruct"),
    }
    found = distillation(sources)
    assert set(found["sources"]) == {"a/train", "b/train"}
    assert found["questions"] == 15
    parts = sum(one["usd"][0] for one in found["sources"].values())
    assert found["teachers"][0]["usd"][0] == pytest.approx(parts, abs=1e-3)


def test_nothing_costs_nothing() -> None:
    assert distillation({})["teachers"][0]["usd"] == [0.0, 0.0]


def test_the_estimate_goes_by_distills_defaults() -> None:
    config = DistillSection()
    assert config.image_max_side == IMAGE_MAX_SIDE
    assert config.teacher_model == TEACHERS[0].name
    assert price_of(config) == TEACHERS[0].price
