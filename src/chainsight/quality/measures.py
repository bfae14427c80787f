"""A rationale's measures, and what the settings of `distill.filter` say to them."""

from dataclasses import dataclass

from chainsight.config import Filter
from chainsight.quality import tables, texts
from chainsight.records import Example


@dataclass(frozen=True)
class Measures:
    """Of what stands before the answer."""

    num_words: int
    repetition: float
    answer_first: bool
    agreement: float | None


def measure(example: Example, thought: str, answer: str) -> Measures:
    """Measure the reasoning `thought` that ends in `answer`. Pure."""
    table = tables.table_of(example)
    return Measures(
        num_words=texts.num_words(thought),
        repetition=texts.repetition(thought),
        answer_first=texts.begins_with_answer(
            thought, answer, example.question, example.choices or ()
        ),
        agreement=tables.agreement(thought, table, example.question) if table else None,
    )


def objection(found: Measures, wanted: Filter) -> str:
    """The first condition that is not met, by its reason; "" if all are."""
    checks = {
        "too_short": found.num_words < wanted.min_words,
        "too_long": wanted.max_words is not None and found.num_words > wanted.max_words,
        "repetitive": found.repetition > wanted.max_repetition,
        "answer_first": wanted.answer_first == "drop" and found.answer_first,
        "disagrees": found.agreement is not None and found.agreement < wanted.min_agreement,
    }
    return next((reason for reason, holds in checks.items() if holds), "")
