"""Questions that wait in batches: whoever asked them one by one as well would pay them twice."""

from collections.abc import Set
from pathlib import Path

from chainsight.context import Shelf
from chainsight.errors import TeacherError
from chainsight.store import LocalStore
from chainsight.teacher.batches.intents import Intents


def refuse_waiting(keys: Set[str], folder: Path, shelf: Shelf | None) -> None:
    """Refuse to ask `keys` at once as long as any of them is in a batch.

    `folder` and `shelf` are those of `ask`.

    Raises:
        TeacherError: some are; says how to go on.
    """
    intents = Intents(shelf or LocalStore(folder), folder.name)
    intents.look()
    waiting = [intent for intent in intents.open.values() if not keys.isdisjoint(intent.keys)]
    if not waiting:
        return
    num_keys = sum(key in keys for intent in waiting for key in intent.keys)
    raise TeacherError(
        f"{num_keys} of the questions are in {len(waiting)} batches of an earlier run, which are "
        "paid for: run with distill.mode batch until these are taken in, then go on in any mode; "
        "or cancel them at the API, delete "
        f"{', '.join(intents.name(intent.run_key, '*') for intent in waiting[:3])}"
        f"{', ...' * (len(waiting) > 3)} in the store, and pay anew what they had answered"
    )
