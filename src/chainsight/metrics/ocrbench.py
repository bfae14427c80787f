"""OCRBench: a reference must occur in the prediction.

Definition: arXiv 2305.07895, the official script. A substring of a whole chain of thought is far
too easy (12345 contains 234): give it the extracted answer. `dataset` is the row's source;
handwritten mathematics (HME100k) is compared with case and without spaces.
"""

from collections.abc import Sequence

FORMULAE = "HME100k"


def judge(
    prediction: str,
    references: Sequence[str],
    *,
    choices: Sequence[str] | None,
    dataset: str = "",
) -> float:
    """1 if the prediction contains any reference."""
    del choices
    plain = _formula if dataset == FORMULAE else _words
    return float(any(plain(reference) in plain(prediction) for reference in references))


def _formula(text: str) -> str:
    return text.strip().replace("\n", " ").replace(" ", "")


def _words(text: str) -> str:
    return text.lower().strip().replace("\n", " ")
