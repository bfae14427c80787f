"""DocVQA: questions about scanned pages of the tobacco, food and drug industries' archives.

https://huggingface.co/datasets/lmms-lab/DocVQA, configuration DocVQA; arXiv 2007.00398; the card
says Apache-2.0. Train 39,463, validation 5,349, test 5,188. Sample:

    {"questionId": "49153", "question": "What is the 'actual' value per 1000, during the year
     1975?", "question_types": ["figure/diagram"], "image": {"bytes": ..., "path": null},
     "docId": 14465, "ucsf_document_id": "pybv0228", "ucsf_document_page_no": "81",
     "answers": ["0.28"], "data_split": "val"}

Scored by ANLS, the nearest of the answers; kept and paired by normalised equality with one.
Traps:
* The card on main hides the train split, whose files are there: the commit read here shows all.
* The answers of the test split are for the task's server only (`answers` is null): refused.
* The length in ANLS is that of the raw answers, so they are kept as they are, blanks included.
* The repository holds InfographicVQA too, in a folder beside: only DocVQA/ is read.
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
        "meta": tags(row, {"question_types": "question_types"}),
    }


DOCVQA = Dataset(
    name="docvqa",
    url="https://huggingface.co/datasets/lmms-lab/DocVQA",
    licence="Apache-2.0",
    licence_note="That is the card's; the pages are those of UCSF's Industry Documents Library "
    "and the annotations those of the DocVQA challenge, whose own terms hold for them.",
    hub_id="lmms-lab/DocVQA",
    revision="278bbe6243389c4bb08a8ef49a193f8263821715",
    splits=SPLITS,
    unanswered=("test",),
    sizes={"train": 39_463, "validation": 5_349, "test": 5_188},
    files=in_folder("DocVQA", SPLITS),
    metric="anls",
    reward="normalized_match",
    kind="document",
    columns=("questionId", "question", "question_types", "image", "answers"),
    convert=_convert,
)
