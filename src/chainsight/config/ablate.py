"""An ablation: settings that vary one run, the seeds that each is repeated with, and claims.

A file of its own (`configs/ablations.yaml`), which names the complete run that it varies.
"""

import os
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from chainsight.config.reading import read_yaml
from chainsight.config.section import Count, Section, validate
from chainsight.errors import ConfigError

Recipe = Literal["sft", "dpo", "rft", "star"]
"""Which stages a setting goes through (`chainsight.ablation.recipes`)."""
Settings = dict[str, Any]
"""Values by dotted keys of the run: `{sft.composition: format}`."""
Seed = Annotated[int, Field(ge=0, lt=2**31)]
SHORT = {"num_candidates": "n"}
"""What keys are called in the name of a grid's row, where not by their last word."""


class Variation(Section):
    """What settings and grids have in common."""

    recipe: Recipe
    """Its chain of stages: sft; dpo = sft, sample, pair, dpo; rft = sft, sample, adopt, rft;
    star = sft, sample, adopt, sft."""
    set: Settings = Field(default_factory=dict)
    """Values over the run's, by dotted keys: `{dpo.max_words: 0}`."""
    then: Settings = Field(default_factory=dict)
    """Recipe star: values for the second sft, over `set`."""
    rounds: Count = 1
    """How often what follows the first sft is done, each round with the model of the one before."""
    verify: bool = False
    """Whether many answers to the benchmark questions are drawn and judged (stage verify)."""

    @model_validator(mode="after")
    def _has_a_meaning(self) -> "Variation":
        if self.then and self.recipe != "star":
            raise ValueError(f"then is for the second sft of recipe star; {self.recipe} has one")
        if self.rounds > 1 and self.recipe == "sft":
            raise ValueError("rounds: recipe sft has nothing to repeat; write dpo, rft or star")
        if self.verify and self.recipe not in ("dpo", "rft"):
            raise ValueError(
                f"verify judges an aligned model by its policy, and recipe {self.recipe} ends in a "
                "policy; write dpo or rft"
            )
        return self


class SettingSection(Variation):
    """One row of the table."""


class GridSection(Variation):
    """Several rows: the product of some values."""

    name: Annotated[str, Field(min_length=1)]
    """How the rows' names begin: `DPO temperature=0.8 n=4`."""
    over: dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = Field(min_length=1)
    """Values to try, by dotted keys; every combination is a row."""

    def rows(self) -> dict[str, SettingSection]:
        """The grid's settings by name."""
        return dict(self._row(values) for values in product(*self.over.values()))

    def _row(self, values: tuple[Any, ...]) -> tuple[str, SettingSection]:
        chosen = dict(zip(self.over, values, strict=True))
        words = [f"{self._word(key)}={_shown(value)}" for key, value in chosen.items()]
        own = self.model_dump(exclude={"name", "over"}) | {"set": self.set | chosen}
        return " ".join([self.name, *words]), SettingSection.model_validate(own)

    def _word(self, key: str) -> str:
        """The last word of a dotted key, or all of it where two keys share their last one."""
        last = key.rpartition(".")[2]
        alone = [k.rpartition(".")[2] for k in self.over].count(last) == 1
        return SHORT.get(last, last) if alone else key


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)


class Side(Section):
    """One side of a claim."""

    setting: str
    """A row's name."""
    mode: Literal["direct", "cot"] | None = None
    """How it is asked; none: as the claim says."""
    method: str | None = None
    """How one answer is chosen from many (`chainsight.analysis.voting`), where the setting is
    verified; none: its greedy answer."""
    n: Count | None = None
    """From how many; none: from all that were drawn."""


class ClaimSection(Section):
    """An order that is expected, and judged over questions and seeds."""

    name: Annotated[str, Field(min_length=1)]
    """How the claim reads."""
    better: Side
    """A row's name, or `{setting: NAME, mode: direct, method: weighted, n: 8}`."""
    than: Side
    """Likewise."""
    mode: Literal["direct", "cot"] = "cot"
    """How both sides are asked."""
    dataset: str = "all"
    """Of which benchmark's questions; all: of every one."""
    relation: Literal["above", "far_above", "not_below"] = "above"
    """above: better; far_above: by 10 points at least; not_below: not worse by 2 points."""

    @model_validator(mode="before")
    @classmethod
    def _sides_by_name(cls, raw: Any) -> Any:
        if not isinstance(raw, dict):
            return raw
        sides = {k: {"setting": raw[k]} for k in ("better", "than") if isinstance(raw.get(k), str)}
        return raw | sides


class AblateConfig(Section):
    """What `chainsight ablate` compares."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$")]
    """Name of the ablation and of its report's folder (a DNS label)."""
    run: str
    """The complete run that the settings vary; a path relative to this file."""
    set: Settings = Field(default_factory=dict)
    """Values over the run's, by dotted keys, common to all settings."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0, 1, 2)
    """Every setting is trained and sampled once with each; the data are the same for all."""
    settings: dict[str, SettingSection] = Field(default_factory=dict)
    """The rows of the table, by name."""
    grids: tuple[GridSection, ...] = ()
    """Further rows: products of values."""
    baseline: str | None = None
    """The row that others are compared with; none: the first."""
    claims: tuple[ClaimSection, ...] = ()
    """What is expected of the rows; each is judged."""

    @model_validator(mode="after")
    def _consistent(self) -> "AblateConfig":
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)}: each counts once")
        rows = self.rows()
        if not rows:
            raise ValueError("neither settings nor grids: there is nothing to compare")
        named = {"baseline": self.baseline} if self.baseline else {}
        for claim in self.claims:
            named |= {f"claim {claim.name!r}, better": claim.better.setting}
            named |= {f"claim {claim.name!r}, than": claim.than.setting}
        for where, name in named.items():
            if name not in rows:
                raise ValueError(f"{where}: no setting {name!r}; there are {', '.join(rows)}")
        return self

    def rows(self) -> dict[str, SettingSection]:
        """All settings by name: those written out, then those of the grids.

        Raises:
            ValueError: two have one name.
        """
        found = dict(self.settings)
        for grid in self.grids:
            made = grid.rows()
            twice = [name for name in made if name in found]
            if twice:
                raise ValueError(f"two settings are called {twice[0]!r}; rename the grid")
            found |= made
        return found


def load_ablation(
    path: str | os.PathLike[str], overrides: Mapping[str, Any] | None = None
) -> tuple[AblateConfig, Path]:
    """Read an ablation from YAML, and where its run's configuration is.

    `overrides` are the ablation's own `name` and `seeds`, and dotted keys of the run, which go
    over `set`.

    Raises:
        ConfigError: a file is missing or not YAML, or a key is unknown or out of bounds.
    """
    path = Path(path)
    raw = read_yaml(path, "ablation", "name, run, seeds, settings")
    if isinstance(raw.get("run"), dict):
        raise ConfigError(
            f"{path} is the configuration of a run; an ablation names one as its run, beside seeds "
            "and settings: see configs/ablations.yaml"
        )
    own = {k: v for k, v in (overrides or {}).items() if k in ("name", "seeds")}
    common = {k: v for k, v in (overrides or {}).items() if k not in own}
    if common:
        own["set"] = (raw.get("set") or {}) | common
    config = validate(AblateConfig, raw | own, str(path))
    return config, path.parent / config.run
