"""Whether a version may be champion: its gate or an override, and every byte of its files."""

import json
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import unquote

from chainsight.errors import ArtifactError, PromotionError
from chainsight.promotion.place import Place
from chainsight.store import Manifest
from chainsight.tracking import ALIGNED_URI, CONTENT_DIGEST, DECISION, GATE, OVERRIDE, Version


@dataclass(frozen=True)
class Verdict:
    """Whether, why, and the gate's decision with its figures."""

    passed: bool
    why: str
    decision: dict[str, Any] | None = None


def judged(place: Place, candidate: Version, champion: Version | None) -> Verdict:
    """The gate's word on a candidate against the champion of this moment.

    What it said at registration holds if the champion is the one that it compared with. Else it
    decides again.
    """
    override = overridden(place, candidate)
    recorded = recorded_decision(candidate)
    if override:
        return Verdict(True, f"override: {override}", recorded)
    if candidate.tags.get(GATE) != "passed":
        return Verdict(False, _gate_says(candidate, recorded), recorded)
    if not place.separate and _was_compared_with(candidate, champion):
        return Verdict(True, str((recorded or {}).get("reason", "its gate passed")), recorded)
    decision = place.judge(candidate, champion)
    return Verdict(decision.passed, decision.reason, asdict(decision))


def objection(place: Place, version: Version) -> str | None:
    """Why a version that someone made champion in MLflow may not be it, or None.

    Raises:
        StoreError, TrackingError: they do not answer, so that nothing can be said.
    """
    if not overridden(place, version) and version.tags.get(GATE) != "passed":
        return _gate_says(version, recorded_decision(version))
    try:
        verify(place, version)
    except (ArtifactError, PromotionError) as error:
        return str(error)
    return None


def verify(place: Place, version: Version) -> None:
    """Read every byte of a version's files and compare with what was registered.

    Raises:
        ArtifactError: a file is missing or damaged.
        PromotionError: the version refers to other files than those that its gate judged.
        StoreError, TrackingError: they do not answer.
    """
    manifest = pointed(place, version)
    with place.reading():
        place.store.verify(manifest)


def pointed(place: Place, version: Version) -> Manifest:
    """The manifest of a version's files, which are those that its gate judged; errors as above."""
    missing = [tag for tag in (ALIGNED_URI, CONTENT_DIGEST) if not version.tags.get(tag)]
    if missing:
        raise PromotionError(
            f"{version.uri} has no tag {missing[0]}, so its files cannot be verified; register "
            "models by the stage register"
        )
    uri, digest = version.tags[ALIGNED_URI], version.tags[CONTENT_DIGEST]
    manifest = place.store.load(uri)
    if manifest.content_digest != digest:
        raise PromotionError(
            f"{version.uri} was registered with the content {digest}, but {uri} holds "
            f"{manifest.content_digest}; register it again"
        )
    said, checked = place.registry.files_uri(version), f"{uri}/{manifest.attempt}"
    if _path(said) != _path(checked):
        raise PromotionError(
            f"{version.uri} says that its files are at {said}, but its gate judged those at "
            f"{checked}; register it again"
        )
    return manifest


def overridden(place: Place, version: Version) -> str:
    """Why people let this version past the gate, or "".

    With a production model of its own, tags of candidates do not count: trainers may set them.
    """
    counts = version.name == place.model
    return version.tags.get(OVERRIDE, "").strip() if counts else ""


def recorded_decision(version: Version) -> dict[str, Any] | None:
    """The gate's decision that a version was registered with, if it is one."""
    try:
        tag = json.loads(version.tags.get(DECISION, "{}"))
    except ValueError:  # people can write tags
        return None
    recorded = tag.get("decision") if isinstance(tag, dict) else None
    return recorded if isinstance(recorded, dict) else None


def _was_compared_with(candidate: Version, champion: Version | None) -> bool:
    """Whether the champion, by content, is the one of the candidate's recorded decision."""
    if champion is None:
        return True
    digest = champion.tags.get(CONTENT_DIGEST)
    recorded = recorded_decision(candidate) or {}
    return bool(digest) and recorded.get("champion_digest") == digest


def _gate_says(version: Version, recorded: dict[str, Any] | None) -> str:
    said = version.tags.get(GATE)
    if said is None:
        return f"refused: {version.uri} has not been through the gate (no tag {GATE})"
    reason = str((recorded or {}).get("reason", f"its gate says {said!r}"))
    return reason if reason.startswith("refused") else f"refused: {reason}"


def _path(uri: str) -> str:
    return unquote(uri.removeprefix("file://")).rstrip("/")
