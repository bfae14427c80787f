"""What changed between two models on the same held-out questions, with intervals. Pure."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from chainsight import paired
from chainsight.records import Score

CONFIDENCE = 0.95
"""Of intervals, two-sided."""
Z = 1.959963984540054
"""Quantile of the normal distribution at 97.5 %."""


@dataclass(frozen=True)
class Change:
    """The gain of `model` over `other`; a share of the questions, 0 to 1."""

    model: str
    other: str
    mode: str
    gain: float
    low: float
    """Of the 95 % bootstrap interval."""
    high: float
    p_value: float
    """Two-sided, of "no difference" (`paired.p_value`)."""
    num_won: int
    """Questions on which `model` scores higher."""
    num_lost: int
    num_examples: int

    @property
    def words(self) -> str:
        """`gain`, `loss` or `not significant`: proven if interval and test agree, as the gate's."""
        if self.p_value > paired.level(CONFIDENCE) or self.low <= 0 <= self.high:
            return "not significant"
        return "gain" if self.gain > 0 else "loss"


Scores = Mapping[str, float]
"""Of one model in one mode: example id to score."""


def change(
    names: tuple[str, str], mode: str, ours: Scores, theirs: Scores, datasets: Mapping[str, str]
) -> Change | None:
    """Paired over the questions that both answered; None where there is none.

    `names` are those of the model and of the other, `datasets` the questions'.
    """
    groups = defaultdict(list)
    for key in sorted(ours.keys() & theirs.keys()):
        groups[datasets[key]].append(ours[key] - theirs[key])
    if not groups:
        return None
    differences = [groups[name] for name in sorted(groups)]
    means = [paired.resampled_means(groups[name], seed=name) for name in sorted(groups)]
    low, high = paired.bounds(means, (1 + CONFIDENCE) / 2)
    every = [difference for group in differences for difference in group]
    return Change(
        *names,
        mode,
        gain=paired.mean_of_means(differences),
        low=low,
        high=high,
        p_value=_two_sided(differences),
        num_won=sum(difference > 0 for difference in every),
        num_lost=sum(difference < 0 for difference in every),
        num_examples=len(every),
    )


def _two_sided(groups: Sequence[Sequence[float]]) -> float:
    mirrored = [[-difference for difference in group] for group in groups]
    return min(1.0, 2 * min(paired.p_value(groups), paired.p_value(mirrored)))


def changes(
    scores: Mapping[tuple[str, str], Scores],
    pairs: Iterable[tuple[str, str]],
    modes: Iterable[str],
    datasets: Mapping[str, str],
) -> tuple[Change, ...]:
    """Of each pair of models in each mode; `scores` by (model, mode)."""
    wanted = [(names, mode) for mode in modes for names in pairs]
    found = [
        change(names, mode, scores[names[0], mode], scores[names[1], mode], datasets)
        for names, mode in wanted
        if all((name, mode) in scores for name in names)
    ]
    return tuple(one for one in found if one)


def interval(score: Score) -> tuple[float, float]:
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
