"""Questions asked in the student's words and their answers read: evaluation, pyfunc and server."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chainsight import answers
from chainsight.answers import Reading
from chainsight.config import PromptStyle
from chainsight.records import Example, Mode
from chainsight.vlm.checkpoint import Loaded
from chainsight.vlm.sampling import Drawing, Generated, stream
from chainsight.vlm.template import Prompt, Row, student


@dataclass(frozen=True)
class Reply:
    """What a model said to one question."""

    prompt: str
    """The whole chat prompt as the model got it, with one placeholder a picture."""
    question: str
    """The user turn in it."""
    text: str
    reading: Reading
    rationale: str
    num_tokens: int


def ask(
    loaded: Loaded,
    examples: Sequence[Example],
    mode: Mode,
    *,
    style: PromptStyle,
    max_new_tokens: int,
    batch_size: int,
) -> Iterator[Reply]:
    """Greedy answers, one an example, in order; `batch_size` of them are written at a time.

    Their references are not looked at.

    Raises:
        RecordError: a picture is refused.
    """
    asked: dict[int, Prompt] = {}

    def rows() -> Iterator[Row]:
        for number, example in enumerate(examples):
            asked[number] = student(example, mode, style)
            yield loaded.template.row(asked[number])

    ready: dict[int, Reply] = {}
    following = 0
    how = Drawing(max_new_tokens)
    for number, (one,) in stream(loaded, rows(), how, in_flight=batch_size):
        ready[number] = _reply(loaded, asked.pop(number), mode, one)
        while following in ready:
            yield ready.pop(following)
            following += 1


def _reply(loaded: Loaded, prompt: Prompt, mode: Mode, one: Generated) -> Reply:
    return Reply(
        prompt=loaded.template.rendered(prompt),
        question=prompt.text,
        text=one.text,
        reading=answers.read_answer(one.text, mode, truncated=one.truncated),
        rationale=answers.rationale(one.text, mode),
        num_tokens=one.num_tokens,
    )
