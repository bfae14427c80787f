"""Geo170K (G-LLaVA): geometry questions with four options, and descriptions of geometric figures.

https://huggingface.co/datasets/Luckyjhg/Geo170K; arXiv 2312.11370. Figures and problems are those
of GeoQA+ and Geometry3K, reworded and answered by a language model. No licence is stated; the
mirror that is read by default is marked Apache-2.0.
qa 117,205, align 60,252; the mirror's align has 60,242. Samples:

    qa    {"id": "9177_13", "image": {"bytes": ...}, "conversations": [
           {"from": "human", "value": "<image>\\nFirst perform reasoning, then finally select the
            question from the choices in the following format: Answer: xxx.\\nQuestion: ...
            what is the degree measure of angle 2?\\nChoices:\\nA: 32°\\nB: 68°\\nC: 58°\\nD: 34°"},
           {"from": "gpt", "value": "Since a || b, ... = 58°. Therefore, the answer is: C.\\n
            Answer:C"}], "data_source": "geo170k(qa)"}
    align [{"from": "human", "value": "Render a clear and concise summary of the photo.\\n<image>"},
           {"from": "gpt", "value": "The diagram displays triangle ABC ..."}]

Read from the mirror in LLaVA-OneVision's data, where the images are inside, or from a folder with
the original's Parquet (`data/qa_tuning-*`, at cc4bd7ce63154f0a1a18e0d34aa1a3915eefe1e6) or JSON
(`qa_tuning.json`) and its unpacked `images/`. A qa row is a problem as in MATH-Vision: the letter
counts, and so does the right option's value. An align row is learned word for word. `qa_tuning` and
`alignment` are the same two splits by the original's names.
"""

import re
from typing import Any

from chainsight import answers
from chainsight.datasets.base import FILES, Dataset, image
from chainsight.datasets.conversations import instruction, lettered_lines, single, source_id
from chainsight.datasets.labels import letter_named
from chainsight.datasets.sources import BadRowError, Row

ASKED = re.compile(
    r"(?:[^\n]*\n)?\s*Question:\s*(?P<question>\S.*?)\s*\n\s*Choices:\s*(?P<options>.+)", re.DOTALL
)
"""An instruction of one line at most, the question, the options."""

ENDS = re.compile(r"^(?:the\s+)?(?:correct\s+)?(?:option|choice)\s+", re.IGNORECASE)


def _question(row: Row) -> dict[str, Any]:
    asked, answer = single(row)
    found = ASKED.fullmatch(asked)
    if found is None:
        raise BadRowError("the prompt is not of the form Question, Choices")
    choices = lettered_lines(found["options"].strip().splitlines())
    said = answers.extract(answer).value
    return {
        "question": found["question"],
        "choices": choices,
        "references": (letter_named(ENDS.sub("", said), choices),),
        "images": (image(row, "image"),),
        "meta": source_id(row),
    }


def _description(row: Row) -> dict[str, Any]:
    return instruction(row) | {"images": (image(row, "image"),)}


def _files(split: str, original: str) -> tuple[str, ...]:
    """In the mirror, in the original, in a folder of one's own, in the mirror's folder itself."""
    return (
        f"geo170k({split})/train-*.parquet",
        f"data/{original}-*.parquet",
        f"{original}-*.parquet",
        f"{original}.json",
        *(one.format(split=split) for one in FILES),
        "train-*.parquet",
    )


GEO170K = Dataset(
    name="geo170k",
    url="https://huggingface.co/datasets/Luckyjhg/Geo170K",
    licence="none stated (mirror: Apache-2.0)",
    licence_note="Figures and problems are those of GeoQA+ and Geometry3K, texts by a language "
    "model; their publishers' terms hold.",
    hub_id="lmms-lab/LLaVA-OneVision-Data",
    revision="83b6f382305b6e890ca330af8a089b581ac70676",
    splits=("qa", "align", "qa_tuning", "alignment"),
    sizes={"qa": 117_205, "align": 60_252},
    files={
        "qa": _files("qa", "qa_tuning"),
        "align": _files("align", "alignment"),
        "qa_tuning": _files("qa", "qa_tuning"),
        "alignment": _files("align", "alignment"),
    },
    metric="mathvision",
    kind="math",
    columns=("image", "conversations"),
    optional_columns=("id",),
    convert=_question,
    converts={"align": _description, "alignment": _description},
)
