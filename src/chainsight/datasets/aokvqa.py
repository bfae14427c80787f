"""A-OKVQA: questions about photographs that need knowledge of the world, asked in two ways.

https://huggingface.co/datasets/HuggingFaceM4/A-OKVQA; arXiv 2206.01718; the card states no
licence, the project's code is Apache-2.0. Train 17,056, validation 1,145, test 6,702. Sample:

    {"image": {"bytes": ..., "path": null}, "question_id": "22MexNkBPpdZGX6sxbxVBH",
     "question": "What is the man by the bags awaiting?", "choices": ["skateboarder", "train",
     "delivery", "cab"], "correct_choice_idx": 3, "direct_answers": "['ride', 'ride', 'bus', ...]",
     "difficult_direct_answer": false, "rationales": ["A train would not be on the ...", ...]}

`aokvqa` asks for the letter, as the paper does. (The official script compares the text of the
choice; letter and text name the same option.) `aokvqa_direct` asks the same rows openly.
Traps:
* `direct_answers` is the text of a Python list on the hub, and a list elsewhere: both are read,
  and neither evaluated as code. All ten count: the official score is their matches / 3, at most
  1, of equal text, nobody left out.
* Rows with `difficult_direct_answer` are no part of the direct score: `aokvqa_direct` skips them.
* The test split has neither `correct_choice_idx` nor answers: refused.
* `rationales` are people's reasons: never read, so that none gets into a prompt.
The hub's commit is the one that public code pins; it was not asked of the hub.
"""

from typing import Any

from chainsight.datasets.base import Dataset, image, text
from chainsight.datasets.labels import answers, letter, options
from chainsight.datasets.sources import Row


def _shared(row: Row) -> dict[str, Any]:
    return {
        "id": text(row, "question_id", "no id"),
        "question": text(row, "question", "empty question"),
        "images": (image(row, "image"),),
    }


def _convert(row: Row) -> dict[str, Any]:
    choices = options(row, "choices")
    right = letter(row, "correct_choice_idx", choices)
    difficult = "yes" if row.get("difficult_direct_answer") else "no"
    meta = {"difficult": difficult}
    return _shared(row) | {"choices": choices, "references": (right,), "meta": meta}


def _convert_direct(row: Row) -> dict[str, Any] | None:
    if row["difficult_direct_answer"]:
        return None
    return _shared(row) | {"references": answers(row, "direct_answers")}


SHARED: dict[str, Any] = {
    "url": "https://huggingface.co/datasets/HuggingFaceM4/A-OKVQA",
    "licence": "none stated",
    "licence_note": "The project's code is Apache-2.0. The photographs are those of COCO 2017, "
    "for which the terms of Flickr and of each photographer hold.",
    "hub_id": "HuggingFaceM4/A-OKVQA",
    "revision": "d1b0efa3a436e9101dfbde3752db7607da696c35",
    "splits": ("train", "validation"),
    "unanswered": ("test",),
    "sizes": {"train": 17_056, "validation": 1_145, "test": 6_702},
}

AOKVQA = Dataset(
    name="aokvqa",
    metric="multiple_choice",
    columns=("image", "question_id", "question", "choices", "correct_choice_idx"),
    optional_columns=("difficult_direct_answer",),
    convert=_convert,
    **SHARED,
)

AOKVQA_DIRECT = Dataset(
    name="aokvqa_direct",
    metric="aokvqa_direct",
    reward="normalized_match",
    columns=("image", "question_id", "question", "direct_answers", "difficult_direct_answer"),
    convert=_convert_direct,
    **SHARED,
)
