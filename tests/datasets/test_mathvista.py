"""MathVista: each trap of its loader, and the reference that the official script compares with."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from benchrows import Made, fixture_rows

from chainsight.datasets import DATASETS
from chainsight.datasets.sources import Row
from chainsight.errors import ConfigError
from chainsight.metrics import judging
from chainsight.records import Example, Quarantined

Loaded, Reason = Callable[[str], list[Example]], Callable[..., str]


def test_the_picture_is_decoded_image_and_not_the_path_in_image(loaded: Loaded) -> None:
    rows, _ = fixture_rows("mathvista")
    for row, example in zip(rows, loaded("mathvista"), strict=True):
        assert example.images[0] == row["decoded_image"]["bytes"]
        assert row["image"].encode() not in example.images[0]


def test_the_number_of_decimals_is_a_whole_number_as_text(loaded: Loaded) -> None:
    """float64 on the hub: `round(x, 1.0)` raises, and a peer scores every such answer 0."""
    _, schema = fixture_rows("mathvista")
    assert schema.field("precision").type == "double"
    params = [example.metric_params for example in loaded("mathvista")]
    assert [p.get("precision") for p in params[:3]] == ["1", "2", None]
    assert all(isinstance(value, str) for p in params for value in p.values())


def test_answers_of_type_float_can_be_right(loaded: Loaded) -> None:
    rod, bar, *_ = loaded("mathvista")
    assert judging.score(rod, "2.5") == judging.score(rod, "2.54") == 1.0
    assert judging.score(bar, "0.45") == 1.0
    assert judging.score(bar, "0.4") == judging.score(rod, "2") == 0.0


def test_null_choices_are_none_and_others_keep_text_as_the_reference(loaded: Loaded) -> None:
    examples = loaded("mathvista")
    assert [e.choices is None for e in examples] == [True] * 5 + [False] * 5
    fraction = examples[5]
    assert fraction.references == ("8/11",)
    assert judging.score(fraction, "B") == judging.score(fraction, "8/11") == 1.0
    assert judging.score(fraction, "A") == 0.0


def test_both_letters_of_a_choice_that_stands_twice_are_right(loaded: Loaded) -> None:
    angle = loaded("mathvista")[8]
    assert angle.choices == ("30°", "60°", "60°", "90°")
    assert [judging.score(angle, letter) for letter in "ABCD"] == [0.0, 1.0, 1.0, 0.0]


def test_choices_that_are_letters_name_themselves(loaded: Loaded) -> None:
    puzzle = loaded("mathvista")[7]
    assert puzzle.references == ("E",)
    assert [judging.score(puzzle, letter) for letter in "ABCDE"] == [0.0] * 4 + [1.0]


def test_a_list_is_compared_as_its_text(loaded: Loaded) -> None:
    years = loaded("mathvista")[4]
    assert years.references == ("[2007, 2008]",)
    assert judging.score(years, "[2007, 2008]") == 1.0


def test_the_unit_is_asked_for_and_the_official_prompt_is_not_read(loaded: Loaded) -> None:
    examples = loaded("mathvista")
    assert examples[0].question == "How long is the rod? (Unit: cm)"
    assert examples[2].question == "How many rods are there?"
    assert not any("Hint" in example.question for example in examples)


def test_what_reports_are_sliced_by_is_kept(loaded: Loaded) -> None:
    meta = loaded("mathvista")[9].meta
    assert (meta["source"], meta["language"]) == ("ChartQA", "chinese")
    assert meta["skills"] == "arithmetic reasoning, statistical reasoning"


@pytest.mark.parametrize(
    ("number", "cells", "expected"),
    [
        (5, {"answer": "8/12"}, "the answer is none of the choices"),
        (5, {"answer": "B"}, "the answer is none of the choices"),
        (5, {"choices": None}, "question_type and choices do not agree"),
        (5, {"choices": []}, "question_type and choices do not agree"),
        (2, {"choices": ["1", "14"]}, "question_type and choices do not agree"),
        (0, {"precision": None}, "an answer of type float without precision"),
        (0, {"precision": math.nan}, "an answer of type float without precision"),
        (0, {"answer_type": "int"}, "unknown question_type or answer_type"),
        (5, {"answer_type": "integer"}, "unknown question_type or answer_type"),
        (0, {"decoded_image": None}, "no image"),
        (0, {"answer": " "}, "no answer"),
        (0, {"question": ""}, "empty question"),
    ],
)
def test_a_row_says_what_is_wrong(
    reason: Reason, number: int, cells: dict[str, Any], expected: str
) -> None:
    assert reason("mathvista", number, **cells) == expected


def test_a_row_without_metadata_is_fine(changed: Callable[..., Made]) -> None:
    made = changed("mathvista", 0, metadata=None)
    assert isinstance(made, Example)
    assert made.meta == {}


def test_it_never_trains_and_its_hidden_answers_are_refused() -> None:
    assert not DATASETS["mathvista"].trains
    with pytest.raises(ConfigError, match="the answers of split 'test' are not public"):
        next(DATASETS["mathvista"].load("test"))


def test_a_precision_that_is_no_number_is_the_rows_fault_alone() -> None:
    rows, _ = fixture_rows("mathvista")
    made = DATASETS["mathvista"].example(Row(rows[0] | {"precision": "two"}), 0, "testmini")
    assert isinstance(made, Quarantined)
    assert made.reason == "precision is no number"


def test_the_null_of_pandas_is_no_unit_and_no_precision() -> None:
    rows, _ = fixture_rows("mathvista")
    cells = rows[2] | {"unit": math.nan, "precision": math.nan}
    made = DATASETS["mathvista"].example(Row(cells), 2, "testmini")
    assert isinstance(made, Example)
    assert made.question == rows[2]["question"]
    assert "precision" not in made.metric_params
