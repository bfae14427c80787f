"""Which of a question's answers to take: by reward, by vote, and by what those are compared with.

The paper's section on the verifier: best-of-N takes the answer with the highest log(aligned /
policy), weighted voting adds up weights by final answer, majority voting counts. Pure.

Answers without a final answer neither vote nor are chosen while there are others: that holds for
all methods but `greedy` and `single`, so that a control differs from `best` by its score alone.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from random import Random
from typing import Literal, get_args

from chainsight.records import Verified

Method = Literal[
    "greedy",
    "single",
    "majority",
    "weighted",
    "weighted_ratio",
    "weighted_sum",
    "best",
    "best_normalised",
    "best_truncated",
    "random",
    "longest",
    "shortest",
    "likeliest",
    "oracle",
]
METHODS: tuple[Method, ...] = get_args(Method)
"""`single` is the mean of the samples; `random`, `longest`, `shortest` and `likeliest` (by the
aligned model alone) are controls; `oracle` knows which answer is right: what choosing can gain at
most."""
SUBSETS = 32
"""Of the samples of a question over which a vote is averaged, where there are more."""
Question = Sequence[Verified]
"""All answers to one question."""


@dataclass(frozen=True)
class Scale:
    """How rewards are read."""

    beta: float = 0.1
    """DPO's: the odds of one answer against another are exp(beta x difference of rewards)."""
    max_words: int = 90
    """Of the truncated reward."""


PAPER = Scale()


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
    found, at = [], 0
    for piece, own in zip(one.pieces, one.rewards, strict=True):
        if at < stop:
            found.append(own)
        at += len(piece)
    return math.fsum(found)


def greedy(question: Question) -> Verified:
    """The greedy answer."""
    return next(one for one in question if one.index < 0)


def samples(question: Question) -> list[Verified]:
    """The sampled answers, in order."""
    return [one for one in question if one.index >= 0]


def value(method: Method, question: Question, n: int, scale: Scale = PAPER) -> float:
    """Expected score of `method` with the first `n` samples, ties split evenly.

    Raises:
        ValueError: there are fewer samples, or `n` is below 1.
    """
    return values(method, [one for one in question if one.index < n], [n], scale)[0]


def values(
    method: Method, question: Question, ns: Iterable[int], scale: Scale = PAPER
) -> list[float]:
    """As `value`, but for each n the mean over all subsets of n samples.

    Exact, but for votes where there are more than SUBSETS subsets: then over so many drawn ones,
    the same for all methods. Raises as `value`.
    """
    every, found = samples(question), []
    for n in ns:
        if not 1 <= n <= len(every):
            raise ValueError(
                f"{question[0].example_id}: {n} of {len(every)} samples; n is 1 to {len(every)}"
            )
        found.append(_value(method, question, every, n, scale))
    return found


def _value(
    method: Method, question: Question, every: Sequence[Verified], n: int, scale: Scale
) -> float:
    scores = [one.score for one in every]
    if method == "greedy":
        return greedy(question).score
    if method == "single":
        return math.fsum(scores) / len(scores)
    if method in WEIGHTS:
        weights = WEIGHTS[method]([reward(one) for one in every], scale)
        ballots = [
            (one.vote, weight, one.score) for one, weight in zip(every, weights, strict=True)
        ]
        held = [elected([ballots[k] for k in own]) for own in subsets(every, n)]
        return math.fsum(held) / len(held)
    return best([(bool(one.vote), KEYS[method](one, scale)) for one in every], scores, n)


def subsets(every: Sequence[Verified], n: int) -> Iterator[Sequence[int]]:
    """Places of `n` of the answers: all subsets, or SUBSETS drawn by the question's name."""
    if math.comb(len(every), n) <= SUBSETS:
        yield from combinations(range(len(every)), n)
        return
    random = Random(f"{every[0].example_id}/{n}")  # noqa: S311 - no secret
    for _ in range(SUBSETS):
        yield random.sample(range(len(every)), n)


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
        total += ways / math.comb(count, n) * math.fsum(scores[k] for k in tied) / len(tied)
        before = after
    return total


def elected(ballots: Sequence[tuple[str, float, float]]) -> float:
    """Mean score of the answers whose weights add up to most; of all answers if none votes.

    `ballots` are votes, their weights, and the scores of those who cast them.
    """
    parties: dict[str, list[tuple[float, float]]] = {}
    for vote, weight, score in ballots:
        if vote:
            parties.setdefault(vote, []).append((weight, score))
    if not parties:
        return math.fsum(score for _, _, score in ballots) / len(ballots)
    sums = {vote: math.fsum(weight for weight, _ in own) for vote, own in parties.items()}
    most = max(sums.values())
    means = [
        math.fsum(score for _, score in parties[vote]) / len(parties[vote])
        for vote, total in sums.items()
        if math.isclose(total, most, rel_tol=1e-9)
    ]
    return math.fsum(means) / len(means)


def odds(rewards: Sequence[float], scale: Scale) -> list[float]:
    """exp(beta x reward), as shares of the highest: the odds that DPO's model of preferences
    (Bradley and Terry's) gives an answer against the others."""
    most = max(rewards)
    return [math.exp(scale.beta * (one - most)) for one in rewards]


WEIGHTS: dict[Method, Callable[[Sequence[float], Scale], Sequence[float]]] = {
    "majority": lambda rewards, _: [1.0] * len(rewards),
    "weighted": odds,
    "weighted_ratio": lambda rewards, _: odds(rewards, Scale(beta=1.0)),
    "weighted_sum": lambda rewards, _: rewards,
}
"""What the votes of answers with these rewards count."""
KEYS: dict[Method, Callable[[Verified, Scale], float]] = {
    "best": lambda one, _: reward(one),
    "best_normalised": lambda one, _: normalised_reward(one),
    "best_truncated": lambda one, scale: truncated_reward(one, scale.max_words),
    "random": lambda _one, _: 0.0,
    "longest": lambda one, _: one.num_tokens,
    "shortest": lambda one, _: -one.num_tokens,
    "likeliest": lambda one, _: one.logprob_aligned,
    "oracle": lambda one, _: one.score,
}
"""The answer with the highest is taken."""
