"""What both sides are given: questions with a picture and answers, as ours and as TRL take them."""

import io
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from benchmarks.llava import WORDS
from chainsight.vlm.checkpoint import Loaded
from chainsight.vlm.template import Prompt, Row


@dataclass(frozen=True)
class Question:
    """A prompt and as many answers as a case wants of it."""

    text: str
    image: bytes | None
    answers: tuple[str, ...]
    instructions: tuple[str, ...] = ()
    """What ends the prompt for each answer; none: nothing."""

    @property
    def images(self) -> tuple[bytes, ...]:
        """The picture, if it has one."""
        return () if self.image is None else (self.image,)

    @property
    def asked(self) -> tuple[str, ...]:
        """The prompt of each answer."""
        ends = self.instructions or ("",) * len(self.answers)
        return tuple(self.text + end for end in ends)


def question(
    number: int,
    lengths: Sequence[int],
    *,
    prompt_words: int = 12,
    with_image: bool = True,
    size: tuple[int, int] = (600, 600),
) -> Question:
    """A question of `prompt_words` words and an answer for each of `lengths`.

    A length counts tokens with the end of turn: one less are words.
    """
    rng = random.Random(number)
    answers = tuple(_words(rng, length - 1) for length in lengths)
    return Question(_words(rng, prompt_words), picture(rng, size) if with_image else None, answers)


def lengths(response: int, count: int) -> list[int]:
    """Ragged lengths about `response`: a tenth shorter and longer by turns, ever less."""
    return [response + (-1) ** i * response // (10 + i) for i in range(count)]


def picture(rng: random.Random, size: tuple[int, int]) -> bytes:
    """Soft shapes under a grain, as PNG."""
    shapes = Image.frombytes("RGB", (12, 12), rng.randbytes(432)).resize(size)
    shapes.paste(Image.frombytes("RGB", (100, 100), rng.randbytes(30_000)), (10, 10))
    file = io.BytesIO()
    shapes.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _words(rng: random.Random, count: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(count))


# --- as ours takes them ----------------------------------------------------------------------


def rows(loaded: Loaded, asked: Question, key: str = "q") -> list[Row]:
    """One row an answer, each ended by the end of turn; equal prompts are read once."""
    end = loaded.template.end_of_turn
    prompts = {
        text: loaded.template.row(Prompt(key, text, asked.images))
        for text in dict.fromkeys(asked.asked)
    }
    return [
        replace(prompts[text], response_ids=(*loaded.template.text_ids(answer), end))
        for text, answer in zip(asked.asked, asked.answers, strict=True)
    ]


# --- as TRL takes them -----------------------------------------------------------------------


def pairs(asked: Question) -> list[dict[str, Any]]:
    """TRL's preference examples: answers 0 and 1, 2 and 3, ..."""
    return [
        {
            "images": _opened(asked),
            "prompt": [{"role": "user", "content": asked.text}],
            "chosen": [{"role": "assistant", "content": chosen}],
            "rejected": [{"role": "assistant", "content": rejected}],
        }
        for chosen, rejected in zip(asked.answers[::2], asked.answers[1::2], strict=True)
    ]


def targets(asked: Question) -> list[dict[str, Any]]:
    """TRL's prompt and completion examples, one an answer."""
    return [
        {
            "images": _opened(asked),
            "prompt": [{"role": "user", "content": text}],
            "completion": [{"role": "assistant", "content": answer}],
        }
        for text, answer in zip(asked.asked, asked.answers, strict=True)
    ]


def _opened(asked: Question) -> list[Image.Image]:
    """As `datasets` gives them: decoded from the file for each example."""
    return [Image.open(io.BytesIO(image)).convert("RGB") for image in asked.images]
