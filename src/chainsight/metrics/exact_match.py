"""Equality with a reference, case and punctuation included.

It is A-OKVQA's official multiple-choice metric (on option texts) and the metric of `bars`.
"""

from collections.abc import Sequence


def judge(prediction: str, references: Sequence[str], *, choices: Sequence[str] | None) -> float:
    """1 if the prediction is one of the references."""
    del choices
    return float(prediction in references)
