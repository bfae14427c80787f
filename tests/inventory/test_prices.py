"""The cost of distillation, worked out by hand."""

import pytest
from inventories import example, facts_of

from chainsight.config import DistillSection
from chainsight.inventory.pricelist import LISTINGS, image_rule, listing
from chainsight.inventory.prices import SHOWN, distillation
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
    assert config.teacher_model == next(iter(SHOWN)) == LISTINGS[0].model
    assert price_of(config) == LISTINGS[0].price


def test_the_page_says_of_when_a_price_is_and_when_its_teacher_ends() -> None:
    paper = distillation({"a/train": of(1, (8, 8))})["teachers"][0]
    assert (paper["price_seen"], paper["ends"]) == ("2024-10-01", "2026-10-23")


def test_a_snapshot_costs_what_its_model_costs_unless_it_is_listed_itself() -> None:
    costs = {
        name: (known.price.prompt, known.price.completion) if (known := listing(name)) else None
        for name in ("gpt-4o-2024-05-13", "gpt-4o-2024-11-20", "gpt-4o", "gpt-4o-2024", "my-4o")
    }
    assert costs == {
        "gpt-4o-2024-05-13": (5, 15),
        "gpt-4o-2024-11-20": (2.5, 10),
        "gpt-4o": (2.5, 10),
        "gpt-4o-2024": None,
        "my-4o": None,
    }


def test_each_listed_teacher_has_one_row() -> None:
    assert len({one.model for one in LISTINGS}) == len(LISTINGS)


@pytest.mark.parametrize(
    ("model", "detail", "num_tokens"),
    [
        ("gpt-4o-2024-05-13", "auto", 765),
        ("gpt-4o", "high", 765),
        ("gpt-4o", "low", 85),
        ("gpt-4o-mini", "auto", 2833 + 4 * 5667),
        ("gpt-4.1-2025-04-14", "auto", 765),
        ("gpt-4.1-mini", "auto", 1659),  # 1024 patches x 1.62
        ("gpt-4.1-mini", "low", 1659),  # which has no say there
        ("gpt-5", "auto", 70 + 4 * 140),
        ("o3", "low", 75),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "auto", 1369),  # 37 x 37
        ("llava-hf/llava-v1.6-mistral-7b-hf", "auto", 2928),
        ("gpt-6-luna", "auto", None),
        ("somebody/else", "auto", None),
    ],
)
def test_each_teacher_counts_an_image_by_its_own_rule(
    model: str, detail: str, num_tokens: int | None
) -> None:
    rule = image_rule(
        DistillSection.model_validate({"teacher_model": model, "image_detail": detail})
    )
    assert (rule(1024, 1024) if rule else None) == num_tokens
