"""The aliases `champion` and `previous` in MLflow follow the log; whoever moves them is noticed.

Why it is done in these steps stands in `chainsight.promotion.log`.
"""

from datetime import datetime
from functools import partial
from itertools import count

from chainsight.errors import ArtifactError, PromotionError
from chainsight.promotion.checks import objection, overridden, recorded_decision, verify
from chainsight.promotion.entry import (
    NOBODY_KNOWN,
    By,
    Entry,
    following,
    line_back_to,
)
from chainsight.promotion.log import Snapshot
from chainsight.promotion.place import Place
from chainsight.tracking import CHAMPION, CONTENT_DIGEST, PREVIOUS, Version

LATE_SECONDS = 600.0
"""Whoever has appended an entry and been overtaken may write its alias this much later, no more."""


def project(place: Place, entry: Entry) -> None:
    """Set the aliases that an own entry, or a later one, asks for; then close the entry."""
    target = entry
    while True:
        _point(place, target)
        head = place.log.snapshot().head
        assert head is not None
        if head.since == target.since:
            break
        target = head
    place.step("checked")
    place.log.close(entry.number)


def _point(place: Place, state: Entry) -> None:
    _set(place, CHAMPION, state.champion)
    place.step("champion set")
    _set(place, PREVIOUS, previous_of(place, state.line))
    place.step("previous set")


def previous_of(place: Place, line: tuple[int, ...]) -> int | None:
    """The newest version below the champion that has not been deleted in MLflow."""
    below = reversed(line[:-1])
    return next((one for one in below if place.registry.get(place.model, one)), None)


def _set(place: Place, alias: str, number: int | None) -> None:
    if number is not None:
        place.registry.set_alias(Version(place.model, number, "", ""), alias)
    elif alias in place.registry.aliases(place.model):
        place.registry.delete_alias(place.model, alias)


def tidy(place: Place, snapshot: Snapshot) -> None:
    """Where the alias is as the log says: set `previous`, and close what writers left open."""
    if not ripe(place, snapshot):
        return
    aliases = place.registry.aliases(place.model)
    if aliases.get(CHAMPION) != snapshot.champion:
        return
    previous = previous_of(place, snapshot.line)
    if aliases.get(PREVIOUS) != previous:
        _set(place, PREVIOUS, previous)
    writing = {entry.number for entry in writers(place, snapshot)} - {snapshot.since}
    for number in set(snapshot.open) - writing:
        place.log.close(number)


def observe(place: Place, *, who: str, by: By) -> Snapshot:
    """Bring the log and the alias into agreement; what another writer is about to set is left.

    Returns:
        The log, in agreement with the alias or with a writer at work.

    Raises:
        PromotionError: the log is damaged.
        StoreError, TrackingError: they do not answer. Nothing was changed.
    """
    for tried in count():
        snapshot = place.log.snapshot()
        place.step("log read")
        at = place.registry.aliases(place.model).get(CHAMPION)
        if at == snapshot.champion:
            return snapshot
        entry = _explained(place, snapshot, at, who, by)
        if entry is None:
            return snapshot
        place.step("decided")
        if place.log.append(entry):  # not if the log has moved on, and with it the alias
            place.step("appended")
            project(place, entry)
        else:
            place.pause(tried)
    raise AssertionError("unreachable")


def _explained(place: Place, snapshot: Snapshot, at: int | None, who: str, by: By) -> Entry | None:
    """The entry that answers an alias at `at`, where the log says otherwise; None: wait."""
    in_flight = at in _explained_by_open(place, snapshot)
    if in_flight and not ripe(place, snapshot):
        return None
    if at is not None and not in_flight:
        return _moved(place, snapshot, at, by)
    if _is_gone(place, snapshot.champion):
        return _fall_back(place, snapshot, at, who, by)
    if in_flight:
        why = f"the writer of entry {snapshot.since} ended before the alias was set"
        return _repaired(place, snapshot, at, why, who, by)
    why = "the alias champion was deleted in MLflow; to take a model out, roll back"
    return _repaired(place, snapshot, at, why, NOBODY_KNOWN, by)


def _is_gone(place: Place, number: int | None) -> bool:
    return number is not None and place.registry.get(place.model, number) is None


def _explained_by_open(place: Place, snapshot: Snapshot) -> set[int | None]:
    """Where the alias may stand because a writer is at work or has ended before its time."""
    writing = writers(place, snapshot)
    if not writing or snapshot.head is None:
        return set()
    numbers = range(writing[0].number, snapshot.head.number + 1)
    entries = [place.log.entry(number) for number in numbers]
    return {at for e in entries if _writes(e) for at in (e.from_version, e.champion)}


def writers(place: Place, snapshot: Snapshot) -> list[Entry]:
    """The open entries whose writers set aliases, or may still do so."""
    found = [place.log.entry(number) for number in snapshot.open]
    return [
        entry
        for entry in found
        if _writes(entry)
        and (entry.number == snapshot.since or age_seconds(place, entry) < LATE_SECONDS)
    ]


def _writes(entry: Entry) -> bool:
    return entry.action != "refused" and entry.since == entry.number


def ripe(place: Place, snapshot: Snapshot) -> bool:
    """Whether the open entries have been left by their writers, as far as one can tell."""
    writing = writers(place, snapshot)
    return all(age_seconds(place, entry) >= place.settle_seconds for entry in writing)


def age_seconds(place: Place, entry: Entry) -> float:
    """By two clocks, the writer's and ours."""
    return place.now() - datetime.fromisoformat(entry.time).timestamp()


def _repaired(
    place: Place, snapshot: Snapshot, at: int | None, why: str, who: str, by: By
) -> Entry:
    champion = snapshot.champion
    return following(
        snapshot.head,
        "repaired",
        model=place.model,
        who=who,
        by=by,
        why=why,
        line=snapshot.line,
        reference="" if champion is None else f"models:/{place.model}/{champion}",
        from_version=at,
        to_version=champion,
        content_digest=_digest_of(place, champion),
    )


def _fall_back(place: Place, snapshot: Snapshot, at: int | None, who: str, by: By) -> Entry:
    """The champion's version is gone: to the newest one before it that is sound."""
    line = _sound_part(place, snapshot.line[:-1])
    target = line[-1] if line else None
    then = f"version {target} is the newest before it that verifies" if line else "none is left"
    return following(
        snapshot.head,
        "fell_back",
        model=place.model,
        who=NOBODY_KNOWN if at is None else who,
        by=by,
        why=f"version {snapshot.champion}, the champion, was deleted in MLflow; {then}",
        line=line,
        reference="" if target is None else f"models:/{place.model}/{target}",
        from_version=snapshot.champion,
        to_version=target,
        content_digest=_digest_of(place, target),
    )


def _sound_part(place: Place, line: tuple[int, ...]) -> tuple[int, ...]:
    for end in range(len(line), 0, -1):
        version = place.registry.get(place.model, line[end - 1])
        if version is None:
            continue
        try:
            verify(place, version)
        except (ArtifactError, PromotionError):
            continue
        return line[:end]
    return ()


def _digest_of(place: Place, number: int | None) -> str:
    version = None if number is None else place.registry.get(place.model, number)
    return version.tags.get(CONTENT_DIGEST, "") if version else ""


def _moved(place: Place, snapshot: Snapshot, at: int, by: By) -> Entry | None:
    """Someone moved the alias in MLflow: adopted, or reverted; None: and deleted the version."""
    version = place.registry.get(place.model, at)
    if version is None:
        return None
    against = objection(place, version)
    champion = snapshot.champion
    if against is not None and _is_gone(place, champion):
        return _fall_back(place, snapshot, None, NOBODY_KNOWN, by)
    entry = partial(
        following,
        snapshot.head,
        model=place.model,
        who=NOBODY_KNOWN,
        by=by,
        reference=version.uri,
        content_digest=version.tags.get(CONTENT_DIGEST, ""),
        decision=recorded_decision(version),
    )
    if against is None:
        why = _why_adopted(place, snapshot, version)
        line = line_back_to(snapshot.line, at)
        return entry("adopted", why=why, line=line, from_version=champion, to_version=at)
    then = "the alias is deleted" if champion is None else f"back to version {champion}"
    why = f"{against}; {then}"
    return entry("reverted", why=why, line=snapshot.line, from_version=at, to_version=champion)


def _why_adopted(place: Place, snapshot: Snapshot, version: Version) -> str:
    if override := overridden(place, version):
        return f"override: {override}"
    reason = (recorded_decision(version) or {}).get("reason", "its gate passed")
    return f"first champion, as registered: {reason}" if snapshot.head is None else str(reason)
