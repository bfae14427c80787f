"""MMStar: options that stand in the text become choices where there is no doubt, and only there."""

from collections.abc import Callable
from typing import Any

import pytest
from benchrows import Made, fixture_rows

from chainsight.datasets import DATASETS
from chainsight.datasets.mmstar import split_options
from chainsight.metrics import judging
from chainsight.records import Example

Loaded, Reason = Callable[[str], list[Example]], Callable[..., str]

QUESTION = "What is it?"


@pytest.mark.parametrize(
    ("listed", "options"),
    [
        ("\nOptions: A: a cat, B: a dog", ("a cat", "a dog")),
        ("\nOptions:\nA: a cat,\nB: a dog", ("a cat", "a dog")),
        ("\nOptions: A: Rome, Italy, B: Ulm, C: Mainz, B.", ("Rome, Italy", "Ulm", "Mainz, B.")),
        ("\nOptions: A: Washington, D.C., B: Paris", ("Washington, D.C.", "Paris")),
        ("\nOptions: A: It is on the book., B: No.", ("It is on the book.", "No.")),
        ("\nOptions: A: 2:1, B: 1:2", ("2:1", "1:2")),
        ("\nOptions: A: E: x, B: y", ("E: x", "y")),
        ("\nChoices:\n(A) 30°\n(B) 60, or 70\n(C) 90°", ("30°", "60, or 70", "90°")),
        ("\n(A) a cell\n(B) a leaf (B)", ("a cell", "a leaf (B)")),
    ],
)  # fmt: skip
def test_options_are_taken_out_with_the_commas_inside_them(
    listed: str, options: tuple[str, ...]
) -> None:
    assert split_options(QUESTION + listed) == (QUESTION, options)


@pytest.mark.parametrize(
    "listed",
    [
        "",
        "\nOptions: A: one alone",
        "\nOptions: A: a, C: c",
        "\nOptions: A: a, B: b, B: b again",
        "\nOptions: A: a, B: b, D: d",
        "\nOptions: A: a, B: , C: c",
        "\nOptions: B: b, A: a",
        "\nOptions: cat or dog",
        "\nOptions: A: a, B: b\nOptions: A: c, B: d",
        "\n(A) a\n(C) c",
        "\n(A) a (B) b",
    ],
)
def test_text_that_leaves_a_doubt_stays_as_it_is(listed: str) -> None:
    assert split_options(QUESTION + listed) == (QUESTION + listed, ())


def test_options_without_a_question_are_no_question() -> None:
    assert split_options("\nOptions: A: a, B: b")[1] == ()


def test_mathvistas_hint_goes_as_it_would_contradict_the_prompt(loaded: Loaded) -> None:
    (row,) = [r for r in fixture_rows("mmstar")[0] if r["index"] == 3]
    assert row["question"].startswith("Hint: Please answer the question and provide")
    example = loaded("mmstar")[3]
    assert (example.question, example.choices) == ("Is it higher?", ("Yes", "No"))
    assert judging.score(example, "B") == 1.0


def test_a_hint_stays_where_the_options_do() -> None:
    whole = "Hint: Give the letter.\nQuestion: What?\nChoices:\n(A) a\n(C) c"
    assert split_options(whole) == (whole, ())


def test_unparsed_options_are_scored_by_the_very_letter(loaded: Loaded) -> None:
    example = loaded("mmstar")[9]
    assert (example.choices, example.metric) == (None, "exact_match")
    assert example.meta["options"] == "in text"
    assert "A: a mix of A: and, B: twice" in example.question
    assert [judging.score(example, text) for text in ("C", "c", "A", "C: c")] == [1, 0, 0, 0]


def test_a_comma_in_an_option_moves_no_letter(loaded: Loaded) -> None:
    place = loaded("mmstar")[1]
    assert place.choices == ("Paris, France", "Washington, D.C.", "Bonn", "Ulm, Germany")
    assert judging.score(place, "Washington, D.C.") == judging.score(place, "B") == 1.0


def test_categories_are_kept_for_those_who_average_over_them(loaded: Loaded) -> None:
    meta = loaded("mmstar")[0].meta
    assert (meta["category"], meta["l2_category"]) == ("coarse perception", "image scene and topic")
    assert meta["source"] == "MMBench"


def test_the_picture_is_the_bytes_of_the_cell_and_its_file_has_no_shard_number(
    loaded: Loaded,
) -> None:
    rows, schema = fixture_rows("mmstar")
    assert schema.field("image").type == "binary"
    assert [e.images[0] for e in loaded("mmstar")] == [row["image"] for row in rows]
    assert DATASETS["mmstar"].patterns("val")[0] == "mmstar.parquet"


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ({"answer": "E"}, "the answer is no letter of an option"),
        ({"answer": "a"}, "the answer is no letter of an option"),
        ({"answer": None}, "no answer"),
        ({"index": None}, "no id"),
        ({"image": None}, "no image"),
        ({"question": "<image 2>?\n(A) a\n(B) b"}, "a placeholder stands for no image"),
    ],
)
def test_a_row_says_what_is_wrong(reason: Reason, cells: dict[str, Any], expected: str) -> None:
    assert reason("mmstar", 0, **cells) == expected


def test_a_row_without_meta_info_is_fine(changed: Callable[..., Made]) -> None:
    made = changed("mmstar", 0, meta_info=None)
    assert isinstance(made, Example)
    assert "source" not in made.meta
