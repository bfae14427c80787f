"""Pieces: an answer's text, token by token."""

import random

import pytest

from chainsight.vlm import checkpoint
from chainsight.vlm.pieces import pieces


@pytest.fixture(scope="module")
def student(student_folder):
    return checkpoint.load(student_folder)


def test_together_the_pieces_are_the_text_whatever_the_tokens(student):
    ends, size = student.end_ids, len(student.template.tokenizer)
    chosen = random.Random(0)
    for _ in range(50):
        tokens = [chosen.randrange(size) for _ in range(chosen.randrange(12))]
        said = [token for token in tokens if token not in ends]
        text = student.template.tokenizer.decode(said, skip_special_tokens=True)
        found = pieces(student, tokens)
        assert len(found) == len(tokens)
        assert "".join(found) == text


def test_an_end_of_turn_adds_nothing(student):
    tokens = (*student.template.text_ids("so 14"), student.end_ids[0])
    found = pieces(student, tokens)
    assert (found[-1], "".join(found)) == ("", "so 14")


def test_a_character_of_several_tokens_belongs_to_its_last_one(student):
    tokens = student.template.text_ids("5 € is")
    found = pieces(student, tokens)
    assert "".join(found) == "5 € is"
    assert "\ufffd" not in "".join(found)
    assert sum("€" in piece for piece in found) == 1
