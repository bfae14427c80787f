"""OCRBench: what stands in a picture, from single words to receipts and formulae.

https://huggingface.co/datasets/echo840/OCRBench; arXiv 2305.07895; no licence stated.
test 1,000: six kinds of text recognition (300), questions on scene text (200) and on documents
(200), key information extraction (200), handwritten mathematics (100). Sample:

    {"dataset": "IIIT5K", "question": "what is written in the image?",
     "question_type": "Regular Text Recognition", "answer": ["CENTRE"], "image": {"bytes": ...}}

A reference must occur in the answer; published scores are out of 1,000. Traps: the official file
has a text or a list as the answer, the hub a list; rows of `HME100k` (formulae) are compared with
case and without spaces, so the metric needs `dataset`.
"""

from typing import Any

from chainsight.datasets.base import Dataset, image, text
from chainsight.datasets.labels import golds
from chainsight.datasets.sources import Row


def _convert(row: Row) -> dict[str, Any]:
    origin = text(row, "dataset", "no dataset")
    return {
        "question": text(row, "question", "empty question"),
        "references": golds(row, "answer"),
        "images": (image(row, "image"),),
        "metric_params": {"dataset": origin},
        "meta": {"type": str(row["question_type"]), "source": origin},
    }


OCRBENCH = Dataset(
    name="ocrbench",
    url="https://huggingface.co/datasets/echo840/OCRBench",
    licence="none stated",
    licence_note="Its pictures come from some thirty datasets, whose own terms hold for them.",
    hub_id="echo840/OCRBench",
    revision="92a54bd1384387c178d5a07140a2d85e0a3d12e1",
    splits=("test",),
    sizes={"test": 1_000},
    metric="ocrbench",
    kind="ocr",
    columns=("dataset", "question", "question_type", "answer", "image"),
    convert=_convert,
)
