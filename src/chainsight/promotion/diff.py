"""Two registered versions side by side: scores, answers that changed, settings, the gate's word."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chainsight import records
from chainsight.errors import ChainsightError, ConfigError, RecordError
from chainsight.promotion.checks import recorded_decision
from chainsight.promotion.place import Place
from chainsight.provenance import Setting, settings_behind, settings_that_differ
from chainsight.records import Prediction
from chainsight.tracking import ALIGNED_URI, PREDICTIONS_URI, Version

MODEL = "aligned"
"""The model in an artifact `predictions` that a version was registered for."""
ALL = "all"
Key = tuple[str, str]
"""Mode and example id; in scores, mode and dataset."""


@dataclass(frozen=True)
class Mean:
    """A mean score, 0 to 1."""

    value: float
    standard_error: float
    num_examples: int


@dataclass(frozen=True)
class Flip:
    """A question on which the two versions score differently."""

    example_id: str
    mode: str
    prompt: str
    before: str
    after: str
    score_before: float
    score_after: float


@dataclass(frozen=True)
class Comparison:
    """What distinguishes `after` from `before`."""

    before: str
    after: str
    scores: dict[str, dict[str, dict[str, Mean | None]]]
    """Mode, dataset, then `before` and `after`."""
    won: tuple[Flip, ...]
    lost: tuple[Flip, ...]
    num_shared: int
    """Questions, by mode, that both were asked."""
    settings: tuple[Setting, ...]
    gate: dict[str, Any]
    """What the gate said of each at registration, and of `after` against `before` now."""


def named(place: Place, reference: str) -> Version:
    """A version by `models:/NAME/3`, by its number or alias in production, or a candidate's alias.

    Raises:
        TrackingError, ConfigError: there is none.
    """
    if reference.startswith("models:/"):
        return place.registry.resolve(reference)
    if reference.isdecimal():
        return place.registry.resolve(f"models:/{place.model}/{reference}")
    alias = reference.removeprefix("@")
    for model in dict.fromkeys((place.model, place.candidates)):
        if (found := place.registry.by_alias(model, alias)) is not None:
            return found
    raise ConfigError(
        f"{reference!r} is no version number and no alias of {place.model}; write 3, champion or "
        f"models:/{place.candidates}/3"
    )


def compare(place: Place, before: Version, after: Version) -> Comparison:
    """Compare two versions on what they were evaluated on at registration.

    Raises:
        RecordError: a version does not say where its answers are.
        StoreError: its artifacts cannot be read.
    """
    ours, theirs = _answers(place, before), _answers(place, after)
    shared = ours.keys() & theirs.keys()
    flips = [_flip(ours[key], theirs[key]) for key in sorted(shared)]
    return Comparison(
        before=before.uri,
        after=after.uri,
        scores=_side_by_side(_means(ours.values()), _means(theirs.values())),
        won=tuple(flip for flip in flips if flip.score_after > flip.score_before),
        lost=tuple(flip for flip in flips if flip.score_after < flip.score_before),
        num_shared=len(shared),
        settings=settings_that_differ(_settings(place, before), _settings(place, after)),
        gate={
            "before": (recorded_decision(before) or {}).get("reason"),
            "after": (recorded_decision(after) or {}).get("reason"),
            "after_against_before": _gate_now(place, before, after),
        },
    )


def _gate_now(place: Place, before: Version, after: Version) -> str:
    try:
        return place.judge(after, before).reason
    except ChainsightError as error:
        return f"cannot be said: {error}"


def _answers(place: Place, version: Version) -> dict[Key, Prediction]:
    uri = version.tags.get(PREDICTIONS_URI)
    if uri is None:
        raise RecordError(
            f"{version.uri} has no tag {PREDICTIONS_URI}, so its answers are not known; register "
            "models by the stage register"
        )
    rows = records.read(place.store.fetch(uri) / "predictions.parquet", Prediction)
    return {(row.mode, row.example_id): row for row in rows if row.model == MODEL}


def _flip(before: Prediction, after: Prediction) -> Flip:
    return Flip(
        example_id=after.example_id,
        mode=after.mode,
        prompt=after.question or after.prompt,
        before=before.answer,
        after=after.answer,
        score_before=before.score,
        score_after=after.score,
    )


def _means(rows: Iterable[Prediction]) -> dict[Key, Mean]:
    """By mode and dataset, and over all datasets: their plain mean, as in the run's tables."""
    groups: dict[Key, list[float]] = defaultdict(list)
    for row in rows:
        dataset, slash, _ = row.example_id.partition("/")
        groups[row.mode, dataset if slash else ALL].append(row.score)
    found = {key: _mean(scores) for key, scores in groups.items()}
    for mode in {mode for mode, _ in groups}:
        own = [mean for (its, dataset), mean in found.items() if its == mode and dataset != ALL]
        if own:
            found[mode, ALL] = _overall(own)
    return found


def _mean(scores: list[float]) -> Mean:
    count = len(scores)
    value = math.fsum(scores) / count
    squares = math.fsum((score - value) ** 2 for score in scores)
    return Mean(value, math.sqrt(squares / max(count - 1, 1) / count), count)


def _overall(means: list[Mean]) -> Mean:
    count = len(means)
    error = math.sqrt(math.fsum(mean.standard_error**2 for mean in means)) / count
    value = math.fsum(mean.value for mean in means) / count
    return Mean(value, error, sum(mean.num_examples for mean in means))


def _side_by_side(
    before: Mapping[Key, Mean], after: Mapping[Key, Mean]
) -> dict[str, dict[str, dict[str, Mean | None]]]:
    table: dict[str, dict[str, dict[str, Mean | None]]] = {}
    for mode, dataset in sorted({*before, *after}, key=lambda key: (key[0], key[1] != ALL, key[1])):
        pair = {"before": before.get((mode, dataset)), "after": after.get((mode, dataset))}
        table.setdefault(mode, {})[dataset] = pair
    return table


def _settings(place: Place, version: Version) -> dict[str, Any]:
    """Every setting of every stage behind a version's files, by dotted name."""
    uri = version.tags.get(ALIGNED_URI)
    return settings_behind([uri] if uri else [], place.store.load)
