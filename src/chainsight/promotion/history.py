"""What the log and MLflow say of each other at this moment."""

from chainsight.promotion.place import Place
from chainsight.tracking import CHAMPION, PREVIOUS


def disagreements(place: Place) -> list[str]:
    """Where the aliases in MLflow are not what the log says, in words; the log is believed.

    Raises:
        StoreError, TrackingError: they do not answer.
    """
    snapshot = place.log.snapshot()
    aliases = place.registry.aliases(place.model)
    previous = snapshot.head.previous if snapshot.head else None
    wanted = {CHAMPION: snapshot.champion, PREVIOUS: previous}
    found = [
        f"the alias {alias} of {place.model} is {_at(aliases.get(alias))}, the log says "
        f"{_at(number)}; the reconciler or the next promotion sees to it"
        for alias, number in wanted.items()
        if aliases.get(alias) != number
    ]
    if snapshot.open:
        found.append(f"entry {snapshot.open[0]} is open: its writer is at work, or has died")
    return found


def _at(number: int | None) -> str:
    return "not set" if number is None else f"at version {number}"
