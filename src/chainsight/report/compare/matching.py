"""Which questions two sides have in common: all of one benchmark, or those that are equal."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from chainsight import stored
from chainsight.errors import RecordError
from chainsight.records import Example, Prediction
from chainsight.report.compare.sides import Key, Side

ASKING = ("modes", "prompt_style", "max_new_tokens", "max_direct_tokens")
"""Settings of evaluation that belong to the fingerprint."""


@dataclass(frozen=True)
class Pair:
    """What both sides said to one question."""

    before: Prediction
    after: Prediction

    @property
    def difference(self) -> float:
        return self.after.score - self.before.score


@dataclass(frozen=True)
class Matched:
    """The questions in common, and what is not in common."""

    pairs: tuple[Pair, ...]
    unlike: tuple[str, ...] = ()
    """Why the benchmarks are not the same one, a sentence each; none: they are."""


def match(before: Side, after: Side) -> Matched:
    """Pair the answers, question by question.

    With one fingerprint by id. Otherwise questions are equal if picture, words, options, references
    and metric are, whatever their ids.

    Raises:
        RecordError: no question is common, or nobody can say.
    """
    if before.fingerprint and before.fingerprint == after.fingerprint:
        common = [key for key in after.rows if key in before.rows]
        pairs = tuple(Pair(before.rows[key], after.rows[key]) for key in common)
        return Matched(_some(pairs, before, after))
    ours, theirs = _contents(before), _contents(after)
    pairs = tuple(
        Pair(row, after.rows[key])
        for name, other in theirs.items()
        if name in ours
        for mode in ("direct", "cot")
        if (row := before.rows.get(Key(mode, ours[name]))) is not None
        and (key := Key(mode, other)) in after.rows
    )
    return Matched(_some(pairs, before, after), _unlike(before, after, ours, theirs, pairs))


def _some(pairs: tuple[Pair, ...], before: Side, after: Side) -> tuple[Pair, ...]:
    if pairs:
        return pairs
    raise RecordError(
        f"{before.name} and {after.name} were asked no question in common, so there is nothing to "
        "compare. Evaluate both on the same ones: chainsight evaluate CONFIG --model A --model B, "
        "or write the same prepare.benchmarks into both configurations"
    )


Content = tuple[str, int]
"""Digest of a question, and which of its repeats it is."""


def _contents(side: Side) -> dict[Content, str]:
    """The ids of a side's questions by what they are.

    Raises:
        RecordError: the questions are not to be had.
    """
    if side.benchmarks is None:
        raise RecordError(
            f"the two sides were asked different benchmarks (fingerprints differ), and the "
            f"questions of {side.name} are not in {side.store.uri}, so nobody can say which are "
            "equal; evaluate both on one: chainsight evaluate CONFIG --model A --model B"
        )
    asked = {key.example_id for key in side.rows}
    seen: Counter[str] = Counter()
    found = {}
    for example in stored.examples(side.benchmarks / "benchmarks.parquet"):
        if example.id in asked:
            digest = content(example)
            found[digest, seen[digest]] = example.id
            seen[digest] += 1
    return found


def content(example: Example) -> str:
    """sha256 over what decides a right answer: pictures, words, options, references, metric."""
    told = {
        "images": [hashlib.sha256(image).hexdigest() for image in example.images],
        "question": example.question,
        "choices": example.choices,
        "references": example.references,
        "metric": example.metric,
        "metric_params": example.metric_params,
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _unlike(
    before: Side,
    after: Side,
    ours: Mapping[Content, str],
    theirs: Mapping[Content, str],
    pairs: tuple[Pair, ...],
) -> tuple[str, ...]:
    told = []
    if ours.keys() != theirs.keys():
        common = len(ours.keys() & theirs.keys())
        told.append(
            f"of {len(ours):,} questions and {len(theirs):,}, {common:,} are the same; only these "
            "are compared"
        )
    for name in ASKING:
        was, became = (side.settings.get(f"evaluate.{name}") for side in (before, after))
        if was != became:
            told.append(f"evaluate.{name} is {was} and {became}")
    others = sum(pair.before.prompt != pair.after.prompt for pair in pairs)
    if others:
        told.append(f"{others:,} of {len(pairs):,} questions were asked in other words")
    if not (before.fingerprint and after.fingerprint):
        told.append("a side does not say which benchmark it was asked (it has no scores)")
    return tuple(told) or ("their ids or the order of their rows differ",)
