"""What we ran, in the terms of the paper's rows: a recipe and what was set, whatever its name."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chainsight.report.paper.figures import Place, Result
from chainsight.report.paper.terms import Recipe, Table

DEFAULTS: dict[str, Any] = {
    "sft.composition": "both",
    "sft.direct_ratio": 1.0,
    "sft.reasoned_ratio": 1.0,
    "dpo.token_weights": "none",
    "dpo.sft_weight": 0.0,
    "rft.composition": "reasoned",
}
"""What makes a recipe another one in the paper: a row has these values where it says no other.
Sizes (words, candidates, steps, rates) may be a run's own; `SCALE` of them are named beside it."""
SECTIONS = {
    "base": (),
    "sft": ("sft",),
    "dpo": ("sft", "dpo"),
    "rft": ("sft", "rft"),
    "star": ("sft",),
    "verify": ("sft", "dpo"),
}
"""Sections of `DEFAULTS` that decide each recipe."""
SCALE: dict[str, tuple[str, Any]] = {
    "model.base": ("", "Lin-Chen/open-llava-next-llama3-8b"),
    "sft.learning_rate": ("sft", 5e-6),
    "sample.num_candidates": ("dpo", 32),
    "pair.min_accuracy": ("dpo", 0.25),
    "pair.max_accuracy": ("dpo", 0.85),
    "pair.max_pairs": ("dpo", 3),
    "dpo.beta": ("dpo", 0.1),
    "dpo.max_words": ("dpo", 90),
    "dpo.learning_rate": ("dpo", 5e-7),
}
"""The paper's values of what a small run has otherwise, and the section that must be in use."""
NEXT_8B = (
    "Lin-Chen/open-llava-next-llama3-8b",
    "lmms-lab/llama3-llava-next-8b",
    "llava-hf/llama3-llava-next-8b-hf",
)
"""Checkpoints that the paper's row of the untrained model may be compared with."""


@dataclass(frozen=True)
class Setting:
    """A setting of ours with what each seed scored."""

    name: str
    recipe: str
    """`base`, sft, dpo, rft, star, `verify`; "" for a model that was not made here."""
    config: Mapping[str, Any]
    """The run that it varies: sections as a tree."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Dotted settings over `config`."""
    then: Mapping[str, Any] = field(default_factory=dict)
    """Those of the second SFT of recipe star, over `changes`."""
    rounds: int = 1
    results: Mapping[str, Mapping[Place, Result]] = field(default_factory=dict)
    """By seed."""

    def value(self, dotted: str) -> Any:
        """What a setting is here."""
        if dotted in self.changes:
            return self.changes[dotted]
        found: Any = self.config
        for step in dotted.split("."):
            found = found.get(step) if isinstance(found, Mapping) else None
        return found

    @property
    def effective(self) -> dict[str, Any]:
        """The changes that change something."""
        before = Setting(self.name, self.recipe, self.config)
        return {
            key: value for key, value in self.changes.items() if not same(value, before.value(key))
        }

    def described(self) -> str:
        """`dpo, sft.composition=direct, 2 rounds`."""
        parts = [self.recipe or "a model of its own"]
        parts += [f"{key}={_short(value)}" for key, value in self.changes.items()]
        parts += [f"then {key}={_short(value)}" for key, value in self.then.items()]
        return ", ".join([*parts, *([f"{self.rounds} rounds"] if self.rounds > 1 else [])])

    def unlike_the_paper(self) -> list[str]:
        """`model.base builtin:tiny (paper: ...)` and so on: sizes that are this run's own."""
        own = SECTIONS.get(self.recipe, ())
        return [
            f"{key} {_short(self.value(key))} (paper: {_short(value)})"
            for key, (section, value) in SCALE.items()
            if (not section or section in own or key.startswith(own))
            and self.value(key) is not None
            and not same(self.value(key), value)
        ]


def same(one: Any, other: Any) -> bool:
    """Whether two values of a setting mean the same; the order of names in a list does not."""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return sorted(map(str, one)) == sorted(map(str, other))
    return bool(one == other)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def is_of(setting: Setting, recipe: Recipe) -> bool:
    """Whether a setting is what a row of the paper says, by what was done and not by its name.

    It has the row's recipe and values; what else decides a recipe is as the paper has it; and it
    changes nothing else of the run that it varies.
    """
    if setting.recipe != recipe.name or setting.rounds != 1:
        return False
    wanted = _fixed(recipe.name, ()) | dict(recipe.keys)
    if not all(_has(setting, key, value) for key, value in wanted.items()):
        return False
    changed = {key for key in setting.effective if key.partition(".")[0] not in recipe.free}
    return changed <= set(recipe.keys) and set(setting.then) <= {"sft.composition"}


def _fixed(recipe: str, free: Iterable[str]) -> dict[str, Any]:
    """What decides a recipe, as the paper has it, but for the keys that are `free`."""
    own = (key for key in DEFAULTS if key.split(".")[0] in SECTIONS[recipe])
    return {key: DEFAULTS[key] for key in own if key not in set(free)}


def _has(setting: Setting, key: str, value: Any) -> bool:
    found = setting.value(key)
    return same(DEFAULTS.get(key) if found is None and key in DEFAULTS else found, value)


def variation(setting: Setting, table: Table) -> str:
    """A setting's name as a row that the paper's table has not; "" if it does not belong there."""
    allowed = table.varies.get(setting.recipe, {})
    own = {key: value for key in allowed if not same(value := setting.value(key), allowed[key])}
    fixed = _fixed(setting.recipe, allowed) if own else {}
    if not own or setting.rounds != 1 or not set(setting.effective) <= {*allowed}:
        return ""
    if not all(_has(setting, key, value) for key, value in fixed.items()):
        return ""
    return ", ".join(f"{key}={_short(value)}" for key, value in own.items())
