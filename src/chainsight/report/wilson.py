"""Wilson's interval of an accuracy, which holds at 0 and 1, too. Pure."""

import math
from typing import Protocol

Z = 1.959963984540054
"""Quantile of the normal distribution at 97.5 %: two-sided 95 %."""


class Scored(Protocol):
    """A score, 0 to 1, over so many questions."""

    @property
    def value(self) -> float: ...
    @property
    def standard_error(self) -> float: ...
    @property
    def num_examples(self) -> int: ...


def interval(score: Scored) -> tuple[float, float]:
    """Wilson's 95 % interval of a value from 0 to 1.

    With as many questions as would give its standard error, were they right or wrong: for a
    single benchmark of such questions they are all but one; a value of 0 or 1 has all.
    """
    value, error = score.value, score.standard_error
    spread = value * (1 - value)
    count = spread / error**2 if error and spread else score.num_examples
    middle = (value + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z / (1 + Z**2 / count) * math.sqrt(spread / count + Z**2 / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)
