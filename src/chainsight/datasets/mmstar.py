"""MMStar: 1,500 questions of other benchmarks that cannot be answered without the picture.

https://huggingface.co/datasets/Lin-Chen/MMStar; arXiv 2403.20330; no licence stated.
val 1,500: six categories of 250, each of three finer ones. Sample:

    {"index": 0, "question": "Which option describe the object relationship in the image correctly?
     \\nOptions: A: The suitcase is on the book., B: The suitcase is beneath the cat., C: ...",
     "image": b"...", "answer": "A", "category": "coarse perception",
     "l2_category": "image scene and topic", "meta_info": {"source": "MMBench", ...}}

Traps: the options are in the text, as `Options: A: x, B: y` with commas inside them, or as lines
`(A) x`; the 345 questions from MathVista bring its hint ("provide the correct option letter, e.g.,
A, B, C, D, at the end"), which would contradict our own instruction. Options that can be read
without doubt become choices, and hint and labels go; otherwise text stays as it is and the letter
must be met exactly (`meta["options"]` is then `in text`). `image` is the file's bytes.

Ours is the plain accuracy over all questions, as VLMEvalKit's; lmms-eval averages over the 18 finer
categories (`meta["l2_category"]`), whose sizes differ: the two are not the same number.
"""

import re
from contextlib import suppress
from string import ascii_uppercase
from typing import Any

from chainsight.datasets.base import FILES, Dataset, image, text
from chainsight.datasets.labels import capital, mapping, options
from chainsight.datasets.placing import place
from chainsight.datasets.sources import BadRowError, Row

IN_LINE = re.compile(r"\n\s*Options:\s*(?=A:)")
IN_LINES = re.compile(r"\n\s*(?:(?:Choices|Options):\s*)?(?=\(A\))")
COMMA_LABEL = re.compile(r"(?:^|,|\n)\s*([A-Z]):(?=\s|$)")
LINE_LABEL = re.compile(r"^\s*\(([A-Z])\)", re.MULTILINE)
STYLES = ((IN_LINE, COMMA_LABEL), (IN_LINES, LINE_LABEL))
"""Where the options start, and what stands before each."""
HINT = re.compile(r"\AHint:[^\n]*\n\s*Question:\s*")


def _convert(row: Row) -> dict[str, Any]:
    question, choices = split_options(text(row, "question", "empty question"))
    (question, *placed), images = place((question, *choices), {1: image(row, "image")})
    answer = text(row, "answer", "no answer")
    return {
        "id": text(row, "index", "no id"),
        "question": question,
        "references": (capital(answer, choices or ascii_uppercase),),
        "choices": tuple(placed) or None,
        "metric": "multiple_choice" if choices else "exact_match",
        "images": images,
        "meta": _meta(row) | ({} if choices else {"options": "in text"}),
    }


def split_options(whole: str) -> tuple[str, tuple[str, ...]]:
    """The question alone and its options; the whole text and none if they can't be told apart.

    They can if just one place starts them, and the labels from there on are A, B, C ... in order.
    """
    for start, label in STYLES:
        parts = start.split(whole)
        if len(parts) == 2 and (found := _options(parts[1], label)):
            question = HINT.sub("", parts[0]).strip()
            return (question, found) if question else (whole, ())
    return whole, ()


def _options(listed: str, label: re.Pattern[str]) -> tuple[str, ...]:
    _, *pieces = label.split(listed)
    letters, texts = pieces[::2], pieces[1::2]
    if letters != list(ascii_uppercase[: len(letters)]):
        return ()
    with suppress(BadRowError):  # an empty one, or a single one
        return options({"options": texts}, "options")
    return ()


def _meta(row: Row) -> dict[str, str]:
    meta = {name: str(row[name]) for name in ("category", "l2_category")}
    origin = mapping(row, "meta_info").get("source")
    return meta | ({"source": origin} if origin else {})


MMSTAR = Dataset(
    name="mmstar",
    url="https://huggingface.co/datasets/Lin-Chen/MMStar",
    licence="none stated",
    licence_note="Questions and pictures are those of six other benchmarks, whose own terms hold.",
    hub_id="Lin-Chen/MMStar",
    revision="bc98d668301da7b14f648724866e57302778ab27",
    splits=("val",),
    files={"val": ("mmstar.parquet", *(one.format(split="val") for one in FILES))},
    sizes={"val": 1_500},
    metric="multiple_choice",
    columns=("index", "question", "image", "answer", "category", "l2_category", "meta_info"),
    convert=_convert,
)
