"""A version becomes champion, or the champion before it does again: one call, one entry."""

from collections.abc import Callable
from dataclasses import dataclass

from chainsight.errors import ConfigError, PromotionError
from chainsight.promotion.aliases import observe, project, tidy
from chainsight.promotion.checks import Verdict, judged, pointed, verify
from chainsight.promotion.entry import Entry, following, line_back_to, promoted_line
from chainsight.promotion.log import Snapshot
from chainsight.promotion.place import Place, author
from chainsight.tracking import (
    ALIGNED_URI,
    CHALLENGER,
    CHAMPION,
    CONTENT_DIGEST,
    OVERRIDE,
    PROMOTER,
    Version,
)

_TRIES = 300


@dataclass(frozen=True)
class Outcome:
    """What a call did."""

    done: bool
    """The version is champion now, or would be, were it no dry run."""
    text: str
    entry: Entry | None = None
    """The line in the log; none for a dry run, or if the version is champion already."""


def promote(
    place: Place,
    *,
    version: int | None = None,
    alias: str = CHALLENGER,
    why: str = "",
    who: str | None = None,
    force: bool = False,
    dry_run: bool = False,
) -> Outcome:
    """Make a candidate champion, if its gate agrees and its files verify.

    Args:
        version: its number; none: the candidate with `alias`.
        force: past the gate, with the tag that says why; never past the files.

    Raises:
        ConfigError: `force` without `why`.
        ArtifactError, PromotionError: the files are not those that were judged, or the log is
            damaged. Nothing was changed or logged.
        StoreError, TrackingError: they do not answer.
    """
    if force and not why.strip():
        raise ConfigError("--force needs --why: the reason is kept with the version and in the log")
    reference = f"models:/{place.candidates}{f'@{alias}' if version is None else f'/{version}'}"
    candidate = place.registry.resolve(reference)
    attempt = _Promotion(place, candidate, why.strip(), author(who), force)
    return attempt.dry_run() if dry_run else _repeat(place, attempt.once)


def rollback(
    place: Place, *, to: int | None = None, why: str = "", who: str | None = None
) -> Outcome:
    """Make the champion before the present one champion again, or the former champion `to`.

    A rollback leads down the line of champions: twice leads to the one before the one before. What
    was rolled back is no longer on the line, so `previous` never leads to it.

    Raises:
        PromotionError: there is nothing to go back to, `to` never was champion, or somebody else
            has changed the champion meanwhile.
        ArtifactError, StoreError, TrackingError: as `promote`.
    """
    if not why.strip():
        raise ConfigError("rollback needs --why: the reason is kept in the log")
    return _repeat(place, _Rollback(place, to, why.strip(), author(who)).once)


def _repeat(place: Place, once: Callable[[], Outcome | None]) -> Outcome:
    for tried in range(_TRIES):
        if (outcome := once()) is not None:
            return outcome
        place.pause(tried)
    raise PromotionError(
        f"{place.log.where}: {_TRIES} tries, and others were faster each time; run again"
    )


def announce(place: Place, version: Version, who: str) -> None:
    """Say on the version who is about to make it champion, before the log says that it is.

    It is the proof that MLflow takes what this caller writes: what the log says has happened, and
    with a full database or without the right to move aliases nothing may.
    """
    place.registry.tag(version, PROMOTER, who)


@dataclass
class _Promotion:
    place: Place
    candidate: Version
    why: str
    who: str
    force: bool

    def __post_init__(self) -> None:
        self._verdicts: dict[int | None, Verdict] = {}
        self._production: Version | None = None
        self._verified: set[str | None] = set()
        self._announced = False

    def dry_run(self) -> Outcome:
        """The verdict of this moment; nothing is written."""
        snapshot = self.place.log.snapshot()
        number = snapshot.champion
        if snapshot.head is None:  # the first champion is set at registration, and adopted later
            number = self.place.registry.aliases(self.place.model).get(CHAMPION)
        target = self._target()
        if target is not None and target.number == number:
            return Outcome(True, f"{target.uri} is champion already")
        verdict = self._verdict(number)
        if not verdict.passed:
            return Outcome(False, f"{self.candidate.uri} would not become champion: {verdict.why}")
        self._verify(target or self.candidate)
        text = f"{self.candidate.uri} would become champion of {self.place.model}: {verdict.why}"
        return Outcome(True, text)

    def once(self) -> Outcome | None:
        """One try; None if another writer was faster."""
        snapshot = observe(self.place, who=self.who, by="command")
        target = self._target()
        if target is not None and target.number == snapshot.champion:
            return _already(self.place, snapshot, target)
        verdict = self._verdict(snapshot.champion)
        if not verdict.passed:
            return self._refused(snapshot, verdict)
        self._verify(target or self.candidate)
        target = self._in_production()
        self._announce(target)
        entry = self._entry(snapshot, verdict, target)
        self.place.step("decided")
        if not self.place.log.append(entry):
            return None
        self.place.step("appended")
        project(self.place, entry)
        before = (
            "there was none before"
            if entry.from_version is None
            else (f"before it: version {entry.from_version}")
        )
        text = f"{target.uri} is champion ({before}): {entry.why}"
        return Outcome(True, text, entry)

    def _announce(self, target: Version) -> None:
        if not self._announced:
            announce(self.place, target, self.who)
            self._announced = True

    def _target(self) -> Version | None:
        """The production version of this content, if there is one."""
        if not self.place.separate:
            return self.candidate
        if self._production is None:
            digest = self.candidate.tags.get(CONTENT_DIGEST, "")
            self._production = self.place.registry.find(self.place.model, CONTENT_DIGEST, digest)
        return self._production

    def _in_production(self) -> Version:
        target = self._target()
        if target is None:
            target = self.place.registry.copy(self.candidate, self.place.model, without=(OVERRIDE,))
            self.place.step("copied")
            self._production = target
            self._verify(target)
        if self.force:
            self.place.registry.tag(target, OVERRIDE, self.why)
        return target

    def _verdict(self, number: int | None) -> Verdict:
        """Against champion `number`, the one of this moment; decided once for each."""
        if self.force:
            return Verdict(True, f"forced: {self.why}")
        if number not in self._verdicts:
            champion = (
                None if number is None else self.place.registry.version(self.place.model, number)
            )
            self._verdicts[number] = judged(self.place, self.candidate, champion)
        return self._verdicts[number]

    def _verify(self, version: Version) -> None:
        """Read its files once; where equal content lies twice, those that it refers to."""
        uri = version.tags.get(ALIGNED_URI)
        if uri in self._verified:
            pointed(self.place, version)
        else:
            verify(self.place, version)
            self._verified.add(uri)

    def _refused(self, snapshot: Snapshot, verdict: Verdict) -> Outcome | None:
        target = self._target()
        entry = self._entry(snapshot, verdict, target)
        self.place.step("decided")
        if not self.place.log.append(entry):
            return None
        self.place.step("appended")
        self.place.log.close(entry.number)
        return Outcome(
            False, f"{self.candidate.uri} does not become champion: {verdict.why}", entry
        )

    def _entry(self, snapshot: Snapshot, verdict: Verdict, target: Version | None) -> Entry:
        line = None
        if verdict.passed:
            assert target is not None
            line = promoted_line(snapshot.line, target.number)
        return following(
            snapshot.head,
            "promoted" if verdict.passed else "refused",
            model=self.place.model,
            who=self.who,
            by="command",
            why=f"{self.why}; {verdict.why}" if self.why and not self.force else verdict.why,
            line=line,
            reference=self.candidate.uri,
            from_version=snapshot.champion,
            to_version=target.number if target else None,
            content_digest=self.candidate.tags.get(CONTENT_DIGEST, ""),
            decision=verdict.decision,
        )


@dataclass
class _Rollback:
    place: Place
    to: int | None
    why: str
    who: str
    begun: Snapshot | None = None

    def once(self) -> Outcome | None:
        """One try; None if another writer was faster."""
        snapshot = observe(self.place, who=self.who, by="command")
        target = self._target(snapshot)
        if target == snapshot.champion:
            return _already(self.place, snapshot, self._version(target))
        version = self._version(target)
        verify(self.place, version)
        announce(self.place, version, self.who)
        entry = following(
            snapshot.head,
            "rolled_back",
            model=self.place.model,
            who=self.who,
            by="command",
            why=self.why,
            line=line_back_to(snapshot.line, target),
            reference=version.uri,
            from_version=snapshot.champion,
            to_version=target,
            content_digest=version.tags.get(CONTENT_DIGEST, ""),
        )
        self.place.step("decided")
        if not self.place.log.append(entry):
            return None
        self.place.step("appended")
        project(self.place, entry)
        text = f"{version.uri} is champion again, in place of version {snapshot.champion}"
        return Outcome(True, text, entry)

    def _target(self, snapshot: Snapshot) -> int:
        if self.to is not None:
            return self._former_champion(snapshot, self.to)
        if self.begun is None:
            self.begun = snapshot
        if snapshot.champion != self.begun.champion:
            assert snapshot.head is not None
            raise PromotionError(
                f"{snapshot.head.who} has meanwhile made version {snapshot.champion} champion "
                f"(entry {snapshot.since}): nothing was done; look, and roll back again if need be"
            )
        if len(snapshot.line) < 2:
            raise PromotionError(
                f"{self.place.model} has no champion before "
                f"{'its first' if snapshot.champion is None else f'version {snapshot.champion}'}; "
                "name one that was champion once: --to N (see chainsight history)"
            )
        return snapshot.line[-2]

    def _former_champion(self, snapshot: Snapshot, number: int) -> int:
        if number not in snapshot.line:
            entries = self.place.log.entries()
            if all(entry.champion != number for entry in entries):
                raise PromotionError(
                    f"version {number} of {self.place.model} never was champion, so there is "
                    f"nothing to go back to; promote it: chainsight promote CONFIG"
                )
        return number

    def _version(self, number: int) -> Version:
        version = self.place.registry.get(self.place.model, number)
        if version is None:
            raise PromotionError(
                f"version {number} of {self.place.model} was deleted in MLflow; name another "
                "former champion: --to N"
            )
        return version


def _already(place: Place, snapshot: Snapshot, version: Version) -> Outcome | None:
    """Champion before we came. None while its alias waits for a writer, dead or alive."""
    if place.registry.aliases(place.model).get(CHAMPION) != version.number:
        return None
    tidy(place, snapshot)
    return Outcome(True, f"{version.uri} is champion already")
