"""Counts add up and are spread as numpy says."""

import random
from collections import Counter

import numpy as np
import pytest
from inventories import example, facts_of

from chainsight.inventory import tokens
from chainsight.inventory.spread import bins, labels, spread
from chainsight.inventory.tally import STUDENT_CHARACTERS, Tally, total


def tally(*numbers: int, **more: str) -> Tally:
    found = Tally()
    for number in numbers:
        row = example(number, question="word " * number, **more)
        found.add(facts_of(row, 10 * number, 7 * number))
    return found


def test_parts_make_up_the_whole() -> None:
    parts = [tally(1, 5), tally(5, 9)]
    assert total(parts) == tally(1, 5, 5, 9)
    assert total(parts).sums["rows"] == 4
    assert total([]) == Tally()


def test_a_part_is_not_changed_by_what_it_is_added_to() -> None:
    part = tally(3)
    total([part, tally(4)])
    assert part == tally(3)


def test_labels_and_measures_are_counted() -> None:
    found = tally(4, 4, 6)
    assert found.labels["answer type"] == {"integer": 3}
    assert found.labels["images"] == {"1": 3}
    assert found.measures["question words"] == {4: 2, 6: 1}
    assert found.measures["longest side"] == {40: 2, 60: 1}


def test_a_rows_tokens_are_image_prompt_and_rationale() -> None:
    row = example(question="q" * 400)
    found = Tally()
    found.add(facts_of(row, 800, 600))
    text = (400 + STUDENT_CHARACTERS) // 4 + round((100 + 1) * tokens.TOKENS_PER_WORD)
    assert found.row_tokens["Qwen2.5-VL"] == {tokens.qwen2_5_vl(800, 600) + text: 1}


def test_instructions_are_not_sent_to_a_teacher() -> None:
    asked, told = tally(3), tally(3, kind="instruct")
    assert asked.sums["asked"] == 1
    assert asked.sums["gpt_4o_tokens"] == 255
    assert "asked" not in told.sums
    assert told.sums["rows"] == 1
    shorter = [max(counts) for counts in told.row_tokens.values()]
    assert all(
        short < max(counts)
        for short, counts in zip(shorter, asked.row_tokens.values(), strict=True)
    )


def test_several_images_count_each() -> None:
    one, two = Tally(), Tally()
    one.add(facts_of(example()))
    two.add(facts_of(example(images=example().images * 2)))
    assert two.sums["images"] == 2
    assert two.sums["gpt_4o_tokens"] == 2 * one.sums["gpt_4o_tokens"]


@pytest.mark.parametrize("size", [1, 2, 7, 100, 999])
def test_a_spread_is_that_of_numpy(size: int) -> None:
    values = [random.Random(size).randint(0, 50) for _ in range(size)]
    found = spread(Counter(values), (10, 20))
    assert found["mean"] == pytest.approx(np.mean(values), abs=0.005)
    assert found["median"] == np.quantile(values, 0.5, method="inverted_cdf")
    assert found["p95"] == np.quantile(values, 0.95, method="inverted_cdf")
    assert found["max"] == max(values)
    assert sum(count for _, count in found["bins"]) == size


def test_nothing_is_spread_over_nothing() -> None:
    found = spread({}, (2, 3))
    assert (found["mean"], found["median"], found["max"]) == (0.0, 0, 0)


def test_bins_end_before_their_ends() -> None:
    counts = {0: 1, 4: 1, 5: 1, 9: 1, 10: 1, 11: 1, 500: 1}
    assert bins(counts, (5, 10, 11)) == [
        ("up to 4", 2),
        ("5 to 9", 2),
        ("10", 1),
        ("11 on", 2),
    ]
    assert labels((1025, 6145)) == ["up to 1,024", "1,025 to 6,144", "6,145 on"]
