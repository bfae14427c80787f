"""ChartQA's relaxed accuracy: text must be equal, numbers may be 5 % off.

Definition: arXiv 2203.10244, section 5.1, as lmms-eval and VLMEvalKit compute it. Years are
numbers too (2015 for 2016 is right), and a target of 0 is compared as text: so it is published.
"""

from collections.abc import Sequence

TOLERANCE = 0.05


def judge(prediction: str, references: Sequence[str], *, choices: Sequence[str] | None) -> float:
    """1 if the prediction is right by any reference."""
    del choices
    return float(any(_is_right(prediction.strip(), reference) for reference in references))


def _is_right(prediction: str, target: str) -> bool:
    found, wanted = _number(prediction), _number(target)
    if found is not None and wanted:
        return abs(found - wanted) / abs(wanted) <= TOLERANCE
    return prediction.lower() == target.lower()


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
