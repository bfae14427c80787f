"""The same questions asked by several processes at once, in one place or in many: paid once."""

import hashlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from chainsight.context import Claim, Turn
from chainsight.teacher.ledger import Ledger


@contextmanager
def turn(claim: Claim, ledger: Ledger, keys: Collection[str]) -> Iterator[Turn]:
    """Be the one who asks `keys`, all of them, answered or not; the others wait.

    Within, the ledger knows what a process before has recorded; afterwards, the shelf has what
    was recorded within. So who waited asks only what a dead holder had not put there yet.
    """
    questions = hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()
    with claim(f"asking/{questions[:16]}", lasting=True) as mine:
        ledger.refresh()
        try:
            yield mine
        finally:
            ledger.flush()
