"""Which of a question's answers to take: by reward, by vote, and by what those are compared with.

The paper's section on the verifier: best-of-N takes the answer with the highest log(aligned /
policy), weighted voting adds up weights by final answer, majority voting counts. Pure.

Answers without a final answer neither vote nor are chosen while there are others: that holds for
all methods but `greedy` and `single`, so that a control differs from `best` by its score alone.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations, groupby
from random import Random
from typing import Literal, get_args

from chainsight.records import Verified

Method = Literal[
    "greedy",
    "single",
    "majority",
    "weighted",
    "weighted_sum",
    "weighted_sigmoid",
    "best",
    "best_normalised",
    "best_truncated",
    "random",
    "longest",
    "shortest",
    "oracle",
]
METHODS: tuple[Method, ...] = get_args(Method)
"""`single` is the mean of the samples; `random`, `longest` and `shortest` are controls; `oracle`
knows which answer is right: what choosing can gain at most."""
SUBSETS = 32
"""Of the samples of a question over which a vote is averaged, where there are more."""
Question = Sequence[Verified]
"""All answers to one question."""


def reward(one: Verified) -> float:
    """log(aligned / policy) of the whole answer, in nats."""
    return one.logprob_aligned - one.logprob_policy


def normalised_reward(one: Verified) -> float:
    """The mean over the tokens."""
    return reward(one) / max(one.num_tokens, 1)


def truncated_reward(one: Verified, max_words: int) -> float:
    """Of the tokens that begin within the first `max_words` words: what DPO has learned from."""
    whole = "".join(one.pieces)
    start = len(whole) - len(whole.lstrip())
    stop = start + len(" ".join(whole[start:].split(" ")[:max_words]))
    total = at = 0.0
    for piece, own in zip(one.pieces, one.rewards, strict=True):
        total += own if at < stop else 0.0
        at += len(piece)
    return total


def value(method: Method, question: Question, n: int, max_words: int = 90) -> float:
    """Expected score of `method` with the first `n` samples, ties split evenly.

    Raises:
        ValueError: there are fewer samples, or `n` is below 1.
    """
    if method == "greedy":
        return greedy(question).score
    first = samples(question)[:n]
    if n < 1 or len(first) < n:
        raise ValueError(f"{len(first)} samples of {question[0].example_id}, but n = {n}")
    return _expected(method, first, n, max_words, lambda: [range(n)])


def values(
    method: Method, question: Question, sizes: Iterable[int], max_words: int = 90
) -> list[float]:
    """As `value`, but for each n in `sizes` the mean over all subsets of n samples.

    Exact, but for votes where there are more than SUBSETS subsets: then over so many drawn ones,
    the same for all methods.
    """
    if method == "greedy":
        return [greedy(question).score for _ in sizes]
    every = samples(question)
    return [
        _expected(method, every, n, max_words, lambda n=n: subsets(every, n))  # type: ignore[misc]
        for n in sizes
    ]


def greedy(question: Question) -> Verified:
    """The greedy answer."""
    return next(one for one in question if one.index < 0)


def samples(question: Question) -> list[Verified]:
    """The sampled answers, in order."""
    return [one for one in question if one.index >= 0]


def subsets(every: Sequence[Verified], n: int) -> Iterator[Sequence[int]]:
    """Places of `n` of the answers: all subsets, or SUBSETS drawn by the question's name."""
    if math.comb(len(every), n) <= SUBSETS:
        yield from combinations(range(len(every)), n)
        return
    random = Random(f"{every[0].example_id}/{n}")  # noqa: S311 - no secret
    for _ in range(SUBSETS):
        yield random.sample(range(len(every)), n)


def _expected(
    method: Method,
    every: Sequence[Verified],
    n: int,
    max_words: int,
    choices: Callable[[], Iterable[Sequence[int]]],
) -> float:
    """The mean score over the subsets of `n` of `every`; votes are held in those of `choices`."""
    scores = [one.score for one in every]
    if method == "single":
        return math.fsum(scores) / len(scores)
    if method in _WEIGHTS:
        weights = _WEIGHTS[method]
        rewards, votes = [reward(one) for one in every], [one.vote for one in every]
        found = [
            elected([votes[k] for k in own], weights([rewards[k] for k in own]),
                    [scores[k] for k in own])
            for own in choices()
        ]  # fmt: skip
        return math.fsum(found) / len(found)
    keys = [(bool(one.vote), _key(method, one, max_words)) for one in every]
    return best(keys, scores, n)


def _key(method: Method, one: Verified, max_words: int) -> float:
    """The highest is chosen."""
    keys: dict[Method, Callable[[], float]] = {
        "best": lambda: reward(one),
        "best_normalised": lambda: normalised_reward(one),
        "best_truncated": lambda: truncated_reward(one, max_words),
        "random": lambda: 0.0,
        "longest": lambda: one.num_tokens,
        "shortest": lambda: -one.num_tokens,
        "oracle": lambda: one.score,
    }
    return keys[method]()


def best(keys: Sequence[tuple[bool, float]], scores: Sequence[float], n: int) -> float:
    """Mean score of the highest key over all subsets of size `n`, exactly; ties split evenly.

    Of C(N, n) subsets C(N - r, n) have none of the r highest.
    """
    order = sorted(range(len(keys)), key=keys.__getitem__, reverse=True)
    total, before, count = 0.0, 0, len(keys)
    for _, group in groupby(order, key=keys.__getitem__):
        tied = list(group)
        after = before + len(tied)
        ways = math.comb(count - before, n) - math.comb(count - after, n)
        total += ways * math.fsum(scores[k] for k in tied) / len(tied)
        before = after
    return total / math.comb(count, n)


def elected(votes: Sequence[str], weights: Sequence[float], scores: Sequence[float]) -> float:
    """Mean score of the answers whose weights add up to most; of all answers if none votes."""
    weight: dict[str, list[float]] = {}
    score: dict[str, list[float]] = {}
    for vote, own, right in zip(votes, weights, scores, strict=True):
        if vote:
            weight.setdefault(vote, []).append(own)
            score.setdefault(vote, []).append(right)
    if not weight:
        return math.fsum(scores) / len(scores)
    sums = {vote: math.fsum(own) for vote, own in weight.items()}
    most = max(sums.values())
    winners = [vote for vote, total in sums.items() if math.isclose(total, most, abs_tol=1e-12)]
    return math.fsum(math.fsum(score[v]) / len(score[v]) for v in winners) / len(winners)


def _even(rewards: Sequence[float]) -> list[float]:
    return [1.0] * len(rewards)


def _odds(rewards: Sequence[float]) -> list[float]:
    """The ratios aligned / policy themselves, as shares of the highest: no overflow."""
    highest = max(rewards)
    return [math.exp(one - highest) for one in rewards]


def _sigmoid(rewards: Sequence[float]) -> list[float]:
    return [0.5 * (1 + math.tanh(one / 2)) for one in rewards]


_WEIGHTS: dict[str, Callable[[Sequence[float]], Sequence[float]]] = {
    "majority": _even,
    "weighted": _odds,
    "weighted_sum": list,
    "weighted_sigmoid": _sigmoid,
}
"""Weights of answers with these rewards."""
