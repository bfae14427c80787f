"""What is kept of a row, and of what type its answer is."""

import pytest
from inventories import example, facts_of, picture

from chainsight.inventory.answers import answer_type
from chainsight.inventory.facts import MAX_ANSWER


def test_the_facts_of_a_row() -> None:
    row = example(
        choices=("one", "two"), images=(picture(30, 20), picture(8, 9)), references=("x" * 99, "y")
    )
    found = facts_of(row, 40, 30)
    assert found.sizes == ((40, 30), (40, 30))
    assert found.image_bytes == sum(map(len, row.images))
    assert found.question_words == 6
    assert found.prompt_characters == len(row.question) + len("\nA. one\nB. two")
    assert found.answer == "x" * MAX_ANSWER
    assert (found.answer_words, found.num_references, found.num_choices) == (1, 2, 2)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Yes", "yes or no"),
        ("2019", "year"),
        ("15702", "integer"),
        ("-1,234", "integer"),
        ("3.14", "decimal"),
        (".5", "decimal"),
        ("12.5%", "percent"),
        ("\\frac{1}{2}", "expression"),
        ("3:4", "expression"),
        ("[42.97, 54.91]", "list"),
        ("red, green", "list"),
        ("Ford", "single word"),
        ("A", "single word"),
        ("light blue", "phrase"),
        ("It is a cat.", "sentence"),
        ("the man who holds the sign is red", "sentence"),
        ("1234567", "integer"),
        ("", "single word"),
    ],
)
def test_the_type_of_an_answer(answer: str, expected: str) -> None:
    assert answer_type(answer, len(answer.split()), 0) == expected


def test_a_letter_is_one_where_there_are_choices() -> None:
    assert answer_type("A", 1, 4) == "letter"
    assert answer_type("7", 1, 4) == "integer"
