"""Average normalised Levenshtein similarity, for DocVQA and InfographicVQA.

Definition: arXiv 1907.00490, section 3, threshold 0.5, as lmms-eval computes it: the distance
is between lower-cased texts with single spaces, the length is that of the raw texts.
"""

from collections.abc import Sequence

SMALLEST = 0.5
"""A lower similarity counts as none."""


def judge(prediction: str, references: Sequence[str], *, choices: Sequence[str] | None) -> float:
    """The similarity to the nearest reference, 0 below 0.5."""
    del choices
    best = max(_similarity(prediction.strip(), reference) for reference in references)
    return best if best >= SMALLEST else 0.0


def _similarity(prediction: str, reference: str) -> float:
    # Upper case, as the original does: a ligature counts as the two letters it becomes.
    length = max(len(prediction.upper()), len(reference.upper()))
    return 1.0 - distance(_plain(prediction), _plain(reference)) / length if length else 1.0


def _plain(text: str) -> str:
    return " ".join(text.strip().lower().split())


def distance(first: str, second: str) -> int:
    """Levenshtein distance: insertions, deletions and substitutions, each 1."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]
