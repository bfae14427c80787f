"""The one table of recipes: which stages a setting goes through, and what each is given."""

from collections.abc import Iterator
from dataclasses import dataclass

from chainsight.config.ablate import Variation
from chainsight.stages import ALL, Stage


@dataclass(frozen=True)
class Recipe:
    """A chain of stages: what all begin with, and what a round adds."""

    opening: tuple[str, ...]
    round: tuple[str, ...] = ()


_DATA = ("prepare", "distill", "sft")
RECIPES: dict[str, Recipe] = {
    "sft": Recipe(_DATA),
    "dpo": Recipe(_DATA, ("sample", "pair", "dpo")),
    "rft": Recipe(_DATA, ("sample", "adopt", "rft")),
    "star": Recipe(_DATA, ("sample", "adopt", "sft")),
}


@dataclass(frozen=True)
class Step:
    """One stage of a chain."""

    stage: Stage
    label: str
    """The stage's name, with a number from its second time on: `sample 2`."""
    later: bool
    """Whether it comes after the opening, where recipe star's `then` holds."""


def chain(setting: Variation) -> list[Step]:
    """The steps of a setting, in order."""
    return list(_numbered(setting))


def _numbered(setting: Variation) -> Iterator[Step]:
    recipe = RECIPES[setting.recipe]
    closing = ("score", "verify") if setting.verify else ("score",)
    names = [*recipe.opening, *recipe.round * setting.rounds, *closing]
    for at, name in enumerate(names):
        times = names[: at + 1].count(name)
        label = name if times == 1 else f"{name} {times}"
        yield Step(ALL[name], label, later=at >= len(recipe.opening))


def source(stage: Stage, kind: str) -> tuple[str, ...]:
    """Which kinds of artifact a stage takes for its input `kind`, the newest first.

    A policy is whichever model was made last; `verify` alone wants the supervised one, which its
    aligned model is judged by.
    """
    if kind == "policy" and stage.name != "verify":
        return ("policy", "aligned")
    return (kind,)
