"""What a study claims of two settings, judged on several seeds: reproduced, refuted, or open. Pure.

Differences are paired by seed and question; `intervals` says how sure they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from chainsight.analysis.intervals import LEVEL, Array, Interval, interval, seed_means
from chainsight.decision import dataset_of

Series = Mapping[int, Mapping[str, float]]
"""Seed -> example id -> score, 0 to 1."""
Outcome = Literal["yes", "no", "open"]
Relation = Literal["above", "far_above", "not_below"]
MARGINS: dict[Relation, float] = {"above": 0.0, "far_above": 0.10, "not_below": -0.02}
"""The difference from which on a claim holds: its whole interval lies above, or below, or neither.
A false claim is so called reproduced in at most 2.5 % of all studies."""
FEW_SEEDS = 5
"""Below, Student's t is above 3 where the seeds decide."""
WANTED: dict[Relation, tuple[str, str]] = {
    "above": ("above", "not above"),
    "far_above": ("at least 10 points above", "less than 10 points above"),
    "not_below": ("at most 2 points below", "more than 2 points below"),
}
"""What a relation says, and its contrary."""
OUTCOMES: dict[Outcome, str] = {
    "yes": "Reproduced: {0}.",
    "no": "Not reproduced: {1}.",
    "open": "Open: neither shown to be {0}, nor {1}.",
}


@dataclass(frozen=True)
class Claim:
    """That the setting `better` stands in `relation` to the setting `than`."""

    name: str
    better: str
    than: str
    relation: Relation


@dataclass(frozen=True)
class Verdict:
    """What became of a claim. `difference`, `low` and `high` are -1 to 1, `better` less `than`."""

    difference: float
    """Mean over the seeds; over several benchmarks the plain mean of theirs."""
    low: float
    high: float
    seeds: tuple[int, ...]
    """Those that both settings have."""
    per_seed: tuple[float, ...]
    num_agreeing: int
    """Seeds on the mean's side of zero."""
    num_questions: int
    reproduced: Outcome
    words: str


def judge(claim: Claim, better: Series, than: Series) -> Verdict:
    """Compare two settings on the seeds and questions they share.

    Raises:
        ValueError: no seed in common, or other questions.
    """
    seeds = sorted(set(better) & set(than))
    if not seeds:
        raise ValueError(
            f"claim {claim.name!r}: {claim.better!r} has the seeds {sorted(better)}, "
            f"{claim.than!r} {sorted(than)}, none in common; run both with the same seeds"
        )
    groups = _groups(claim, seeds, better, than)
    found = interval(groups)
    per_seed = seed_means(groups)
    agreeing = int((np.sign(per_seed) == np.sign(found.value)).sum())
    reproduced = _reproduced(found, MARGINS[claim.relation])
    num_questions = sum(group.shape[1] for group in groups)
    return Verdict(
        difference=found.value,
        low=found.low,
        high=found.high,
        seeds=tuple(seeds),
        per_seed=tuple(map(float, per_seed)),
        num_agreeing=agreeing,
        num_questions=num_questions,
        reproduced=reproduced,
        words=f"{_said(claim, found)}, over {num_questions:,} questions; "
        f"{_of_seeds(len(seeds), agreeing, found.value)}. "
        f"{OUTCOMES[reproduced].format(*WANTED[claim.relation])}",
    )


def _groups(claim: Claim, seeds: Sequence[int], better: Series, than: Series) -> list[Array]:
    """Differences (seeds, questions), one array a benchmark."""
    questions = sorted(better[seeds[0]])
    for name, series in ((claim.better, better), (claim.than, than)):
        for seed in seeds:
            odd = set(questions) ^ set(series[seed])
            if odd or not questions:
                raise ValueError(
                    f"claim {claim.name!r}: {name!r} with seed {seed} was asked other questions "
                    f"({len(odd)} not in common, as {min(odd, default='none at all')!r}); score "
                    "all settings on the same benchmarks"
                )
    columns: dict[str, list[list[float]]] = {}
    for key in questions:
        column = [better[seed][key] - than[seed][key] for seed in seeds]
        columns.setdefault(dataset_of(key), []).append(column)
    return [np.array(column).T for column in columns.values()]


def _reproduced(found: Interval, margin: float) -> Outcome:
    if found.low > margin:
        return "yes"
    return "no" if found.high < margin else "open"


def _said(claim: Claim, found: Interval) -> str:
    side = "above" if found.value >= 0 else "below"
    where = f"{100 * abs(found.value):.1f} points {side}" if found.value else "level with"
    return (
        f"{claim.better} is {where} {claim.than} "
        f"({100 * LEVEL:.0f} % interval {100 * found.low:+.1f} to {100 * found.high:+.1f})"
    )


def _of_seeds(count: int, agreeing: int, value: float) -> str:
    if count == 1:
        return "one seed: the interval is about the questions alone, not about another training"
    said = f"{agreeing} of {count} seeds on that side" if value else f"{count} seeds"
    if count < FEW_SEEDS:
        said += (
            ": so few tell little of the spread between trainings, which makes the interval wide"
        )
    return said
