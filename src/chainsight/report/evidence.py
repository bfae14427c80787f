"""What a run's answers prove, computed from the artifacts for the page."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from chainsight import records, stored
from chainsight.analysis.agreement import Agreement, Flips, agreements, flips
from chainsight.analysis.differences import Answered, Difference, by_model, differences
from chainsight.analysis.slices import Slice, slices, traits
from chainsight.records import Example, Mode, Prediction


@dataclass(frozen=True)
class Sliced:
    """A comparison of two models, by slices."""

    better: str
    than: str
    mode: Mode
    slices: tuple[Slice, ...]


@dataclass(frozen=True)
class Evidence:
    """Comparisons of the models on the benchmarks."""

    differences: tuple[Difference, ...]
    sliced: tuple[Sliced, ...]
    agreements: tuple[Agreement, ...]
    flips: tuple[Flips, ...]


def collect_evidence(folders: Mapping[str, Path]) -> Evidence | None:
    """Compare the models of a finished evaluation; None without one.

    Raises:
        RecordError: the rows cannot be read.
    """
    if not {"benchmarks", "predictions"} <= set(folders):
        return None
    answered = by_model(records.read(folders["predictions"] / "predictions.parquet", Prediction))
    found = {row.id: row for row in stored.examples(folders["benchmarks"] / "benchmarks.parquet")}
    compared = differences(answered)
    return Evidence(
        differences=tuple(compared),
        sliced=_sliced(compared, found, answered),
        agreements=tuple(agreements(answered)),
        flips=tuple(flips(answered)),
    )


def _sliced(
    compared: list[Difference], examples: Mapping[str, Example], answered: Answered
) -> tuple[Sliced, ...]:
    sizes = {key: size for key, row in examples.items() if (size := pixels(row))}
    made = []
    for better, than, mode in dict.fromkeys((one.better, one.than, one.mode) for one in compared):
        own = traits(examples, sizes, answered, (better, than), mode)
        found = slices(answered[better, mode], answered[than, mode], own)
        made.append(Sliced(better, than, mode, tuple(found)))
    return tuple(made)


def pixels(example: Example) -> int:
    """Of the largest image, by its header; 0 without one that can be read."""
    return max((_pixels(image) for image in example.images), default=0)


def _pixels(image: bytes) -> int:
    try:
        with Image.open(io.BytesIO(image)) as opened:
            return opened.width * opened.height
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return 0
