"""TextVQA: questions about the text in photographs of OpenImages, ten people's answers each.

https://huggingface.co/datasets/lmms-lab/textvqa; arXiv 1904.08920; CC-BY-4.0 (the card of
facebook/textvqa). Train 34,602, validation 5,000, test 5,734. Sample:

    {"image_id": "003a8ae2ef43b901", "question_id": 34602, "question": "what is the brand of this
     camera?", "question_tokens": ["what", ...], "image": {"bytes": ..., "path": null},
     "image_width": 1024, "image_height": 664, "flickr_original_url": "https://...",
     "flickr_300k_url": "https://...", "answers": ["nous les gosses", "dakota", "clos culombu",
     "dakota digital", "dakota", ...], "image_classes": ["Cassette deck", ...], "set_name": "val",
     "ocr_tokens": ["DAKOTA", ...]}

Scored by VQA accuracy over the ten answers. Traps:
* One answer alone always scores 0 by that metric: rationales and pairs go by normalised equality.
* Repetitions decide the score and a blank answer is still one of ten, so all are kept as given.
* lmms-eval's `question.capitalize()` lower-cases the rest ("IBM"): the question stays as it is.
* The test split holds ten empty strings a row for answers: refused, there and elsewhere.
* `ocr_tokens` would give the answer away in text: not read, as the published numbers do without.
"""

from typing import Any

from chainsight.datasets.base import Dataset, image, text
from chainsight.datasets.labels import answers
from chainsight.datasets.sources import Row


def _convert(row: Row) -> dict[str, Any]:
    return {
        "id": text(row, "question_id", "no id"),
        "question": text(row, "question", "empty question"),
        "references": answers(row, "answers"),
        "images": (image(row, "image"),),
    }


TEXTVQA = Dataset(
    name="textvqa",
    url="https://huggingface.co/datasets/lmms-lab/textvqa",
    licence="CC-BY-4.0",
    licence_note="The photographs are those of OpenImages v3, each under its photographer's own "
    "Creative Commons licence.",
    hub_id="lmms-lab/textvqa",
    revision="9c0699cd19768ac5ab97568f6b3cbac4c0062884",
    splits=("train", "validation"),
    unanswered=("test",),
    sizes={"train": 34_602, "validation": 5_000, "test": 5_734},
    metric="vqa_accuracy",
    reward="normalized_match",
    kind="scene_text",
    columns=("question_id", "question", "image", "answers"),
    convert=_convert,
)
