"""What one model is better by than another, on the questions that both were asked. Pure.

Each difference comes with the gate's bootstrap and tests (`paired`): equal data, equal figures
wherever a report shows them. Of few questions, or several seeds: `intervals`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from chainsight import paired
from chainsight.analysis.intervals import LEVEL, Interval
from chainsight.decision import dataset_of
from chainsight.records import MODES, Mode, Prediction
from chainsight.scoring import ALL

Answers = Mapping[str, Prediction]
"""A model's answers in one mode, by example id, in the benchmark's order."""
Answered = Mapping[tuple[str, str], Answers]
"""By (model, mode)."""


def by_model(predictions: Iterable[Prediction]) -> Answered:
    """Every model's answers by mode, in the order of the predictions."""
    found: dict[tuple[str, str], dict[str, Prediction]] = {}
    for row in predictions:
        found.setdefault((row.model, row.mode), {})[row.example_id] = row
    return found


def gains(better: Answers, than: Answers) -> dict[str, float]:
    """Differences of the scores, -1 to 1, of the questions in common."""
    return {key: row.score - than[key].score for key, row in better.items() if key in than}


def chance(groups: paired.Groups) -> float:
    """Two-sided p-value of no difference, by the test of `paired.p_value`."""
    turned = [[-difference for difference in group] for group in groups]
    return min(1.0, 2 * min(paired.p_value(groups), paired.p_value(turned)))


@dataclass(frozen=True)
class Difference:
    """Mean gain of `better` over `than`."""

    better: str
    than: str
    mode: Mode
    dataset: str
    """`scoring.ALL`: the plain mean over the datasets."""
    num_questions: int
    gain: Interval
    num_won: int
    num_lost: int
    p_value: float


def pairs(models: Sequence[str]) -> list[tuple[str, str]]:
    """Which models are compared, better first: neighbours in the order of training, the last with
    the first, and `aligned` (else the last of its own) with each further model."""
    own = [name for name in ("base", "policy", "aligned") if name in models]
    found = [(better, than) for than, better in pairwise(own)]
    if len(own) > 2:
        found.append((own[-1], own[0]))
    return found + [(own[-1], name) for name in models if own and name not in own]


def differences(answered: Answered) -> list[Difference]:
    """For each of the `pairs`, in each mode: over all datasets and in each."""
    models = list(dict.fromkeys(model for model, _ in answered))
    return [
        one
        for better, than in pairs(models)
        for mode in MODES
        if (better, mode) in answered and (than, mode) in answered
        for one in _compared(better, than, mode, answered)
    ]


def _compared(better: str, than: str, mode: Mode, answered: Answered) -> list[Difference]:
    datasets: dict[str, list[float]] = {}
    for key, gain in gains(answered[better, mode], answered[than, mode]).items():
        datasets.setdefault(dataset_of(key), []).append(gain)
    groups = {name: {name: own} for name, own in datasets.items()}
    if len(datasets) > 1:
        groups = {ALL: datasets} | groups
    return [
        Difference(better, than, mode, name, *measured(list(own.values()), list(own)))
        for name, own in groups.items()
    ]


def measured(
    groups: paired.Groups, names: Sequence[str] = ()
) -> tuple[int, Interval, int, int, float]:
    """Of differences by benchmark: number, mean of means, how many are won and lost, `chance`.

    The interval is the two-sided bootstrap over the questions; the gate's resamples, if the
    benchmarks have their names.
    """
    every = [difference for group in groups for difference in group]
    seeds = names or [str(number) for number in range(len(groups))]
    means = [paired.resampled_means(group, seed) for group, seed in zip(groups, seeds, strict=True)]
    return (
        len(every),
        Interval(paired.mean_of_means(groups), *paired.bounds(means, (1 + LEVEL) / 2)),
        sum(difference > 0 for difference in every),
        sum(difference < 0 for difference in every),
        chance(groups),
    )
