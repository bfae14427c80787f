"""MMMU's open questions, as the official script judges them.

Definition: arXiv 2311.16502 and https://github.com/MMMU-Benchmark/MMMU. Its quirks are kept: a
leading period is lost (.5 is 5), "is " is found inside words, a gold text may be any substring.
"""

import re
from collections.abc import Sequence

INDICATORS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
NUMBERS = (
    re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b"),
    re.compile(r"-?\d+(?:\.\d+)?[eE][+-]?\d+"),
    re.compile(r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])"),
)
DECIMALS = 2


def judge(prediction: str, references: Sequence[str], *, choices: Sequence[str] | None) -> float:
    """1 if a piece of the prediction contains a gold text or equals a gold number."""
    del choices
    gold = [form for reference in references for form in _forms(reference)]
    pieces = _pieces(prediction.strip().strip(".").lower())
    numbers = [n for piece in pieces for pattern in NUMBERS for n in pattern.findall(piece)]
    found = [form for piece in (*pieces, *numbers) for form in _forms(piece)]
    return float(any(_agree(form, wanted) for form in found for wanted in gold))


def _agree(form: str | float, wanted: str | float) -> bool:
    if isinstance(form, str):
        return isinstance(wanted, str) and wanted in form
    return form == wanted


def _pieces(response: str) -> list[str]:
    """Of each line the shortest tail after an indicator; the whole where none stands."""
    lines = response.split("\n")
    pieces = []
    for line in lines:
        # Only the last line may be an equation.
        marks = (*INDICATORS, "=") if line is lines[-1] else INDICATORS
        tails = [line.split(mark)[-1].strip() for mark in marks if mark in line]
        shortest = ""
        for tail in tails:  # an empty tail wins, and is then replaced by any later one
            if not shortest or len(tail) < len(shortest):
                shortest = tail
        if shortest and shortest not in list(":,.!?;'"):
            pieces.append(shortest)
    return pieces or [response]


def _forms(text: str) -> list[str | float]:
    """A number, rounded, or the lower-case text; one character is padded, on either side."""
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), DECIMALS)]
    except ValueError:
        text = text.lower()
    return [f" {text}", f"{text} "] if len(text) == 1 else [text]
