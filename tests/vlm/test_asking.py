"""All modes of a question asked together: what is computed once, and that nothing else changes."""

import random

import pytest

from chainsight.records import Example
from chainsight.vlm import asking, checkpoint
from chainsight.vlm.asking import ask, ask_modes
from chainsight.vlm.grouping import merge
from chainsight.vlm.prefix import ATTENTION
from chainsight.vlm.template import student
from tests.vlm.test_sampling import Counting

LIMITS = {"direct": 4, "cot": 12}
MODES = tuple(LIMITS)


@pytest.fixture(scope="module")
def loaded(student_folder):
    return checkpoint.load(student_folder, attention=ATTENTION)


def example(number, question, *images):
    return Example(f"toy/{number}", "toy", "test", question, ("1",), "exact_match", images)


@pytest.fixture(scope="module")
def examples(png):
    """Pictures of several sizes, some of them shared, two in one question, none in another."""
    red, blue, green = png("red", (32, 32)), png("blue", (64, 20)), png("green", (16, 80))
    return [
        example(0, "How many?", red),
        example(1, "What colour is the longest of all bars?", blue),
        example(2, "What is two and two?"),
        example(3, "Who?", red),
        example(4, "Is <image 1> above <image 2>?", red, green),
        example(5, "How high is it?", green),
        example(6, "How many?", red),
        example(7, "Is <image 2> above <image 1>?", red, green),
        example(8, "Where?", red),
    ]


def said(loaded, examples, batch_size, style="paper", limits=LIMITS):
    found = ask_modes(loaded, examples, limits, style=style, batch_size=batch_size)
    return {(examples[number].id, mode): reply for number, mode, reply in found}


def alone(loaded, examples, style="paper"):
    """Each prompt by itself."""
    return {
        (one.id, mode): next(
            ask(loaded, [one], mode, style=style, max_new_tokens=limit, batch_size=1)
        )
        for one in examples
        for mode, limit in LIMITS.items()
    }


def tiles(loaded, image):
    return len(loaded.template.pictures(image, "")["pixel_values"])


@pytest.mark.parametrize("style", ["paper", "lmms_eval", "vlmevalkit"])
def test_answers_do_not_depend_on_batch_or_order(loaded, examples, style):
    """`lmms_eval` has another system prompt for each mode."""
    wanted = alone(loaded, examples, style)
    shuffled = random.Random(0).sample(examples, len(examples))
    for order, size in ((examples, 1), (examples, 3), (examples, 16), (shuffled, 16)):
        assert said(loaded, order, size, style) == wanted
    assert len(wanted) == 2 * len(examples)


@pytest.mark.parametrize("number", [1, 2, 4], ids=["picture", "text", "two pictures"])
def test_the_prompt_of_both_modes_is_computed_once(loaded, examples, number):
    one = examples[number]
    rows = [loaded.template.row(student(one, mode)) for mode in MODES]
    [group] = merge(rows, loaded.template.image_id)
    with Counting(loaded) as counted:
        said(loaded, [one], 1)
    assert counted.tiles == sum(tiles(loaded, image) for image in one.images)
    assert counted.passes[0] == len(group) < sum(map(len, rows)) / 1.5


def test_a_picture_is_computed_once_for_all_that_is_asked_about_it(loaded, examples):
    """Though other questions stand between them."""
    red = [one for one in examples if one.images == examples[0].images]
    with Counting(loaded) as counted:
        said(loaded, [red[0], examples[1], red[1], examples[5], red[3]], 16)
    pictures = (examples[0], examples[1], examples[5])
    assert counted.tiles == sum(tiles(loaded, one.images[0]) for one in pictures)


def test_modes_with_their_own_system_prompts_share_a_picture_each_for_itself(loaded, examples):
    red = [one for one in examples if one.images == examples[0].images][:3]
    with Counting(loaded) as counted:
        said(loaded, red, 16, "lmms_eval")
    assert counted.tiles == 2 * tiles(loaded, red[0].images[0])


def test_a_pictures_questions_take_no_more_places_than_there_are(loaded, png):
    """Three questions at a time in both modes, and one more."""
    many = [example(n, f"What is {n}?", png("red", (32, 32))) for n in range(12)]
    with Counting(loaded) as counted:
        said(loaded, many, 4)
    assert max(rows for rows in counted.passes if rows < 20) <= 2 * 4


def test_equal_prompts_are_answered_once(loaded, examples):
    first, again = examples[0], examples[6]
    alike = [first, again, *[example(n, "How many?", *first.images) for n in range(10, 14)]]
    with Counting(loaded) as once:
        said(loaded, [first], 16)
    with Counting(loaded) as counted:
        found = said(loaded, alike, 16)
    assert (counted.passes, counted.tiles) == (once.passes, once.tiles)
    assert len({found[one.id, "cot"].text for one in alike}) == 1
    assert len(found) == 2 * len(alike)


def test_equal_words_about_another_picture_are_another_question(loaded, png):
    pair = [
        example(n, "How many?", png(colour, (32, 32))) for n, colour in enumerate(("red", "blue"))
    ]
    with Counting(loaded) as counted:
        found = said(loaded, pair, 16)
    assert counted.tiles == 2 * tiles(loaded, pair[0].images[0])
    assert found == alone(loaded, pair)


def test_questions_of_a_picture_begin_together_wherever_they_stand(loaded, examples, png):
    between = [example(30 + n, f"What is {n}?", png((n, 9, 9), (32, 32))) for n in range(20)]
    asked = [examples[0], *between, examples[3]]
    with Counting(loaded) as counted:
        said(loaded, asked, 8)
    assert counted.tiles == (len(between) + 1) * tiles(loaded, examples[0].images[0])


def test_equal_prompts_far_apart_are_answered_all_the_same(loaded, examples, monkeypatch):
    monkeypatch.setattr(asking, "WINDOW", 2)
    again = [*examples, *(example(20 + n, one.question, *one.images)
                          for n, one in enumerate(examples))]  # fmt: skip
    found = said(loaded, again, 4)
    for n, one in enumerate(examples):
        assert found[f"toy/{20 + n}", "cot"] == found[one.id, "cot"]


def test_each_mode_has_its_own_limit(loaded, examples):
    found = said(loaded, examples, 16, limits={"direct": 3, "cot": 9})
    most = {mode: max(r.num_tokens for (_, m), r in found.items() if m == mode) for mode in MODES}
    assert most == {"direct": 3, "cot": 9}


def test_nothing_is_computed_for_padding_and_little_for_answers_that_have_ended(loaded, examples):
    with Counting(loaded) as counted:
        found = said(loaded, examples, 4)
    prompts = [loaded.template.row(student(one, mode)) for one in examples for mode in MODES]
    apart = sum(len(row.prompt_ids) for row in prompts)
    written = sum(reply.num_tokens for reply in found.values())
    assert sum(counted.passes) < 0.6 * apart + written
