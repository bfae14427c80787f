"""MATH-Vision: problems of mathematics contests with a picture, some multiple choice.

https://huggingface.co/datasets/MathLLMs/MathVision; arXiv 2402.14804; MIT. The problems come
from Math Kangaroo, AMC, AIME, UMD and UK contests, whose authors keep their own rights.
Test 3,040, testmini 304 of these; no train split is public. Sample:

    {"id": "2328", "question": "... Find the least possible distance ...\\n<image1>",
     "options": ["$\\\\frac{1}{2}$", ...], "decoded_image": {"bytes": ...}, "answer": "C",
     "level": 3, "subject": "solid geometry"}

The paper seems to train on the test problems: a model that did must not be
reported on them. The hub's commit could not be looked up, so it is not pinned: set `revision`.
"""

import re
from typing import Any

from chainsight.datasets.base import Dataset, image, text
from chainsight.datasets.labels import capital, options_if_any
from chainsight.datasets.sources import BadRowError, Row

PLACEHOLDER = re.compile(r"\s*<image\d+>")


def _convert(row: Row) -> dict[str, Any]:
    answer = text(row, "answer", "no answer")
    choices = options_if_any(row, "options")
    return {
        "id": text(row, "id", "no id"),
        "question": _question(text(row, "question", "empty question")),
        "references": (capital(answer, choices) if choices else answer,),
        "choices": choices or None,
        "images": (image(row, "decoded_image"),),
        "meta": {"level": str(row["level"]), "subject": str(row["subject"])},
    }


def _question(question: str) -> str:
    """Without the placeholder of the one picture: the prompt puts the image first.

    Several stand for parts of one picture; then the text needs them, in words.
    """
    places = PLACEHOLDER.findall(question)
    if len(places) > 1:
        question = re.sub(r"<image(\d+)>", r"(picture \1)", question)
    else:
        question = PLACEHOLDER.sub("", question)
    if not question.strip():
        raise BadRowError("empty question")
    return question.strip()


MATHVISION = Dataset(
    name="mathvision",
    url="https://huggingface.co/datasets/MathLLMs/MathVision",
    licence="MIT",
    licence_note="The problems are those of contests (Math Kangaroo, AMC, AIME, UMD, UK), whose "
    "authors keep their own rights.",
    hub_id="MathLLMs/MathVision",
    splits=("test", "testmini"),
    sizes={"test": 3_040, "testmini": 304},
    metric="mathvision",
    kind="math",
    columns=("id", "question", "options", "decoded_image", "answer", "level", "subject"),
    convert=_convert,
)
