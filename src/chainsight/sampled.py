"""Candidates question by question: what the stages that choose among them share."""

import hashlib
import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from chainsight.errors import RecordError
from chainsight.records import Candidate

Chains = dict[str, tuple[int, str]]
"""Stripped text to (index, text): a chain that was sampled twice counts once."""


def questions(candidates: Iterable[Candidate]) -> Iterator[list[Candidate]]:
    """The candidates question by question, one question in memory at a time.

    Raises:
        RecordError: the candidates of a question do not stand together.
    """
    seen: set[str] = set()
    for example_id, group in groupby(candidates, key=lambda candidate: candidate.example_id):
        if example_id in seen:
            raise RecordError(
                f"candidates: those of {example_id} do not stand together; write them by question"
            )
        seen.add(example_id)
        yield list(group)


def chains(candidates: Sequence[Candidate]) -> Chains:
    """The different chains that say anything, in the order of their first index."""
    found: Chains = {}
    for candidate in sorted(candidates, key=lambda candidate: candidate.index):
        if key := candidate.text.strip():
            found.setdefault(key, (candidate.index, candidate.text))
    return found


def chance(seed: int, example_id: str) -> random.Random:
    """The question's own random numbers: what is drawn for others does not matter."""
    digest = hashlib.sha256(f"{seed}/{example_id}".encode()).digest()
    return random.Random(digest)  # noqa: S311 - sampling, not secrets
