"""Scores by kinds of question, and where two models differ. Pure.

Many slices are looked at, so some differ by chance: Benjamini and Hochberg's q-value (Journal of
the Royal Statistical Society B 57:289, 1995) is the share of false findings among all slices of a
table that are at least as sure. Slices by length look at what models did, not at what they were
given; they describe and prove no cause. Nor is a question "hard" because one of the two compared
models got it wrong: such slices would show a gain where there is none. A slice pools the questions
of all benchmarks.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from chainsight.analysis.differences import Answered, Answers, chance, gains
from chainsight.analysis.intervals import Interval, interval, wilson
from chainsight.metrics import is_right
from chainsight.records import MODES, Example

Traits = Mapping[str, Mapping[str, Sequence[str]]]
"""Trait -> example id -> its values there; a question may have several, or none."""
MIN_QUESTIONS = 10
"""Slices with fewer are left out."""
TYPES = ("kind", "type", "question_types", "operation", "category", "task", "subject")
"""Where datasets say what a question is about; the first that a row has."""
DIFFICULTIES: dict[str, dict[str, str]] = {
    "difficult": {"True": "difficult", "False": "not difficult"},
    "level": {str(level): f"level {level}" for level in range(1, 10)},
    "grade": {},
}
"""Where datasets say how hard a question is, and their values in words."""
NUM_BANDS = 3
NUMBER = re.compile(r"[-+]?[$€£]?(\d[\d,]*\.?|\.\d)\d*\s?%?")


@dataclass(frozen=True)
class Slice:
    """Questions with one value of one trait."""

    trait: str
    value: str
    num_questions: int
    better: Interval
    """Mean score, 0 to 1."""
    than: Interval
    gain: Interval
    q_value: float


def slices(better: Answers, than: Answers, traits: Traits) -> list[Slice]:
    """Every slice of every trait that has at least two of `MIN_QUESTIONS`."""
    gained = gains(better, than)
    found = [
        (trait, value, keys)
        for trait, values in traits.items()
        for value, keys in _large({key: own for key, own in values.items() if key in gained})
    ]
    q_values = benjamini_hochberg([chance([[gained[key] for key in keys]]) for _, _, keys in found])
    return [
        Slice(
            trait,
            value,
            num_questions=len(keys),
            better=mean_score(better, keys),
            than=mean_score(than, keys),
            gain=interval([np.array([[gained[key] for key in keys]])]),
            q_value=q_value,
        )
        for (trait, value, keys), q_value in zip(found, q_values, strict=True)
    ]


def _large(values: Mapping[str, Sequence[str]]) -> list[tuple[str, list[str]]]:
    members: dict[str, list[str]] = {}
    for key, own in values.items():
        for value in own:
            members.setdefault(value, []).append(key)
    large = [(value, keys) for value, keys in members.items() if len(keys) >= MIN_QUESTIONS]
    return large if len(large) > 1 else []


def mean_score(answers: Answers, keys: Sequence[str]) -> Interval:
    """Mean score with Wilson's interval; for scores between 0 and 1 it is wider than need be."""
    return wilson(math.fsum(answers[key].score for key in keys) / len(keys), len(keys))


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Each one's q-value: the least share of false findings at which it is one."""
    count, least = len(p_values), 1.0
    q_values = [1.0] * count
    for rank, at in sorted(enumerate(np.argsort(p_values), start=1), reverse=True):
        least = min(least, p_values[at] * count / rank)
        q_values[at] = least
    return q_values


# --- what questions are like -----------------------------------------------------------------


def traits(
    examples: Mapping[str, Example],
    pixels: Mapping[str, int],
    answered: Answered,
    compared: tuple[str, str],
    mode: str,
) -> dict[str, dict[str, Sequence[str]]]:
    """The traits by which a comparison of two models is sliced.

    Args:
        examples: the questions, by id.
        pixels: of each question's largest image.
        answered: what all models said.
        compared: the two.
        mode: in which they are compared.
    """
    both = [answered[model, mode] for model in compared]
    lengths = {
        key: sum(answers[key].num_tokens for answers in both) / len(both)
        for key in examples
        if all(key in answers for answers in both)
    }
    return {
        "type": _by(_types, examples),
        "answer": _by(_answer_types, examples),
        "choices": _by(_choices, examples),
        "difficulty": _by(_difficulties, examples),
        "base model": {} if "base" in compared else _ease(answered),
        "image": bands(pixels, "pixels"),
        "length": bands(lengths, "tokens"),
    }


def _by(
    values: Callable[[Example], Sequence[str]], examples: Mapping[str, Example]
) -> dict[str, Sequence[str]]:
    found = {key: values(example) for key, example in examples.items()}
    return dict(sorted(found.items(), key=lambda item: tuple(item[1])))


def _types(example: Example) -> list[str]:
    name = next((name for name in TYPES if name in example.meta), None)
    return example.meta[name].split(", ") if name else []


def _answer_types(example: Example) -> list[str]:
    """What the first reference looks like."""
    reference = example.references[0].strip()
    if example.choices:
        return ["a letter"]
    if reference.startswith("["):
        return ["a list"]
    if reference.lower() in ("yes", "no"):
        return ["yes or no"]
    if NUMBER.fullmatch(reference):
        return ["a number"]
    return ["a word" if len(reference.split()) == 1 else "several words"]


def _choices(example: Example) -> list[str]:
    return [f"{len(example.choices)} choices" if example.choices else "none given"]


def _difficulties(example: Example) -> list[str]:
    name = next((name for name in DIFFICULTIES if name in example.meta), None)
    if name is None:
        return []
    return [DIFFICULTIES[name].get(example.meta[name], example.meta[name])]


def _ease(answered: Answered) -> dict[str, Sequence[str]]:
    """In how many of its modes the base model, itself not compared, is right."""
    modes = [answered["base", mode] for mode in MODES if ("base", mode) in answered]
    if not modes:
        return {}
    words = (
        ("wrong", "right in one mode", "right in both") if len(modes) > 1 else ("wrong", "right")
    )
    right = {
        key: sum(is_right(answers[key].score) for answers in modes)
        for key in modes[0]
        if all(key in answers for answers in modes)
    }
    return {key: (words[count],) for key, count in sorted(right.items(), key=lambda one: one[1])}


def bands(values: Mapping[str, float], unit: str) -> dict[str, Sequence[str]]:
    """Questions in about equally large bands of a quantity; equal values are in one band."""
    if not values:
        return {}
    quantiles = [k / NUM_BANDS for k in range(1, NUM_BANDS)]
    cuts = np.unique(np.quantile(list(values.values()), quantiles, method="lower"))
    places = {key: int(np.searchsorted(cuts, value)) for key, value in values.items()}
    members = [[values[key] for key in places if places[key] == at] for at in range(len(cuts) + 1)]
    names = [f"{min(own):,.9g} to {max(own):,.9g} {unit}" if own else "" for own in members]
    in_order = sorted(places, key=places.__getitem__)
    return {key: (names[places[key]],) for key in in_order}
