"""How many tokens a question takes: images to the token, text and answer predicted and learned.

Image tokens follow the model's published rule for the image as it is sent, read from its header.
What tokenizers do with text and how long the teacher writes is estimated at first; a `Sizer`
corrects both by the answers that came.
"""

import io
from collections import Counter
from dataclasses import dataclass, replace

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
TRUSTED_ANSWERS = 20
"""Answers after which the predictions go by what came, not by the defaults (ours)."""
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
        whole = prices.cost_usd(self.prompt_tokens, self.completion_tokens, price)
        return whole * price.batch if batch else whole


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

    One ratio is learned, of the true to the predicted tokens of what is only estimated (text; for
    a model of unknown image tokens also those), and how long answers are.
    """

    def __init__(self, config: DistillSection) -> None:
        self._config = config
        self._knows_images = pricelist.image_rule(config) is not None
        self._guessed = self._true = 0
        self._largest = 0.0
        self._answers: Counter[int] = Counter()
        self.num_answers = 0
        """Answers that were learned from."""

    def learn(self, asked: Size, reply: Reply) -> None:
        """Count the answer to a question of the plain `size`; one without token counts is none."""
        if not reply.prompt_tokens:
            return
        known = asked.image_tokens if self._knows_images else 0
        guessed, true = asked.prompt_tokens - known, max(0, reply.prompt_tokens - known)
        self._guessed += guessed
        self._true += true
        self._largest = max(self._largest, true / guessed)
        self._answers[reply.completion_tokens] += 1
        self.num_answers += 1

    @property
    def trusted(self) -> bool:
        """Whether enough answers came to go by them."""
        return self.num_answers >= TRUSTED_ANSWERS

    @property
    def ratio(self) -> float:
        """True to predicted tokens of what is only estimated."""
        return self._true / self._guessed if self.trusted else 1.0

    def expected(self, asked: Size) -> Size:
        """What a question of the plain `size` will take, as far as is known: the mean."""
        answer = asked.completion_tokens
        if self.trusted:
            total = sum(tokens * count for tokens, count in self._answers.items())
            answer = round(total / self.num_answers)
        return replace(self._scaled(asked, self.ratio), completion_tokens=answer)

    def most(self, asked: Size) -> Size:
        """What it takes at most: answers as long as allowed, text as dense as any that came."""
        ratio = self._largest * MARGIN if self.trusted else MOST_TOKENS_PER_GUESSED
        answer = self._config.max_tokens * self._config.samples
        return replace(self._scaled(asked, ratio), completion_tokens=answer)

    def answer_tokens(self, share: float) -> int:
        """So many tokens or fewer have this share of the answers that came; 0 if none came."""
        left = share * self.num_answers
        for tokens, count in sorted(self._answers.items()):
            left -= count
            if left <= 0:
                return tokens
        return 0

    def _scaled(self, asked: Size, ratio: float) -> Size:
        images = asked.image_tokens if self._knows_images else round(asked.image_tokens * ratio)
        return replace(asked, image_tokens=images, text_tokens=round(asked.text_tokens * ratio))
