"""Counts of examples that can be added up: those of a shard, of a source, of all training data."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from chainsight import prompts
from chainsight.inventory import tokens
from chainsight.inventory.answers import answer_type
from chainsight.inventory.facts import Facts
from chainsight.records import Example

IMAGE_MAX_SIDE = 1024
"""Pixels that the teacher's images are shrunk to: the default of `distill.image_max_side`."""
RATIONALE_WORDS = 100
"""Of a teacher's rationale, about (paper, distillation)."""
_EMPTY = Example("", "", "", "", ("",), "", (b"",))
STUDENT_CHARACTERS = len(prompts.SYSTEM) + len(prompts.student_prompt(_EMPTY, "cot"))
TEACHER_CHARACTERS = len(prompts.TEACHER_SYSTEM) + len(prompts.teacher_prompt(_EMPTY))
"""What a prompt has beside question, choices and answer."""

LABELS: Mapping[str, Callable[[Facts], str]] = {
    "kind": lambda row: row.kind,
    "answer type": lambda row: answer_type(row.answer, row.answer_words, row.num_choices),
    "choices": lambda row: str(row.num_choices),
    "references": lambda row: str(row.num_references),
    "images": lambda row: str(len(row.sizes)),
}
"""What is counted by name."""
MEASURES: Mapping[str, Callable[[Facts], int]] = {
    "question words": lambda row: row.question_words,
    "answer words": lambda row: row.answer_words,
    "longest side": lambda row: max((max(size) for size in row.sizes), default=0),
}
"""What is counted by number."""


@dataclass(frozen=True)
class Tally:
    """How often what occurred."""

    labels: dict[str, Counter[str]] = field(
        default_factory=lambda: {name: Counter() for name in LABELS}
    )
    measures: dict[str, Counter[int]] = field(
        default_factory=lambda: {name: Counter() for name in MEASURES}
    )
    row_tokens: dict[str, Counter[int]] = field(
        default_factory=lambda: {name: Counter() for name in tokens.STUDENTS}
    )
    """Tokens of a row with a rationale (an instruction: with its answer), by student."""
    sums: Counter[str] = field(default_factory=Counter)
    """By the names of `_amounts`."""

    def add(self, row: Facts) -> None:
        """Count an example."""
        for label, name_of in LABELS.items():
            self.labels[label][name_of(row)] += 1
        for measure, number_of in MEASURES.items():
            self.measures[measure][number_of(row)] += 1
        text = _text_tokens(row)
        for student, rule in tokens.STUDENTS.items():
            self.row_tokens[student][text + sum(rule(*size) for size in row.sizes)] += 1
        for name, number in _amounts(row).items():
            self.sums[name] += number

    def merge(self, other: "Tally") -> None:
        """Add what another one counted."""
        for label, names in other.labels.items():
            self.labels[label].update(names)
        for measure, numbers in other.measures.items():
            self.measures[measure].update(numbers)
        for student, lengths in other.row_tokens.items():
            self.row_tokens[student].update(lengths)
        self.sums.update(other.sums)


def total(tallies: Iterable[Tally]) -> Tally:
    """All of them together."""
    found = Tally()
    for one in tallies:
        found.merge(one)
    return found


def _text_tokens(row: Facts) -> int:
    """Of all turns, as the row is trained on with a rationale."""
    written = row.answer_words if row.kind == "instruct" else RATIONALE_WORDS + row.answer_words
    given = STUDENT_CHARACTERS + row.prompt_characters + row.later_characters
    return given // tokens.CHARACTERS_PER_TOKEN + round(written * tokens.TOKENS_PER_WORD)


def _amounts(row: Facts) -> dict[str, int]:
    """What is added up: files, and what the question would send to a teacher."""
    files = {"rows": 1, "images": len(row.sizes), "image_bytes": row.image_bytes}
    if row.kind == "instruct":
        return files
    sent = [tokens.fitted(*size, IMAGE_MAX_SIDE) for size in row.sizes]
    return files | {
        "asked": 1,
        "asked_characters": TEACHER_CHARACTERS + row.prompt_characters + len(row.answer),
        "gpt_4o_tokens": sum(tokens.gpt_4o(*size) for size in sent),
        "gpt_4o_mini_tokens": sum(tokens.gpt_4o_mini(*size) for size in sent),
    }
