"""The serving Deployment follows the champion; a champion that does not get ready is taken back.

What is under way stands in the Deployment itself: whoever looks next goes on, and of two who
patch at once one is refused.
"""

from collections.abc import Callable
from typing import Protocol

from chainsight.launch.served import Served
from chainsight.promotion.aliases import project
from chainsight.promotion.entry import By, Entry, following, line_back_to
from chainsight.promotion.log import Snapshot
from chainsight.promotion.place import Place
from chainsight.tracking import CONTENT_DIGEST

Say = Callable[..., None]


class Rollout(Protocol):
    """Whoever serves (`chainsight.launch.deployment.Deployment`)."""

    def look(self) -> Served:
        """What it serves, and how far its rollout is."""
        ...

    def roll(self, version: int, last_ready: int | None) -> bool:
        """Begin to serve `version`, and note which one was ready last. False: overtaken."""
        ...

    def confirm(self, version: int) -> bool:
        """Note that `version` was ready: its rollout is done. False: overtaken."""
        ...


def follow(
    place: Place, rollout: Rollout, *, seconds: float, who: str, say: Say, by: By = "reconciler"
) -> None:
    """One step: begin a rollout, see one through, or take a champion back that does not serve.

    Raises:
        LaunchError: the cluster does not answer or refuses.
    """
    if _step(place, rollout, seconds, who, by, say):
        _step(place, rollout, seconds, who, by, say)  # back to what served before, at once


def _step(place: Place, rollout: Rollout, seconds: float, who: str, by: By, say: Say) -> bool:
    """Whether the champion is another now."""
    snapshot = place.log.snapshot()
    champion, served = snapshot.champion, rollout.look()
    if champion is None:
        return False
    if served.version != champion:
        last_ready = served.version if served.ready else served.last_ready
        if rollout.roll(champion, last_ready):
            say("rollout begun", version=champion, last_ready=last_ready)
        return False
    if served.last_ready == champion:
        return False  # it was ready once: what happens now is no matter of the model
    if served.ready:
        if rollout.confirm(champion):
            say("rollout done", version=champion)
        return False
    trouble = _trouble(served, seconds)
    if trouble is None or _is_known(place, snapshot):
        return False
    return _take_back(place, snapshot, served, trouble, who, by, say)


def _trouble(served: Served, seconds: float) -> str | None:
    if served.failed:
        return served.failed
    if served.seconds is not None and served.seconds > seconds:
        waited = f"not ready within promotion.rollout_seconds ({seconds:g} s)"
        return f"{waited}: {served.reason}" if served.reason else waited
    return None


def _is_known(place: Place, snapshot: Snapshot) -> bool:
    """Whether this champion's failure was logged before: there was nothing to go back to."""
    entry = place.log.entry(snapshot.since)
    return entry.action == "rollout_failed" and entry.from_version == entry.to_version


def _take_back(
    place: Place,
    snapshot: Snapshot,
    served: Served,
    trouble: str,
    who: str,
    by: By,
    say: Say,
) -> bool:
    """Log it against the state that it was seen in; overtaken or not, it is another one now."""
    entry = _entry(place, snapshot, served, trouble, who, by)
    place.step("decided")
    if not place.log.append(entry):
        return True
    place.step("appended")
    project(place, entry)
    say("rollout failed", version=entry.from_version, back_to=entry.to_version, why=trouble)
    return True


def _entry(
    place: Place, snapshot: Snapshot, served: Served, trouble: str, who: str, by: By
) -> Entry:
    failed = snapshot.champion
    assert failed is not None
    target = _target(place, snapshot, served)
    line = snapshot.line if target == failed else line_back_to(snapshot.line[:-1], target)
    version = place.registry.get(place.model, failed)
    return following(
        snapshot.head,
        "rollout_failed",
        model=place.model,
        who=who,
        by=by,
        why=trouble if target != failed else f"{trouble}; there is none to go back to",
        line=line,
        reference=f"models:/{place.model}/{failed}",
        from_version=failed,
        to_version=target,
        content_digest=version.tags.get(CONTENT_DIGEST, "") if version else "",
    )


def _target(place: Place, snapshot: Snapshot, served: Served) -> int:
    """The version that was ready last, else the newest below the champion, else itself."""
    below = [one for one in snapshot.line[:-1] if place.registry.get(place.model, one)]
    if served.last_ready in below:
        return int(served.last_ready or 0)
    assert snapshot.champion is not None
    return below[-1] if below else snapshot.champion
