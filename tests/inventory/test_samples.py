"""Rows to look at: small pictures, and a choice that no order changes."""

import base64
import io
import random

import pytest
from inventories import example, picture
from PIL import Image

from chainsight.inventory.samples import MAX_CHARACTERS, MAX_SIDE, Choice, sample, thumbnail


def opened(uri: str) -> Image.Image:
    head, _, content = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_thumbnail_is_small_and_keeps_its_shape(form: str) -> None:
    found = opened(thumbnail(picture(1600, 400, form)))
    assert found.size == (MAX_SIDE, MAX_SIDE // 4)
    assert found.mode == "RGB"


def test_a_small_picture_stays_as_large_as_it_is() -> None:
    assert opened(thumbnail(picture(30, 20))).size == (30, 20)


def test_a_transparent_picture_is_shown_on_paper() -> None:
    shown = opened(thumbnail(picture(colour=(0, 0, 0, 0))))
    assert shown.getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize("content", [b"", b"no picture", picture(form="JPEG")[:300]])
def test_what_cannot_be_read_has_no_thumbnail(content: bytes) -> None:
    assert thumbnail(content) == ""


def test_a_sample_is_cut_to_what_a_page_can_show() -> None:
    found = sample(example(question="q" * 5000, references=("a" * 5000,)))
    assert len(found.question) == len(found.answer) == MAX_CHARACTERS
    assert found.question.endswith("…")


def test_the_choice_is_the_same_in_any_order() -> None:
    rows = [sample(example(number)) for number in range(60)]
    chosen = set()
    for seed in range(4):
        choice = Choice(4)
        for one in random.Random(seed).sample(rows, len(rows)):
            if choice.wants(one.id):
                choice.add(one.id, one)
        chosen.add(tuple(one.id for one in choice.samples))
    assert len(chosen) == 1
    assert len(chosen.pop()) == 4


def test_few_of_many_rows_are_ever_wanted() -> None:
    """So that few pictures are made: about most * (1 + ln(rows / most))."""
    choice, asked = Choice(4), 0
    for number in range(20_000):
        if choice.wants(str(number)):
            asked += 1
            choice.add(str(number), sample(example(number, images=(b"",))))
    assert 4 < asked < 80


def test_a_row_is_chosen_once() -> None:
    choice = Choice(4)
    choice.add("a", sample(example()))
    assert not choice.wants("a")
