"""How many tokens a question takes: images to the token, text and answer predicted and learned.

Image tokens follow the model's published rule for the image as it is sent, read from its header.
What tokenizers do with text and how long the teacher writes is estimated at first; a `Sizer`
corrects both by the answers that came.
"""

import io
import math
from dataclasses import dataclass

from PIL import Image

from chainsight.config import DistillSection, Price
from chainsight.inventory import pricelist, prices
from chainsight.inventory.tally import RATIONALE_WORDS
from chainsight.inventory.tokens import CHARACTERS_PER_TOKEN, TOKENS_PER_WORD, gpt_4o
from chainsight.prompts import segments, teacher_prompt, teacher_system
from chainsight.records import Example
from chainsight.teacher import images
from chainsight.teacher.reply import Reply

CHAT_TOKENS = 11
"""What two turns take beside their text: 3 and the role each, and 3 to begin the answer (OpenAI's
cookbook, "How to count tokens with tiktoken")."""
ANSWER_TOKENS = round(RATIONALE_WORDS * TOKENS_PER_WORD)
TEXT_DOUBT, ANSWER_DOUBT = 0.25, 0.5
"""Before answers came, text may take so much less or more, answers be so much shorter or longer: a
share (ours)."""
IMAGE_DOUBT = 2.0
"""Before answers came, images of unknown models may take so many times less or more (ours)."""
TRUSTED_ANSWERS = 10
"""Answers after which the predictions go by what came, not by the defaults (ours)."""
LEAST_DOUBT = 0.02
"""Of a prediction by answers: later questions may differ from the first ones (ours)."""
MARGIN = 1.1
"""Above the largest ratio that was seen, for what may still come (ours)."""
MOST_TOKENS_PER_GUESSED = 2.0
"""Of text, or of images of unknown models, before answers came: two characters a token (ours)."""


@dataclass(frozen=True)
class Size:
    """What a question takes, in tokens."""

    image_tokens: int
    text_tokens: int
    completion_tokens: int
    """Of all its rationales (`distill.samples`)."""

    @property
    def prompt_tokens(self) -> int:
        return self.image_tokens + self.text_tokens

    @property
    def tokens(self) -> int:
        """In and out: what the limit per minute counts."""
        return self.prompt_tokens + self.completion_tokens

    def cost_usd(self, price: Price, *, batch: bool = False) -> float:
        """What it is billed; a batch's is cheaper."""
        return prices.cost_usd(self.prompt_tokens, self.completion_tokens, price, batch=batch)


@dataclass(frozen=True)
class Span:
    """A number that is not known: what it likely is, and between which bounds it should be."""

    low: float
    likely: float
    high: float

    def __add__(self, other: "Span") -> "Span":
        return Span(self.low + other.low, self.likely + other.likely, self.high + other.high)

    def __mul__(self, factor: float) -> "Span":
        return Span(self.low * factor, self.likely * factor, self.high * factor)


def around(likely: float, doubt: float) -> Span:
    """A span so far below and above, as a share."""
    return Span(likely * (1 - doubt), likely, likely * (1 + doubt))


def size(config: DistillSection, example: Example) -> Size:
    """What `example` takes by the rules and defaults alone; a `Sizer` makes it better.

    Images of a model without a known rule count as GPT-4o's.

    Raises:
        RecordError: an image is none.
    """
    rule = pricelist.image_rule(config) or gpt_4o
    sent = [_sent_size(image, config) for image in example.images]
    return Size(
        image_tokens=sum(rule(*one) for one in sent),
        text_tokens=CHAT_TOKENS + _characters(example) // CHARACTERS_PER_TOKEN,
        completion_tokens=min(ANSWER_TOKENS, config.max_tokens) * config.samples,
    )


def _sent_size(image: bytes, config: DistillSection) -> tuple[int, int]:
    planned = images.planned(image, config)
    if planned.size:
        return planned.size
    with Image.open(io.BytesIO(image)) as opened:
        return opened.size


def _characters(example: Example) -> int:
    parts = segments(teacher_prompt(example), len(example.images))
    written = sum(len(part) for part in parts if isinstance(part, str))
    return len(teacher_system(example)) + written


class Sizer:
    """Predictions that get right by the answers that came: those of the ledger, then new ones.

    Two things are learned: the ratio of true to predicted tokens of what is only estimated (text;
    for a model of unknown image tokens also those), and how long answers are.
    """

    def __init__(self, config: DistillSection) -> None:
        self._config = config
        self.knows_images = pricelist.image_rule(config) is not None
        self._ratio, self._answer = _Mean(), _Mean()
        self._largest = 0.0

    def learn(self, asked: Size, reply: Reply) -> None:
        """Count the answer to a question of the plain `size`; one without token counts is none."""
        if not reply.prompt_tokens:
            return
        known = asked.image_tokens if self.knows_images else 0
        guessed, true = asked.prompt_tokens - known, max(0, reply.prompt_tokens - known)
        self._ratio.add(true, guessed)
        self._largest = max(self._largest, true / guessed)
        self._answer.add(reply.completion_tokens)

    @property
    def num_answers(self) -> int:
        """Answers that were learned from."""
        return self._answer.count

    @property
    def trusted(self) -> bool:
        """Whether enough answers came to go by them."""
        return self.num_answers >= TRUSTED_ANSWERS

    def text(self) -> Span:
        """True to predicted tokens of text."""
        return self._ratio.span() if self.trusted else around(1.0, TEXT_DOUBT)

    def images(self) -> Span:
        """True to predicted tokens of images."""
        if self.knows_images:
            return Span(1.0, 1.0, 1.0)
        return self._ratio.span() if self.trusted else Span(1 / IMAGE_DOUBT, 1.0, IMAGE_DOUBT)

    def answer(self) -> Span:
        """Tokens of an answer."""
        if self.trusted:
            return self._answer.span()
        return around(min(ANSWER_TOKENS, self._config.max_tokens), ANSWER_DOUBT) * (
            self._config.samples
        )

    def expected(self, asked: Size) -> Size:
        """What a question of the plain `size` will take, as far as is known: the mean."""
        return Size(
            round(asked.image_tokens * self.images().likely),
            round(asked.text_tokens * self.text().likely),
            round(self.answer().likely),
        )

    def most(self, asked: Size) -> Size:
        """What it takes at most: answers as long as allowed, text as dense as any that came."""
        ratio = self._largest * MARGIN if self.trusted else MOST_TOKENS_PER_GUESSED
        return Size(
            round(asked.image_tokens * (1.0 if self.knows_images else ratio)),
            round(asked.text_tokens * ratio),
            self._config.max_tokens * self._config.samples,
        )


class _Mean:
    """A running mean of values by weights, and how well it is known."""

    def __init__(self) -> None:
        self.count = 0
        self._weights = self._values = 0.0
        self._squares, self._mixed, self._weights_squared = 0.0, 0.0, 0.0

    def add(self, value: float, weight: float = 1.0) -> None:
        self.count += 1
        self._values += value
        self._weights += weight
        self._squares += value**2
        self._mixed += value * weight
        self._weights_squared += weight**2

    def span(self) -> Span:
        """The mean, two standard errors and `LEAST_DOUBT` less and more."""
        mean = self._values / self._weights
        off = self._squares - 2 * mean * self._mixed + mean**2 * self._weights_squared
        error = math.sqrt(max(0.0, off)) / self._weights
        return Span(*(max(0.0, mean + s * (2 * error + LEAST_DOUBT * mean)) for s in (-1, 0, 1)))
