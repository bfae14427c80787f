"""What a question takes: images by the rule, text and answers learned."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from chainsight.config import DistillSection, Price
from chainsight.errors import RecordError
from chainsight.prompts import teacher_prompt, teacher_system
from chainsight.records import Example
from chainsight.teacher.reply import Reply
from chainsight.teacher.sizing import CHAT_TOKENS, Size, Sizer, size

CONFIG = DistillSection()
GUESS = Size(255, 200, 140)


def example(*images: bytes) -> Example:
    return Example("a/train/0", "a", "train", "How many?", ("3",), "exact_match", images)


def reply(prompt_tokens: int, completion_tokens: int = 50) -> Reply:
    return Reply("It is so.", "stop", "", prompt_tokens, completion_tokens)


def taught(config: DistillSection, *answers: tuple[int, int], times: int = 1) -> Sizer:
    sizer = Sizer(config)
    for answer in answers * times:
        sizer.learn(GUESS, reply(*answer))
    return sizer


# --- by rule and header ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "height", "num_tokens"),
    [(64, 64, 255), (1024, 1024, 765), (4096, 4096, 765), (2048, 1024, 425), (600, 500, 425)],
)
def test_an_image_counts_as_it_is_sent(
    picture: Callable[..., bytes], width: int, height: int, num_tokens: int
) -> None:
    """2048 x 1024 goes out as 1024 x 512, which is two tiles; unshrunk it would be six."""
    assert size(CONFIG, example(picture(width, height))).image_tokens == num_tokens


def test_images_add_up_and_none_is_nothing(picture: Callable[..., bytes]) -> None:
    one = picture(64, 64)
    assert size(CONFIG, example(one, picture(1024, 1024))).image_tokens == 255 + 765
    assert size(CONFIG, example()).image_tokens == 0


def test_the_header_is_enough(picture: Callable[..., bytes]) -> None:
    cut = picture(900, 700)[:60]
    assert size(CONFIG, example(cut)).image_tokens == 765
    with pytest.raises(RecordError, match="cannot be read"):
        size(CONFIG, example(b"no image"))


def test_text_is_a_quarter_of_its_characters_and_samples_multiply_answers() -> None:
    asked = example()
    characters = len(teacher_prompt(asked)) + len(teacher_system(asked))
    config = DistillSection(samples=3, temperature=1.0)
    assert size(config, asked) == Size(0, CHAT_TOKENS + characters // 4, 3 * 140)
    assert size(DistillSection(max_tokens=100), asked).completion_tokens == 100


def test_a_size_costs_its_tokens_and_half_in_a_batch() -> None:
    price = Price(prompt=5.0, completion=15.0)
    cost = (455 * 5 + 140 * 15) / 1e6
    assert GUESS.cost_usd(price) == pytest.approx(cost)
    assert GUESS.cost_usd(price, batch=True) == pytest.approx(cost / 2)
    assert (GUESS.prompt_tokens, GUESS.tokens) == (455, 595)


# --- by the answers that came ----------------------------------------------------------------


def test_a_few_answers_change_nothing_but_ten_do() -> None:
    answer = (255 + 300, 80)  # text takes 1.5 times what was guessed
    assert taught(CONFIG, answer, times=9).expected(GUESS) == GUESS
    assert taught(CONFIG, answer, times=10).expected(GUESS) == Size(255, 300, 80)


def test_known_image_tokens_are_never_unlearned() -> None:
    sizer = taught(CONFIG, (255 + 100, 80), times=10)
    assert sizer.expected(Size(1000, 200, 140)) == Size(1000, 100, 80)


def test_unknown_image_tokens_are_learned_with_the_text() -> None:
    config = DistillSection(teacher="http://here/v1", teacher_model="mine")
    assert Sizer(config).images().high == 2.0
    sizer = taught(config, (910, 80), times=10)  # twice the guess of 455
    assert sizer.expected(Size(1000, 200, 140)) == Size(2000, 400, 80)


def test_an_answer_without_token_counts_teaches_nothing() -> None:
    assert taught(CONFIG, (0, 0), times=20).num_answers == 0


def test_the_most_is_the_longest_answer_allowed_and_the_densest_text_seen() -> None:
    assert Sizer(CONFIG).most(GUESS) == Size(255, 400, 1024)
    sizer = taught(CONFIG, (255 + 300, 80), (255 + 100, 80), times=5)
    assert sizer.most(GUESS) == Size(255, 330, 1024)  # 1.5 times 200, and a tenth
    several = DistillSection(samples=4, temperature=1.0)
    assert Sizer(several).most(GUESS).completion_tokens == 4096


def test_the_range_holds_the_mean_by_two_standard_errors_and_narrows() -> None:
    few, many = (taught(CONFIG, (455, 50), (455, 150), times=n).answer() for n in (5, 500))
    error = math.sqrt(2500 * 10) / 10  # of ten answers, 50 off each
    assert few.likely == many.likely == 100.0
    assert few.high - few.likely == pytest.approx(2 * error + 2.0)
    assert many.high - many.likely == pytest.approx(2 * error / 10 + 2.0)
    assert Sizer(CONFIG).answer().low == 70.0


def test_predictions_are_right_after_a_few_dozen_answers(charts: list[Any]) -> None:
    """A tokenizer of 1.3 tokens a word, of which the prediction knows nothing."""

    def true(asked: Example) -> int:
        return 255 + round(1.3 * len(teacher_prompt(asked).split()))

    sizer = Sizer(CONFIG)
    for asked in charts[:24]:
        sizer.learn(size(CONFIG, asked), reply(true(asked)))
    rest = charts[24:]
    predicted = sum(sizer.expected(size(CONFIG, asked)).prompt_tokens for asked in rest)
    assert predicted == pytest.approx(sum(map(true, rest)), rel=0.02)
