"""MathVista on an extracted answer, as the official script compares it.

Definition: arXiv 2310.02255 and https://github.com/lupantech/MathVista, its last step alone: the
extraction that it leaves to GPT-4 is ours. Data licence: not for training.
"""

import re
from collections.abc import Sequence
from string import ascii_uppercase

from chainsight.answers import match_choice
from chainsight.metrics.anls import distance

BRACKETED = re.compile(r"\(([a-zA-Z])\)")


def judge(
    prediction: str,
    references: Sequence[str],
    *,
    choices: Sequence[str] | None,
    question_type: str = "free_form",
    answer_type: str = "text",
    precision: float | str | None = None,
    nearest: bool = True,
) -> float:
    """1 if the prediction, brought into the answer's form, is a reference.

    `question_type`, `answer_type` and `precision` are the row's own columns. `nearest` takes the
    choice at the least edit distance where the answer names none, as the official script does.
    """
    if question_type == "multi_choice" and choices:
        form = _choice(prediction.strip(), choices, nearest)
    else:
        form = _free(prediction, answer_type, precision)
    return float(form is not None and form in {reference.strip() for reference in references})


def _choice(prediction: str, choices: Sequence[str], nearest: bool) -> str | None:
    if not nearest:
        index = match_choice(prediction, choices)
        return None if index is None else choices[index].strip()
    bracketed = BRACKETED.search(prediction)
    letter = bracketed[1].upper() if bracketed else prediction
    if letter in list(ascii_uppercase[: len(choices)]):
        return choices[ascii_uppercase.index(letter)].strip()
    return min(choices, key=lambda choice: distance(letter, choice)).strip()


def _free(prediction: str, answer_type: str, precision: float | str | None) -> str | None:
    try:
        if answer_type == "integer":
            return str(int(float(prediction)))
        if answer_type == "float":
            # The hub stores the number of decimals as a float: round() itself would refuse it.
            return str(round(float(prediction), int(float(precision or 0))))
    except (ValueError, OverflowError):
        return None
    return prediction.strip()
