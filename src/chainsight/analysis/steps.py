"""Which tokens of a chain of thought are to blame: the most negative rewards against known slips.

The paper (6.8) sees the implicit reward fall at the first error of a chain. Where the first wrong
step is known (`credit`), this says how often it is found: a slip is found if one of the k most
suspicious tokens lies in it. Beside it stand chance, which is exact, and a stronger control: how
little the policy itself expected each token.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from chainsight.analysis.intervals import LEVEL, Array, Interval
from chainsight.errors import RecordError
from chainsight.paired import RESAMPLES
from chainsight.records import Verified

Span = tuple[int, int]
"""Characters of a text: the first, and the one after the last."""

STRONG_SHARE = 0.5
"""Of the most negative reward: what a strongly negative one has at least. From a quarter to the
whole it hardly matters (docs/log.md)."""
STRONG_NATS = 0.1
"""What a strongly negative token has lost at least: it has become 10 % less likely."""
UNCERTAIN = math.log(0.9)
"""Below this log-probability under the policy a token might well have been another. Elsewhere
no reward is far from zero, so that chance among all tokens is easily beaten."""


@dataclass(frozen=True)
class Token:
    """A token of an answer."""

    span: Span
    reward: float
    expected: float
    """Log-probability under the policy; nan where it was not kept."""


def tokens(answer: Verified) -> list[Token]:
    """An answer's tokens, the end-of-turn included.

    Raises:
        RecordError: the pieces are not the text.
    """
    at = -"".join(answer.pieces).find(answer.text)
    if at > 0:
        raise RecordError(
            f"{answer.example_id}, answer {answer.index}: its pieces are not its text; make it "
            "again (stage verify)"
        )
    found = []
    logprobs = answer.logprobs or (math.nan,) * len(answer.pieces)
    for piece, reward, logprob in zip(answer.pieces, answer.rewards, logprobs, strict=True):
        found.append(Token((at, at + len(piece)), reward, logprob - reward))
        at += len(piece)
    return found


def uncertain(chain: Sequence[Token]) -> list[Token]:
    """Those that might well have been others."""
    return [token for token in chain if token.expected < UNCERTAIN]


def inside(token: Token, span: Span) -> bool:
    """Whether a character of the token is in the span."""
    return max(token.span[0], span[0]) < min(token.span[1], span[1])


# --- suspects --------------------------------------------------------------------------------

Finder = Callable[[Sequence[Token]], Sequence[Token]]
"""The tokens that it suspects, the most suspicious first."""


def by_reward(chain: Sequence[Token]) -> list[Token]:
    """The most negative first; of equal ones the earlier."""
    return sorted(chain, key=lambda token: token.reward)


def by_surprise(chain: Sequence[Token]) -> list[Token]:
    """What the policy expected least first: a control that knows nothing of DPO."""
    return sorted(chain, key=lambda token: token.expected)


def first_strong(chain: Sequence[Token]) -> list[Token]:
    """The first strongly negative token, if there is one."""
    lowest = min((token.reward for token in chain), default=0.0)
    limit = min(-STRONG_NATS, STRONG_SHARE * lowest)
    return [token for token in chain if token.reward <= limit][:1]


# --- how often -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Try:
    """Whether a slip was found, and the chance that random tokens would have found it."""

    question: str
    found: bool
    chance: float


def search(question: str, chain: Sequence[Token], slip: Span, finder: Finder, k: int) -> Try:
    """Look for a slip in the first `k` tokens that `finder` suspects."""
    suspects = finder(chain)[:k]
    num_inside = sum(inside(token, slip) for token in chain)
    found = any(inside(token, slip) for token in suspects)
    return Try(question, found, chance(len(chain), num_inside, len(suspects)))


def chance(num_tokens: int, num_inside: int, num_picked: int) -> float:
    """That one of the random picks is inside (hypergeometric)."""
    ways = math.comb(num_tokens - num_inside, num_picked)
    return 1 - ways / math.comb(num_tokens, num_picked)


@dataclass(frozen=True)
class Rate:
    """How often slips were found, beside chance."""

    num_slips: int
    num_questions: int
    found: Interval
    """Share of the slips."""
    chance: float
    ratio: Interval
    """Found, to chance; nan where there was none."""


def rate(tries: Sequence[Try]) -> Rate:
    """The rate over all slips. Whole questions are drawn again, as their chains are alike."""
    assert tries, "no slip to find"
    questions: dict[str, list[float]] = {}
    for one in tries:
        sums = questions.setdefault(one.question, [0.0, 0.0, 0.0])
        for at, value in enumerate((one.found, one.chance, 1)):
            sums[at] += value
    each = np.array(list(questions.values()))
    shares = np.full(len(each), 1 / len(each))
    drawn = np.random.default_rng(0).multinomial(len(each), shares, RESAMPLES) @ each
    found, by_chance, count = each.sum(axis=0)
    return Rate(
        num_slips=len(tries),
        num_questions=len(each),
        found=_estimate(found / count, drawn[:, 0] / drawn[:, 2]),
        chance=float(by_chance / count),
        ratio=_ratio(found, by_chance, drawn[drawn[:, 1] > 0]),
    )


def _ratio(found: float, by_chance: float, drawn: Array) -> Interval:
    if not by_chance:
        return Interval(math.nan, math.nan, math.nan)
    return _estimate(found / by_chance, drawn[:, 0] / drawn[:, 1])


def _estimate(value: float, drawn: Array) -> Interval:
    low, high = np.quantile(drawn, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(float(value), float(low), float(high))
