"""The held-out questions that the page shows, with what each model said: a balanced choice."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pyarrow.parquet as pq

from chainsight import stored
from chainsight.decision import UNPARSED
from chainsight.metrics import is_right
from chainsight.records import Example
from chainsight.report.choice import level, shares, spread
from chainsight.report.pictures import Picture, fitted
from chainsight.report.sizes import datasets

NUM_SAMPLES = 200
PICTURE_BYTES = 6_400_000
TEXT_LENGTH = 1_200_000
"""Characters of all texts; longer ones are cut. With `PICTURE_BYTES` it keeps a page of 200
questions below 10 MB."""
KINDS = {
    "won": "wrong before, right after",
    "lost": "right before, wrong after",
    "unread": "no answer could be read",
    "torn": "direct and reasoned answer: one right, one wrong",
    "wrong": "else wrong",
    "right": "else right",
}
"""Of questions: the first that fits counts."""


@dataclass(frozen=True)
class Voice:
    """What a model said to a question."""

    model: str
    mode: str
    text: str
    answer: str
    status: str
    score: float
    num_cut: int = 0
    """Characters of the text that are not shown."""


@dataclass(frozen=True)
class Sample:
    """A question with what was said to it."""

    example_id: str
    dataset: str
    kind: str
    question: str
    choices: tuple[str, ...]
    references: tuple[str, ...]
    voices: tuple[Voice, ...]


@dataclass(frozen=True)
class Sheet:
    """A picture, or several, with all questions shown about it."""

    pictures: tuple[Picture, ...]
    """Those that decode."""
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class Stratum:
    """How many questions of a kind there are, and how many are shown."""

    dataset: str
    kind: str
    num_all: int
    num_shown: int


@dataclass(frozen=True)
class Samples:
    """What the browser shows, and what it was chosen from."""

    sheets: tuple[Sheet, ...]
    strata: tuple[Stratum, ...]
    ends: tuple[str, str]
    """The models before and after, by which kinds are told apart."""

    @cached_property
    def shown(self) -> tuple[Sample, ...]:
        """All samples, in the page's order."""
        return tuple(sample for sheet in self.sheets for sample in sheet.samples)

    @property
    def num_all(self) -> int:
        """Questions from which was chosen."""
        return sum(stratum.num_all for stratum in self.strata)

    @property
    def voices(self) -> tuple[tuple[str, str], ...]:
        """Each (model, mode) that answered, in the order of the file."""
        return tuple(dict.fromkeys((v.model, v.mode) for s in self.shown for v in s.voices))


def ends(models: Sequence[str]) -> tuple[str, str]:
    """The models to compare, before and after: policy and aligned; else the first and the last."""
    after = "aligned" if "aligned" in models else models[-1]
    others = [model for model in models if model != after]
    before = "policy" if "policy" in others else [*others, after][0]
    return before, after


def choose_samples(folders: Mapping[str, Path], count: int = NUM_SAMPLES) -> Samples | None:
    """Up to `count` questions, of each kind and benchmark alike; None without predictions."""
    path = folders["predictions"] / "predictions.parquet" if "predictions" in folders else None
    if path is None or not path.is_file() or "benchmarks" not in folders:
        return None
    judged = _judged(path)
    if not judged:
        return None
    models = list(dict.fromkeys(model for voices in judged.values() for model, _ in voices))
    before, after = ends(models)
    names = datasets(folders)
    strata: dict[tuple[str, str], list[str]] = {}
    for key, voices in judged.items():
        strata.setdefault((names[key], kind(voices, before, after)), []).append(key)
    wanted = shares({name: len(keys) for name, keys in strata.items()}, count)
    kinds = {key: name[1] for name, keys in strata.items() for key in spread(keys, wanted[name])}
    sheets = _sheets(folders["benchmarks"] / "benchmarks.parquet", kinds, _voices(path, kinds))
    order = sorted(strata, key=lambda name: (name[0], list(KINDS).index(name[1])))
    counted = tuple(Stratum(*name, len(strata[name]), wanted[name]) for name in order)
    return Samples(sheets, counted, (before, after))


Judged = Mapping[tuple[str, str], tuple[float, str]]
"""Of one question, by (model, mode): score and status."""


def _judged(path: Path) -> dict[str, dict[tuple[str, str], tuple[float, str]]]:
    """By question: without the texts, which may be many times as large."""
    columns = pq.read_table(path, columns=["example_id", "model", "mode", "score", "status"])
    found: dict[str, dict[tuple[str, str], tuple[float, str]]] = {}
    for row in columns.to_pylist():
        voices = found.setdefault(row["example_id"], {})
        voices[row["model"], row["mode"]] = (row["score"], row["status"])
    return found


def kind(voices: Judged, before: str, after: str) -> str:
    """Which of `KINDS` a question is of, by its reasoned answers where there are any."""
    mode = "cot" if (after, "cot") in voices else "direct"
    if (after, mode) not in voices:
        return "unread"
    right = {voice: is_right(score) for voice, (score, _) in voices.items()}
    now, then = right[after, mode], right.get((before, mode))
    if then is not None and now != then:
        return "won" if now else "lost"
    if voices[after, mode][1] in UNPARSED:
        return "unread"
    if right.get((after, "direct"), now) != now:
        return "torn"
    return "right" if now else "wrong"


def _voices(path: Path, wanted: Mapping[str, str]) -> dict[str, list[Voice]]:
    names = ["model", "mode", "text", "answer", "status", "score"]
    found: dict[str, list[Voice]] = {key: [] for key in wanted}
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=["example_id", *names]):
            for row in batch.to_pylist():
                if row["example_id"] in found:
                    found[row["example_id"]].append(Voice(*(row[name] for name in names)))
    bound = level([len(v.text) for voices in found.values() for v in voices], TEXT_LENGTH)
    return {key: [_short(voice, bound) for voice in voices] for key, voices in found.items()}


def _short(voice: Voice, bound: int) -> Voice:
    num_cut = max(0, len(voice.text) - bound)
    return replace(voice, text=voice.text[:bound], num_cut=num_cut) if num_cut else voice


def _sheets(
    path: Path, kinds: Mapping[str, str], voices: Mapping[str, Sequence[Voice]]
) -> tuple[Sheet, ...]:
    """Questions about the same pictures stand on one sheet, so that these are in the page once."""
    files: dict[Hashable, bytes] = {}
    sheets: dict[tuple[int, ...], list[Sample]] = {}
    known: dict[bytes, int] = {}
    for example in stored.examples(path):
        if example.id in kinds:
            images = example.images[:]
            own = tuple(known.setdefault(image, len(known)) for image in images)
            files.update(zip(own, images, strict=True))
            sheets.setdefault(own, []).append(_sample(example, kinds, voices))
    pictures = fitted(files, PICTURE_BYTES)
    return tuple(
        Sheet(tuple(pictures[key] for key in own if key in pictures), tuple(samples))
        for own, samples in sheets.items()
    )


def _sample(
    example: Example, kinds: Mapping[str, str], voices: Mapping[str, Sequence[Voice]]
) -> Sample:
    return Sample(
        example_id=example.id,
        dataset=example.dataset,
        kind=kinds[example.id],
        question=example.question,
        choices=example.choices or (),
        references=example.references,
        voices=tuple(voices[example.id]),
    )


def count_kinds(samples: Samples) -> Mapping[str, tuple[int, int]]:
    """By kind, over all benchmarks: how many there are and how many are shown."""
    every, shown = Counter[str](), Counter[str]()
    for stratum in samples.strata:
        every[stratum.kind] += stratum.num_all
        shown[stratum.kind] += stratum.num_shown
    return {kind: (every[kind], shown[kind]) for kind in KINDS if every[kind]}
