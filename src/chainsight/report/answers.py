"""What the report shows of the teacher's answers: their counts, and some that were set aside."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from chainsight import records, stored
from chainsight.quality.reasons import REASONS
from chainsight.quality.tally import FATES, FILE
from chainsight.records import Example, Rationale
from chainsight.report.choice import spread
from chainsight.report.pictures import Picture, picture

NUM_SHOWN = 3
"""Answers shown of each reason."""
SIDE = 240
"""Longest side of their pictures, in pixels."""


@dataclass(frozen=True)
class SetAside:
    """An answer that was set aside, and what it was about."""

    row: Rationale
    example: Example
    picture: Picture | None
    """The first one."""


@dataclass(frozen=True)
class Answers:
    """The teacher's answers to a run's questions."""

    told: Mapping[str, Any]
    """`quality.json`."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Of the stage; none when it stopped."""
    shown: Mapping[str, Sequence[SetAside]] = field(default_factory=dict)
    """By reason, in the order of `REASONS`."""

    @property
    def cost_usd(self) -> float:
        """Of all answers, whatever became of them."""
        return float(sum(self.told["all"][fate]["cost_usd"] for fate in FATES))


def collect_answers(
    folders: Mapping[str, Path], metrics: Mapping[str, float], stopped: Path | None = None
) -> Answers | None:
    """Read what distill left: its artifact, or the folder in which it `stopped`.

    None: nothing is left, or it is of a version that did not count.
    """
    folder = folders.get("rationales", stopped)
    if folder is None or not (folder / FILE).is_file():
        return None
    told = json.loads((folder / FILE).read_text(encoding="utf-8"))
    return Answers(told, metrics, _set_aside(folder / "rejected.parquet", folders))


def _set_aside(path: Path, folders: Mapping[str, Path]) -> dict[str, list[SetAside]]:
    rows = _some(path)
    wanted = {row.example_id for row in rows}
    known = {}
    if "examples" in folders and wanted:
        examples = stored.examples(folders["examples"] / "examples.parquet")
        known = {example.id: example for example in examples if example.id in wanted}
    found = [_shown(row, known[row.example_id]) for row in rows if row.example_id in known]
    return {
        reason: own for reason in REASONS if (own := [o for o in found if o.row.reason == reason])
    }


def _shown(row: Rationale, example: Example) -> SetAside:
    first = example.images[0] if example.images else None
    return SetAside(row, example, picture(first, SIDE) if first else None)


def _some(path: Path) -> list[Rationale]:
    """A few answers of each reason, from all over the file."""
    places: dict[str, list[int]] = {}
    for number, reason in enumerate(pq.read_table(path, columns=["reason"])["reason"].to_pylist()):
        places.setdefault(reason, []).append(number)
    wanted = {number for own in places.values() for number in spread(own, NUM_SHOWN)}
    rows = enumerate(records.read(path, Rationale))
    return [row for number, row in rows if number in wanted]
