"""ScienceQA: school questions of grades 1 to 12 with options; here those that have an image.

https://huggingface.co/datasets/lmms-lab/ScienceQA, configuration ScienceQA-IMG; arXiv 2209.09513;
CC BY-NC-SA 4.0. Train 6,218, validation 2,097, test 2,017. Sample:

    {"image": {"bytes": ..., "path": null}, "question": "Which of these states is farthest north?",
     "choices": ["West Virginia", "Louisiana", "Arizona", "Oklahoma"], "answer": 0, "hint": "",
     "task": "closed choice", "grade": "grade2", "subject": "social science", "topic":
     "geography", "category": "Geography", "skill": "Read a map: cardinal directions", "lecture":
     "Maps have four cardinal directions ...", "solution": "To find the answer, ..."}

derek-thomas/ScienceQA (train 12,726, validation and test 4,241) has the same columns and the
questions without an image too; as the source it gives the same examples. Traps:
* Rows without an image are not of this set: skipped, no faults.
* `hint` belongs to the question and comes first, as `Context: ...`, unless it is blank.
* `lecture` and `solution` tell the answer: never read, so that neither gets into a prompt.
* The card on main hides the train split: the commit read here shows all three.
* `answer` is an index and there are two to five options: the letter is kept.
"""

from typing import Any

from chainsight.datasets.base import Dataset, image, in_folder, is_blank, is_empty, text
from chainsight.datasets.labels import letter, options, tags
from chainsight.datasets.sources import Row

SPLITS = ("train", "validation", "test")
TAGS = ("grade", "subject", "topic")


def _convert(row: Row) -> dict[str, Any] | None:
    if is_empty(row["image"]):
        return None
    choices = options(row, "choices")
    return {
        "question": _question(row),
        "references": (letter(row, "answer", choices),),
        "choices": choices,
        "images": (image(row, "image"),),
        "meta": tags(row, {tag: tag for tag in TAGS}),
    }


def _question(row: Row) -> str:
    question = text(row, "question", "empty question")
    if is_blank(row["hint"]):
        return question
    return f"Context: {text(row, 'hint', 'empty hint')}\n{question}"


SCIENCEQA = Dataset(
    name="scienceqa",
    url="https://huggingface.co/datasets/lmms-lab/ScienceQA",
    licence="CC BY-NC-SA 4.0",
    licence_note="That is the authors'; the mirror derek-thomas/ScienceQA says CC BY-SA 4.0. The "
    "questions come from IXL Learning, who keep their rights.",
    non_commercial=True,
    copyleft=True,
    hub_id="lmms-lab/ScienceQA",
    revision="7d5be0f9a868f835ee26f74cba3baa743c1be07d",
    splits=SPLITS,
    sizes={"train": 6_218, "validation": 2_097, "test": 2_017},
    files=in_folder("ScienceQA-IMG", SPLITS),
    metric="multiple_choice",
    columns=("image", "question", "choices", "answer", "hint"),
    optional_columns=TAGS,
    convert=_convert,
)
