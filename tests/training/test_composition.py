"""The paper's four compositions: which examples give which rows."""

import itertools
from collections import Counter
from dataclasses import replace

import pytest

from chainsight.config import SftSection
from chainsight.records import Example
from chainsight.training.composition import Composition, compose

ONE = Example("", "", "train", "?", ("1",), "exact_match", (b"",))
EXAMPLES = [
    replace(ONE, id=f"{dataset}/train/{i}", dataset=dataset)
    for dataset, count in (("a", 200), ("b", 40))
    for i in range(count)
]
REQUESTS = [replace(ONE, id=f"llava/{i}", dataset="llava", kind="instruct") for i in range(5)]
EXPLAINED = {e.id for i, e in enumerate(EXAMPLES) if i % 4}
"""Three of four: 150 of a, 30 of b."""


def composed(seed: int = 0, **settings: object) -> Composition:
    return compose([*EXAMPLES, *REQUESTS], EXPLAINED, SftSection.model_validate(settings), seed)


def counts(made: Composition) -> dict[str, tuple[int, int]]:
    """Direct and reasoned rows of each dataset."""
    direct, cot = (Counter(i.partition("/")[0] for i in ids) for ids in (made.direct, made.cot))
    return {dataset: (direct[dataset], cot[dataset]) for dataset in ("a", "b")}


@pytest.mark.parametrize(
    ("composition", "wanted"),
    [
        ("format", {"a": (50, 50), "b": (40, 30)}),
        ("direct", {"a": (200, 50), "b": (40, 30)}),
        ("reasoned", {"a": (50, 150), "b": (40, 30)}),
        ("both", {"a": (200, 150), "b": (40, 30)}),
    ],
)
def test_the_four_compositions(composition: str, wanted: dict[str, tuple[int, int]]) -> None:
    assert counts(composed(composition=composition)) == wanted


def test_requests_are_in_all_of_them_and_only_as_they_stand() -> None:
    for composition in ("format", "direct", "reasoned", "both"):
        made = composed(composition=composition, format_rows=0)
        assert {made.modes(request) for request in REQUESTS} == {("direct",)}
        assert not {request.id for request in REQUESTS} & (made.direct | made.cot)


def test_the_format_set_shows_both_modes_of_the_same_examples() -> None:
    made = composed(composition="format", format_rows=20)
    assert made.direct == made.cot
    assert made.direct <= EXPLAINED
    assert counts(made) == {"a": (20, 20), "b": (20, 20)}


def test_ratios_are_shares_of_each_dataset() -> None:
    half = {"composition": "both", "format_rows": 0, "direct_ratio": 0.5, "reasoned_ratio": 0.1}
    assert counts(composed(**half)) == {"a": (100, 15), "b": (20, 3)}
    none = {"composition": "both", "format_rows": 0, "direct_ratio": 0, "reasoned_ratio": 0}
    assert counts(composed(**none)) == {"a": (0, 0), "b": (0, 0)}


@pytest.mark.parametrize("format_rows", [0, 10])
def test_smaller_shares_are_part_of_larger_ones(format_rows: int) -> None:
    made = [
        composed(direct_ratio=r, reasoned_ratio=r, format_rows=format_rows)
        for r in (0.0, 0.1, 0.3, 0.31, 0.9, 1.0)
    ]
    for small, large in itertools.pairwise(made):
        assert small.direct <= large.direct
        assert small.cot <= large.cot
    sizes = [len(one.direct) for one in made]
    assert sizes == sorted(set(sizes))


def test_the_draw_is_the_seeds_and_spread_over_the_dataset() -> None:
    first, second = (composed(seed, direct_ratio=0.5, format_rows=0) for seed in (0, 1))
    assert first.direct == composed(0, direct_ratio=0.5, format_rows=0).direct != second.direct
    early = sum(int(i.rpartition("/")[2]) < 100 for i in first.direct if i.startswith("a/"))
    assert 30 < early < 70  # of 100


def test_other_examples_do_not_change_the_order_of_the_draw() -> None:
    config = SftSection(direct_ratio=0.5, format_rows=0)
    alone = compose(EXAMPLES[200:], EXPLAINED, config, 0).direct
    assert alone == {i for i in composed(direct_ratio=0.5, format_rows=0).direct if i[0] == "b"}
