"""The figures of the table: mean and spread over seeds, by setting, mode and dataset."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chainsight.records import MODES
from chainsight.scoring import ALL


@dataclass(frozen=True)
class Cell:
    """The scores of one setting on one dataset in one mode, 0 to 1, a value a seed."""

    values: Mapping[str, float]
    """By seed."""

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values.values())

    @property
    def spread(self) -> float | None:
        """Sample standard deviation over seeds; None for a single one."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None


def datasets(found: Mapping[str, Any]) -> list[str]:
    """The benchmarks' datasets, and `all` first where there are several."""
    names = dict.fromkeys(
        name for modes in _models(found) for mode in modes.values() for name in mode["datasets"]
    )
    return [ALL, *names] if len(names) > 1 else list(names)


def modes(found: Mapping[str, Any]) -> list[str]:
    """The modes that were asked in, in the order of the tables."""
    return [mode for mode in MODES if any(mode in asked for asked in _models(found))]


def cell(setting: Mapping[str, Any], mode: str, dataset: str) -> Cell | None:
    """One cell of the table; None where no seed has it."""
    values = {}
    for seed, one in setting["seeds"].items():
        score = one["scores"]["models"]["model"].get(mode)
        if score and dataset == ALL:
            values[seed] = score["value"]
        elif score and dataset in score["datasets"]:
            values[seed] = score["datasets"][dataset]["value"]
    return Cell(values) if values else None


def against(setting: Mapping[str, Any], mode: str, dataset: str) -> Mapping[str, Any] | None:
    """The setting's difference from the baseline; None for the baseline itself."""
    found: Mapping[str, Any] | None = setting.get("against", {}).get(mode, {}).get(dataset)
    return found


def _models(found: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return [
        one["scores"]["models"]["model"]
        for setting in found["settings"]
        for one in setting["seeds"].values()
    ]
