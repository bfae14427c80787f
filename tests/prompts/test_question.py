"""Where a question's pictures stand."""

import pytest

from chainsight.prompts import segments, short_answer
from chainsight.prompts.question import MOST_REPEATS
from chainsight.records import Example

CASES = {
    "no name": ("What is it?", 1, [0, "What is it?"]),
    "one name": ("Look at <image 1>: what is it?", 1, ["Look at ", 0, ": what is it?"]),
    "at the start": ("<image 1> What?", 1, [0, " What?"]),
    "swapped": ("<image 2> or <image 1>?", 2, [1, " or ", 0, "?"]),
    "unnamed ones lead in order": ("Which fits <image 2>?", 3, [0, 2, "Which fits ", 1, "?"]),
    "none named": ("Compare.", 3, [0, 1, 2, "Compare."]),
    "side by side": ("<image 1><image 2>", 2, [0, 1]),
    "named again": ("In <image 1>, a; so <image 1> and <image 2>?", 2,
                    ["In ", 0, ", a; so ", 0, " and ", 1, "?"]),
    "in a choice": ("Which?\nA. <image 2>\nB. <image 1>", 2,
                    ["Which?\nA. ", 1, "\nB. ", 0]),
    "no such image": ("See <image 3>.", 2, [0, 1, "See <image 3>."]),
    "no image 0": ("See <image 0> and <image 01>.", 1, [0, "See <image 0> and <image 01>."]),
    "other spellings": ("<image1> <Image 1> <image  1> <image>", 1,
                        [0, "<image1> <Image 1> <image  1> <image>"]),
    "a name in a name": ("<image <image 1>>", 1, ["<image ", 0, ">"]),
    "ten": ("<image 10>", 10, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
}  # fmt: skip


@pytest.mark.parametrize(("text", "num_images", "wanted"), CASES.values(), ids=CASES)
def test_pictures_stand_where_they_are_named(
    text: str, num_images: int, wanted: list[str | int]
) -> None:
    assert segments(text, num_images) == wanted


@pytest.mark.parametrize(("text", "num_images", "_"), CASES.values(), ids=CASES)
def test_no_text_is_lost_and_none_changes_places(text: str, num_images: int, _: object) -> None:
    found = segments(text, num_images)
    named = "".join(p if isinstance(p, str) else f"<image {p + 1}>" for p in found)
    assert named.endswith(text)
    assert set(range(num_images)) == {p for p in found if isinstance(p, int)}


def test_a_question_cannot_show_a_picture_for_ever() -> None:
    found = segments("<image 1>" * 2000 + "<image 2>", 2)
    assert found.count(0) == 1 + MOST_REPEATS
    assert found[-1] == 1
    assert "".join(map(str, found)).count("<image 1>") == 2000 - found.count(0)


def test_the_text_of_an_option_is_learned_with_its_letter_but_not_a_pictures_name() -> None:
    def answer(*choices: str) -> str:
        return short_answer(Example("x", "d", "train", "?", ("B",), "m", (b"",), choices))

    assert answer("uk", "us") == "B. us"
    assert answer("<image 1>", "<image 2>") == "B"
