"""Which part of a chain of thought is to blame: the most negative rewards against known slips.

The paper (6.8) sees the implicit reward fall at the first error of a chain. Where the first wrong
step is known, this measures how often: a slip is found if a stretch of text that holds it is among
the k most suspicious ones. Beside it stand chance, which is exact, and a stronger control: how
little the policy itself expected each token.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from chainsight.errors import RecordError
from chainsight.records import Verified

Span = tuple[int, int]
"""Characters of the text: the first, and the one after the last."""

STRONG_SHARE = 0.5
"""Of the most negative reward: what a strongly negative one has at least. From a quarter to the
whole it hardly matters (docs/log.md, credit assignment)."""
STRONG_NATS = 0.1
"""Least fall of a strongly negative token: it has become 10 % less likely."""
STEP_END = re.compile(r"[.,;:!?](?=\s|$)|\n")
RESAMPLES = 1000


@dataclass(frozen=True)
class Part:
    """A stretch of an answer's text."""

    span: Span
    reward: float
    """Sum over its tokens, in nats."""
    surprise: float
    """Least log-probability that the policy gave one of its tokens, in nats; nan: not kept."""


def tokens(answer: Verified) -> list[Part]:
    """An answer's tokens, the end-of-turn included.

    Raises:
        RecordError: the pieces are not the text.
    """
    whole = "".join(answer.pieces)
    at = -whole.find(answer.text) if answer.text else 0
    if at > 0:
        raise RecordError(
            f"{answer.example_id}, answer {answer.index}: its pieces are not its text; judge it "
            "again (stage verify)"
        )
    parts = []
    logprobs = answer.logprobs or (math.nan,) * len(answer.pieces)
    for piece, reward, logprob in zip(answer.pieces, answer.rewards, logprobs, strict=True):
        parts.append(Part((at, at + len(piece)), reward, logprob - reward))
        at += len(piece)
    return parts


def words(answer: Verified) -> list[Part]:
    """Tokens put together to words: one begins where the text before it ends, or with a space."""
    text = answer.text
    return _joined(tokens(answer), lambda start: text[start : start + 1].isspace())


def steps(answer: Verified) -> list[Part]:
    """Tokens put together to what stands between commas, full stops and the like."""
    ends = {end.end() for end in STEP_END.finditer(answer.text)}
    return _joined(tokens(answer), lambda start: start in ends)


def _joined(parts: Sequence[Part], begins: Callable[[int], bool]) -> list[Part]:
    groups: list[list[Part]] = []
    for part in parts:
        if not groups or begins(part.span[0]):
            groups.append([])
        groups[-1].append(part)
    return [
        Part(
            (group[0].span[0], group[-1].span[1]),
            math.fsum(part.reward for part in group),
            min(part.surprise for part in group),
        )
        for group in groups
    ]


# --- suspects --------------------------------------------------------------------------------

Finder = Callable[[Sequence[Part]], Sequence[int]]
"""Numbers of parts, the most suspicious first."""


def by_reward(parts: Sequence[Part]) -> list[int]:
    """The most negative first; of equal ones the earlier."""
    return sorted(range(len(parts)), key=lambda at: parts[at].reward)


def by_surprise(parts: Sequence[Part]) -> list[int]:
    """What the policy had expected least first: a control that knows nothing of DPO."""
    return sorted(range(len(parts)), key=lambda at: parts[at].surprise)


def first_strong(parts: Sequence[Part]) -> list[int]:
    """The first strongly negative part, if there is any."""
    limit = min(-STRONG_NATS, STRONG_SHARE * min(part.reward for part in parts))
    return [at for at, part in enumerate(parts) if part.reward <= limit][:1]


def chance(num_parts: int, num_wrong: int, num_picked: int) -> float:
    """That random parts hold a wrong one (hypergeometric)."""
    missed = math.comb(num_parts - num_wrong, num_picked) / math.comb(num_parts, num_picked)
    return 1 - missed
