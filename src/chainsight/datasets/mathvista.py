"""MathVista: mathematics in charts, figures, diagrams and photographs, from 31 datasets.

https://huggingface.co/datasets/AI4Math/MathVista; arXiv 2310.02255; CC-BY-SA-4.0, and its terms
forbid training on it: `trains` is False. testmini 1,000 (540 with choices, 418 integers, 40 floats,
2 lists), test 5,141 without public answers. Sample:

    {"pid": "2", "question": "what is the total volume of the measuring cup?",
     "image": "images/2.jpg", "decoded_image": {"bytes": ...}, "choices": None, "unit": "g",
     "precision": None, "answer": "1000", "question_type": "free_form", "answer_type": "integer",
     "metadata": {"source": "TextVQA", "task": "visual question answering", ...}, "query": ...}

Scored on the extracted answer as the official script does; a right choice is its text, not its
letter. Traps: `image` is a path and `decoded_image` the picture; `precision`, the number of
decimals, is a float, which Python's `round` refuses (one peer scores all 40 floats 0 for it);
`choices` is null without any; 3 questions have a choice twice, so that two letters are right; some
choices are letters themselves. The unit belongs to the question, as in the official prompt;
`query`, that prompt, has demonstrations of its own and is not read.
"""

from collections.abc import Mapping
from typing import Any

from chainsight.datasets.base import Dataset, image, is_blank, text
from chainsight.datasets.labels import mapping, options_if_any
from chainsight.datasets.sources import BadRowError, Row

CHOICE = ("multi_choice", "text")
FREE = tuple(("free_form", form) for form in ("text", "integer", "float", "list"))
META = ("source", "task", "category", "context", "grade", "language")


def _convert(row: Row) -> dict[str, Any]:
    choices = options_if_any(row, "choices")
    answer = text(row, "answer", "no answer")
    params = _params(row)
    if (params["question_type"] == "multi_choice") != bool(choices):
        raise BadRowError("question_type and choices do not agree")
    if choices and answer not in choices:
        raise BadRowError("the answer is none of the choices")
    return {
        "id": text(row, "pid", "no id"),
        "question": _question(row),
        "references": (answer,),
        "choices": choices or None,
        "images": (image(row, "decoded_image"),),
        "metric_params": params,
        "meta": _meta(mapping(row, "metadata")),
    }


def _question(row: Row) -> str:
    question = text(row, "question", "empty question")
    return question if is_blank(row["unit"]) else f"{question} (Unit: {row['unit']})"


def _params(row: Row) -> dict[str, str]:
    """The row's arguments of the metric; `precision` as a whole number, where it has one."""
    form = (row["question_type"], row["answer_type"])
    if form not in (CHOICE, *FREE):
        raise BadRowError("unknown question_type or answer_type")
    params = dict(zip(("question_type", "answer_type"), form, strict=True))
    decimals = _decimals(row["precision"])
    if decimals is not None:
        params["precision"] = str(decimals)
    elif form == ("free_form", "float"):
        raise BadRowError("an answer of type float without precision")
    return params


def _decimals(precision: Any) -> int | None:
    if is_blank(precision):
        return None
    try:
        return int(float(precision))
    except (TypeError, ValueError, OverflowError):
        raise BadRowError("precision is no number") from None


def _meta(found: Mapping[str, Any]) -> dict[str, str]:
    meta = {name: str(found[name]) for name in META if found.get(name)}
    return meta | ({"skills": ", ".join(found["skills"])} if found.get("skills") else {})


MATHVISTA = Dataset(
    name="mathvista",
    url="https://huggingface.co/datasets/AI4Math/MathVista",
    licence="CC-BY-SA-4.0, test use only",
    licence_note="Its terms forbid training on it; pictures and questions belong to the authors of "
    "its sources.",
    trains=False,
    copyleft=True,
    hub_id="AI4Math/MathVista",
    revision="2b6ad69445fbb5695c9b165475e8decdbeb97747",
    splits=("testmini",),
    unanswered=("test",),
    sizes={"testmini": 1_000, "test": 5_141},
    metric="mathvista",
    kind="math",
    columns=(
        "pid",
        "question",
        "decoded_image",
        "choices",
        "unit",
        "precision",
        "answer",
        "question_type",
        "answer_type",
        "metadata",
    ),
    convert=_convert,
)
