"""What the inventory keeps of one row, so that nobody needs its image again."""

from collections.abc import Sequence
from dataclasses import dataclass

from chainsight import prompts
from chainsight.hygiene.picture import Picture
from chainsight.records import Example

MAX_ANSWER = 40
"""Characters that are kept of an answer: enough to tell of what type it is."""


@dataclass(frozen=True)
class Facts:
    """The countable side of an example. Small: 200,000 of them are held in memory."""

    dataset: str
    split: str
    kind: str
    sizes: tuple[tuple[int, int], ...]
    """Width and height of each image, pixels."""
    image_bytes: int
    question_words: int
    prompt_characters: int
    """Question and choices."""
    answer: str
    """The first reference, cut to `MAX_ANSWER` characters."""
    answer_words: int
    later_characters: int
    """Of a conversation's turns after the first answer."""
    num_references: int
    num_choices: int


def facts(example: Example, pictures: Sequence[Picture]) -> Facts:
    """The facts of `example`; `pictures` are those of its images, in order."""
    answer = example.references[0]
    return Facts(
        dataset=example.dataset,
        split=example.split,
        kind=example.kind,
        sizes=tuple((picture.width, picture.height) for picture in pictures),
        image_bytes=sum(len(image) for image in example.images),
        question_words=len(example.question.split()),
        prompt_characters=len(prompts.question_block(example.question, example.choices)),
        answer=answer[:MAX_ANSWER],
        answer_words=len(answer.split()),
        later_characters=sum(map(len, example.turns)),
        num_references=len(example.references),
        num_choices=len(example.choices or ()),
    )
