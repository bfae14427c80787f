"""InfographicVQA: questions about infographics, which need layout, text, charts and arithmetic.

https://huggingface.co/datasets/lmms-lab/DocVQA, configuration InfographicVQA; arXiv 2104.12756;
the card says Apache-2.0. Train 23,946, validation 2,801, test 3,288. Sample:

    {"questionId": "98313", "question": "Which social platform has heavy female audience?",
     "answers": ["pinterest"], "answer_type": ["single span"], "image": {"bytes": ..., "path":
     null}, "image_url": "https://...", "operation/reasoning": [], "ocr": "[{...", "data_split":
     "val"}

Scored by ANLS, the nearest of the answers; kept and paired by normalised equality with one.
Traps: those of `docvqa` (the card hides train, test has no answers, raw lengths, two
configurations in one repository), and `ocr`, which holds all the text of the picture: never read.
"""

from typing import Any

from chainsight.datasets.base import Dataset, image, in_folder, text
from chainsight.datasets.labels import answers, tags
from chainsight.datasets.sources import Row

SPLITS = ("train", "validation")


def _convert(row: Row) -> dict[str, Any]:
    return {
        "id": text(row, "questionId", "no id"),
        "question": text(row, "question", "empty question"),
        "references": answers(row, "answers"),
        "images": (image(row, "image"),),
        "meta": tags(row, {"answer_type": "answer_type", "operation": "operation/reasoning"}),
    }


INFOGRAPHICVQA = Dataset(
    name="infographicvqa",
    url="https://huggingface.co/datasets/lmms-lab/DocVQA",
    licence="Apache-2.0",
    licence_note="That is the card's; the infographics were gathered from the web and belong to "
    "their authors, and the annotations are those of the DocVQA challenge.",
    hub_id="lmms-lab/DocVQA",
    revision="278bbe6243389c4bb08a8ef49a193f8263821715",
    splits=SPLITS,
    unanswered=("test",),
    sizes={"train": 23_946, "validation": 2_801, "test": 3_288},
    files=in_folder("InfographicVQA", SPLITS),
    metric="anls",
    reward="normalized_match",
    kind="document",
    columns=("questionId", "question", "answers", "answer_type", "image", "operation/reasoning"),
    convert=_convert,
)
