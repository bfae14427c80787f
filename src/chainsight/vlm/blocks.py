"""Questions in blocks: answers are drawn, judged and kept a block at a time.

A block whose file is there is not made again, so a killed run goes on where it stopped. What
stages `sample` and `verify` share.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from chainsight import records
from chainsight.config import PromptStyle
from chainsight.context import Shard, Task
from chainsight.records import Example
from chainsight.vlm.engines import Engine
from chainsight.vlm.sampling import Generated
from chainsight.vlm.template import Row, Template, student

T = TypeVar("T")


@dataclass(frozen=True)
class Block:
    """Questions that are answered together, and the file that keeps what became of them."""

    questions: Sequence[Example]
    path: Path

    @property
    def done(self) -> bool:
        return self.path.exists()


def cut(questions: Sequence[Example], size: int, folder: Path, shard: Shard) -> list[Block]:
    """The shard's blocks of `size` questions, in order; their files lie in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        Block(questions[start : start + size], folder / f"{start:09d}.parquet")
        for number, start in enumerate(range(0, len(questions), size))
        if shard.has(number)
    ]


def fill(
    engine: Engine,
    template: Template,
    style: PromptStyle,
    blocks: Sequence[Block],
    record: type[T],
    make: Callable[[Example, Row, Sequence[Generated]], Sequence[T]],
    task: Task,
) -> None:
    """Draw the answers to the questions of `blocks`, and keep each block when it is complete.

    `make` turns the answers to a question into its rows, of type `record`.
    """
    asked = _Asked(template, blocks, style)
    made: dict[Path, dict[str, Sequence[T]]] = {block.path: {} for block in blocks}
    for number, generated in engine.answers(asked.rows()):
        block, example, row = asked.open.pop(number)
        made[block.path][example.id] = make(example, row, generated)
        task.advance(len(generated))
        if len(made[block.path]) == len(block.questions):
            found = made.pop(block.path)
            keep(block, [one for question in block.questions for one in found[question.id]], record)


def keep(block: Block, rows: Sequence[T], record: type[T]) -> None:
    """Write a block's rows, all or nothing."""
    unfinished = block.path.with_suffix(".part")
    records.write(unfinished, rows, record)
    unfinished.rename(block.path)


class _Asked:
    """The questions of blocks as rows; what belongs to a row is kept until it is answered."""

    def __init__(self, template: Template, blocks: Sequence[Block], style: PromptStyle) -> None:
        self._template, self._blocks, self._style = template, blocks, style
        self.open: dict[int, tuple[Block, Example, Row]] = {}
        """By number, those that were asked and are not answered."""

    def rows(self) -> Iterator[Row]:
        every = ((block, example) for block in self._blocks for example in block.questions)
        for number, (block, example) in enumerate(every):
            row = self._template.row(student(example, "cot", self._style))
            self.open[number] = block, example, row
            yield row
