"""Datasets: one file each, one explicit table. What the configuration names or describes: `of`."""

import difflib
from collections.abc import Iterable
from dataclasses import replace

from chainsight.config import PrepareSection, Source
from chainsight.datasets.ai2d import AI2D, AI2D_TRAIN
from chainsight.datasets.aokvqa import AOKVQA, AOKVQA_DIRECT
from chainsight.datasets.bars import BARS, BARS_COMPUTATIONS, BARS_LOOKUPS
from chainsight.datasets.base import Dataset
from chainsight.datasets.chartqa import CHARTQA
from chainsight.datasets.docvqa import DOCVQA
from chainsight.datasets.generic import described
from chainsight.datasets.geo170k import GEO170K
from chainsight.datasets.infographicvqa import INFOGRAPHICVQA
from chainsight.datasets.llava_instruct import LLAVA_INSTRUCT
from chainsight.datasets.mathvision import MATHVISION
from chainsight.datasets.mathvista import MATHVISTA
from chainsight.datasets.mmmu import MMMU
from chainsight.datasets.mmstar import MMSTAR
from chainsight.datasets.ocrbench import OCRBENCH
from chainsight.datasets.scienceqa import SCIENCEQA
from chainsight.datasets.sharegpt4o import SHAREGPT4O_DPO, SHAREGPT4O_SFT
from chainsight.datasets.textvqa import TEXTVQA
from chainsight.errors import ConfigError

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        AI2D,
        AI2D_TRAIN,
        AOKVQA,
        AOKVQA_DIRECT,
        BARS,
        BARS_COMPUTATIONS,
        BARS_LOOKUPS,
        CHARTQA,
        DOCVQA,
        GEO170K,
        INFOGRAPHICVQA,
        LLAVA_INSTRUCT,
        MATHVISION,
        MATHVISTA,
        MMMU,
        MMSTAR,
        OCRBENCH,
        SCIENCEQA,
        SHAREGPT4O_DPO,
        SHAREGPT4O_SFT,
        TEXTVQA,
    )
}


def named(name: str) -> Dataset:
    """The dataset `name`.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in DATASETS:
        known = ", ".join(sorted(DATASETS))
        raise ConfigError(f"no dataset {name!r}; {_near(name, DATASETS)}there are {known}")
    return DATASETS[name]


def of(source: Source) -> Dataset:
    """The dataset that an entry of the configuration names or describes, at its present owner's.

    Raises:
        ConfigError: there is none of that name, or the description takes one's name.
    """
    if source.generic is None:
        found = named(source.name)
    elif source.name in DATASETS:
        raise ConfigError(f"generic dataset {source.name!r}: that name is taken; choose another")
    else:
        found = described(source.generic, source.split)
    owner, slash, name = found.hub_id.partition("/")
    return replace(found, hub_id=f"{source.owner(owner)}/{name}") if slash else found


def require_terms(prepare: PrepareSection) -> None:
    """Check what can be known before anything is read: terms of training, hub owners.

    Raises:
        ConfigError: training would break a dataset's terms, or an owner has no dataset.
    """
    for source in prepare.examples:
        found = source.generic or DATASETS.get(source.name)
        if found and not found.trains:
            raise ConfigError(
                f"prepare.examples: dataset {found.name!r} must not be trained on by its terms "
                f"({found.licence}). Take it out; among the benchmarks it may stay"
            )
    known = {dataset.hub_id.partition("/")[0] for dataset in DATASETS.values()} - {""}
    for owner in prepare.owners:
        if owner not in known:
            raise ConfigError(
                f"prepare.owners: no dataset is of {owner!r}; {_near(owner, known)}there are "
                f"{', '.join(sorted(known))}"
            )


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}? " if near else ""


__all__ = ["DATASETS", "Dataset", "named", "of", "require_terms"]
