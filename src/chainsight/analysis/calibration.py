"""Does a signal know which answers are right? Ranking and calibration, over and within questions.

Shapes: n answers, u different values of the signal, r resamples, b bins. Answers to one question
are alike, so questions are resampled, with all their answers. Pure.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chainsight import paired
from chainsight.analysis import voting
from chainsight.analysis.intervals import LEVEL, Array, Interval
from chainsight.analysis.voting import Question
from chainsight.metrics import is_right
from chainsight.paired import RESAMPLES
from chainsight.records import Verified

NUM_BINS = 8
CELLS = 2**22
"""Of resamples by answers held at once: 32 MiB."""
RIDGE = 1e-3
"""On the slope of the logistic fit, so that it is finite where the signal separates all."""
SIGNALS: Mapping[str, Callable[[Verified], float]] = {
    "reward": voting.reward,
    "reward per token": voting.normalised_reward,
    "log-probability": lambda one: one.logprob_aligned,
    "brevity": lambda one: -one.num_tokens,
}
"""The implicit reward, log(aligned / policy), and two controls that need no second model."""
AGREEMENT = "agreement"
"""Share of a question's samples that give the most frequent answer; it is about that answer."""


@dataclass(frozen=True)
class Judged:
    """Answers with a signal and a verdict."""

    question_n: NDArray[np.int64]
    """Number of the question, from 0."""
    value_n: Array
    right_n: NDArray[np.bool_]

    def only(self, kept_n: NDArray[np.bool_] | NDArray[np.intp]) -> "Judged":
        """Some of them, or all in another order."""
        return Judged(self.question_n[kept_n], self.value_n[kept_n], self.right_n[kept_n])


@dataclass(frozen=True)
class Bin:
    """Answers of about the same predicted chance to be right."""

    count: int
    predicted: float
    """Mean over the bin, 0 to 1."""
    right: Interval
    """Share of right ones."""


@dataclass(frozen=True)
class Reliability:
    """A logistic fit on half of the questions, held against the other half."""

    bins: tuple[Bin, ...]
    error: float
    """Expected calibration error: mean distance of bins' shares from what was predicted."""
    chance_error: float
    """What it would be on average were the predictions exact: bins are small."""


@dataclass(frozen=True)
class Calibration:
    """What a signal says of an answer being right."""

    signal: str
    num_answers: int
    num_questions: int
    base_rate: float
    """Share of right answers: the area under the precision-recall curve of no signal."""
    auroc: Interval
    """Chance that a right answer has a higher value than a wrong one, of any question."""
    auprc: Interval
    """Average precision."""
    within: Interval | None
    """As `auroc`, but of the same question; mean over questions with both kinds; None: no such."""
    num_mixed: int
    """Questions with right and wrong answers."""
    reliability: Reliability


def calibrations(questions: Sequence[Question]) -> list[Calibration]:
    """For each of the `SIGNALS`, and for agreement, over the samples that have an answer; none
    where all are right or all are wrong."""
    found = {name: judged(questions, signal) for name, signal in SIGNALS.items()}
    found[AGREEMENT] = majorities(questions)
    return [
        calibration(name, own)
        for name, own in found.items()
        if own.right_n.any() and not own.right_n.all()
    ]


def judged(questions: Sequence[Question], signal: Callable[[Verified], float]) -> Judged:
    """The samples that have an answer: that the others are wrong needs no signal."""
    rows = [
        (at, signal(one), is_right(one.score))
        for at, question in enumerate(questions)
        for one in voting.samples(question)
        if one.vote
    ]
    return _judged(rows)


def majorities(questions: Sequence[Question]) -> Judged:
    """Of each question its most frequent answer, the first of those, with its share of samples."""
    rows = []
    for at, question in enumerate(questions):
        samples = voting.samples(question)
        votes = Counter(one.vote for one in samples if one.vote)
        if votes:
            vote, count = votes.most_common(1)[0]
            first = next(one for one in samples if one.vote == vote)
            rows.append((at, count / len(samples), is_right(first.score)))
    return _judged(rows)


def _judged(rows: Sequence[tuple[int, float, bool]]) -> Judged:
    numbers, values, right = zip(*rows, strict=True) if rows else ((), (), ())
    return Judged(
        np.array(numbers, np.int64), np.array(values, np.float64), np.array(right, np.bool_)
    )


def calibration(signal: str, found: Judged) -> Calibration:
    """Every figure of a signal; there are right and wrong answers."""
    areas = _within(found)
    over_all, precision = _areas(found, auroc, average_precision)
    low, high = (
        paired.bounds([paired.resampled_means(areas, seed=signal)], (1 + LEVEL) / 2)
        if areas
        else (0.0, 1.0)
    )
    return Calibration(
        signal=signal,
        num_answers=len(found.value_n),
        num_questions=len(set(found.question_n.tolist())),
        base_rate=float(found.right_n.mean()),
        auroc=over_all,
        auprc=precision,
        within=Interval(math.fsum(areas) / len(areas), low, high) if areas else None,
        num_mixed=len(areas),
        reliability=reliability(found),
    )


# --- ranking ---------------------------------------------------------------------------------


def auroc(right_ru: Array, wrong_ru: Array) -> Array:
    """Area under the ROC curve from weights of right and wrong answers, values ascending; ties
    count half, (r,)."""
    below_ru = np.cumsum(wrong_ru, axis=1) - wrong_ru / 2
    return _ratio((right_ru * below_ru).sum(axis=1), right_ru.sum(axis=1) * wrong_ru.sum(axis=1))


def average_precision(right_ru: Array, wrong_ru: Array) -> Array:
    """Area under the precision-recall curve: precision at each right answer, mean, (r,)."""
    found_ru = np.cumsum(right_ru[:, ::-1], axis=1)
    all_ru = found_ru + np.cumsum(wrong_ru[:, ::-1], axis=1)
    precision_ru = _ratio(found_ru, all_ru)
    return _ratio((right_ru[:, ::-1] * precision_ru).sum(axis=1), right_ru.sum(axis=1))


def _ratio(above: Array, below: Array) -> Array:
    """NaN where a resample has no answer of a kind."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


def _areas(found: Judged, *areas: Callable[[Array, Array], Array]) -> list[Interval]:
    """Each area with its interval; the resamples are the same for all."""
    found = found.only(np.argsort(found.value_n, kind="stable"))
    weights = _by_value(found, np.ones((1, len(found.value_n))))
    drawn = [_by_value(found, weights_rn) for weights_rn in _resamples(found)]
    made = []
    for area in areas:
        values = np.concatenate([area(*one) for one in drawn])
        low, high = np.nanquantile(values, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
        made.append(Interval(float(area(*weights)[0]), float(low), float(high)))
    return made


def _by_value(found: Judged, weights_rn: Array) -> tuple[Array, Array]:
    """Weights of right and of wrong answers by value, each (r, u); values are ascending."""
    _, starts = np.unique(found.value_n, return_index=True)
    all_ru = np.add.reduceat(weights_rn, starts, axis=1)
    right_ru = np.add.reduceat(weights_rn * found.right_n, starts, axis=1)
    return right_ru, all_ru - right_ru


def _resamples(found: Judged) -> Iterator[Array]:
    """How often each answer is in each resample of the questions, (r, n), in parts."""
    random = np.random.default_rng(0)
    numbers, places_n = np.unique(found.question_n, return_inverse=True)
    at_once = max(1, CELLS // len(places_n))
    for start in range(0, RESAMPLES, at_once):
        shares = np.full(len(numbers), 1 / len(numbers))
        drawn = random.multinomial(len(numbers), shares, min(at_once, RESAMPLES - start))
        yield drawn[:, places_n].astype(np.float64)


def _within(found: Judged) -> list[float]:
    """The area under the ROC curve of each question that has right and wrong answers."""
    areas = []
    found = found.only(np.lexsort((found.value_n, found.question_n)))
    for own in np.split(
        np.arange(len(found.value_n)), np.flatnonzero(np.diff(found.question_n)) + 1
    ):
        (area,) = auroc(*_by_value(found.only(own), np.ones((1, len(own)))))
        if not np.isnan(area):
            areas.append(float(area))
    return areas


# --- calibration -----------------------------------------------------------------------------


def reliability(found: Judged) -> Reliability:
    """Fit chances on one half of the questions, drawn by lot, and hold them against the other."""
    random = np.random.default_rng(0)
    numbers = random.permutation(np.unique(found.question_n))
    fitted_n = np.isin(found.question_n, numbers[: len(numbers) // 2])
    if not fitted_n.any():
        return Reliability((), 0.0, 0.0)
    chance = logistic_fit(found.value_n[fitted_n], found.right_n[fitted_n])
    rest = found.only(~fitted_n)
    predicted_n = chance(rest.value_n)
    bin_n = _bins(predicted_n)
    drawn_rn = (random.random((200, len(predicted_n))) < predicted_n).astype(np.float64)
    return Reliability(
        bins=tuple(_bin(rest, predicted_n, bin_n == at) for at in range(bin_n.max() + 1)),
        error=float(_errors(predicted_n, rest.right_n[None].astype(np.float64), bin_n)[0]),
        chance_error=float(_errors(predicted_n, drawn_rn, bin_n).mean()),
    )


def logistic_fit(value_n: Array, right_n: NDArray[np.bool_]) -> Callable[[Array], Array]:
    """Chance to be right by value, of greatest likelihood (Newton's method)."""
    middle, scale = value_n.mean(), value_n.std() or 1.0

    def inputs(values: Array) -> Array:
        return np.stack([np.ones_like(values), (values - middle) / scale], axis=1)

    x, weights, ridge = inputs(value_n), np.zeros(2), np.diag([1e-9, RIDGE]) * len(value_n)
    for _ in range(25):
        chance = _sigmoid(x @ weights)
        slope = x.T @ (right_n - chance) - ridge @ weights
        bend = (x * (chance * (1 - chance))[:, None]).T @ x + ridge
        weights = weights + np.linalg.solve(bend, slope)
    return lambda values: _sigmoid(inputs(values) @ weights)


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1 + np.tanh(x / 2))


def _bins(predicted_n: Array) -> NDArray[np.int64]:
    """Number of each answer's bin; bins are about equally large, equal chances are in one."""
    cuts = np.unique(np.quantile(predicted_n, np.arange(1, NUM_BINS) / NUM_BINS, method="lower"))
    return np.unique(np.searchsorted(cuts, predicted_n), return_inverse=True)[1]


def _bin(rest: Judged, predicted_n: Array, own: NDArray[np.bool_]) -> Bin:
    part = rest.only(own)
    (share,) = _areas(part, lambda right, wrong: _ratio(right.sum(1), (right + wrong).sum(1)))
    return Bin(int(own.sum()), float(predicted_n[own].mean()), share)


def _errors(predicted_n: Array, right_rn: Array, bin_n: NDArray[np.int64]) -> Array:
    """Expected calibration error of each row of verdicts, (r,)."""
    gaps_bn = (np.arange(bin_n.max() + 1)[:, None] == bin_n) * 1.0
    errors_r: Array = np.abs((right_rn - predicted_n) @ gaps_bn.T).sum(axis=1) / len(bin_n)
    return errors_r
