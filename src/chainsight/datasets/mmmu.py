"""MMMU: examination questions of thirty college subjects, with up to seven images each.

https://huggingface.co/datasets/MMMU/MMMU; arXiv 2311.16502; Apache-2.0. dev 150, validation 900
(847 multiple choice, 53 open), test 10,500 without public answers. A folder a subject; the same
rows in one folder at `lmms-lab/MMMU` (commit 364f2e2eb107b36e07ff4c5a15f5947a759cef47), which is
accepted as a source. Sample:

    {"id": "validation_Accounting_1", "question": "<image 1> Baxter Company has a relevant range
     ...", "options": "['$6', '$7', '$8', '$9']", "image_1": {"bytes": ...}, "image_2": None, ...,
     "answer": "B", "question_type": "multiple-choice", "subfield": "Managerial Accounting", ...}

Micro accuracy over both types; what cannot be parsed is wrong, where the official script guesses.
Traps: `options` is a list as Python text, `[]` for an open question; there are up to nine options;
placeholders stand in options, too, repeat, and come in any order, which must not change the images'
order; a list as the answer (`['a', 'b']`) is text, and any of it counts; four open answers are one
letter and remain text.
"""

from typing import Any

from chainsight.datasets.base import FILES, Dataset, image, is_empty, text
from chainsight.datasets.labels import capital, golds, options
from chainsight.datasets.placing import place
from chainsight.datasets.sources import BadRowError, Row

IMAGES = {number: f"image_{number}" for number in range(1, 8)}
META = ("subfield", "topic_difficulty", "img_type")


def _convert(row: Row) -> dict[str, Any]:
    example_id = text(row, "id", "no id")
    asked = text(row, "question", "empty question")
    choices = _choices(row)
    there = {k: image(row, name) for k, name in IMAGES.items() if not is_empty(row[name])}
    if not there:
        raise BadRowError("no image")
    (question, *placed), images = place((asked, *choices), there)
    return {
        "id": example_id,
        "question": question,
        "references": _references(row, choices),
        "choices": tuple(placed) or None,
        "metric": "multiple_choice" if choices else "mmmu_open",
        "images": images,
        "meta": {"subject": "_".join(example_id.split("_")[1:-1])}
        | {name: str(row[name]) for name in META if row[name]},
    }


def _references(row: Row, choices: tuple[str, ...]) -> tuple[str, ...]:
    if not choices:
        return golds(row, "answer")
    return (capital(text(row, "answer", "no answer"), choices),)


def _choices(row: Row) -> tuple[str, ...]:
    """The options of a multiple choice, none of an open question."""
    if row["question_type"] not in ("multiple-choice", "open"):
        raise BadRowError("unknown question_type")
    return options(row, "options") if row["question_type"] == "multiple-choice" else ()


MMMU = Dataset(
    name="mmmu",
    url="https://huggingface.co/datasets/MMMU/MMMU",
    licence="Apache-2.0",
    licence_note="The questions were gathered from textbooks and examinations, whose authors may "
    "hold rights of their own.",
    hub_id="MMMU/MMMU",
    revision="98e6ac0cb9b7b2cd2c991b85a50762edc4aedc68",
    splits=("dev", "validation"),
    unanswered=("test",),
    files={
        split: (f"*/{split}-*.parquet", *(one.format(split=split) for one in FILES))
        for split in ("dev", "validation")
    },
    sizes={"dev": 150, "validation": 900, "test": 10_500},
    metric="multiple_choice",
    columns=(
        "id",
        "question",
        "options",
        *IMAGES.values(),
        "img_type",
        "answer",
        "topic_difficulty",
        "question_type",
        "subfield",
    ),
    convert=_convert,
)
