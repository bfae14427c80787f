"""The pipeline, stage by stage: the one table of names, inputs and outputs.

It is the list of commands, components, images, DAG tasks and test files (README, "The stages").
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Stage:
    """A function on artifacts: `run(config, **inputs, **outputs, context=...) -> metrics`."""

    name: str
    summary: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shared: tuple[str, ...] = ()
    """What else decides the result and so belongs to the stage key: `seed`, `model`."""

    def load(self) -> Callable[..., dict[str, float]]:
        """Import the stage's `run`; only then its heavy libraries."""
        return importlib.import_module(f"chainsight.stages.{self.name}").run  # type: ignore[no-any-return]

    def fingerprint(self, config: Any, context: Any) -> str:
        """Digest of what the stage reads outside the store (source files, a base model)."""
        module = importlib.import_module(f"chainsight.stages.{self.name}")
        reader = getattr(module, "fingerprint", None)
        return reader(config, context) if reader else ""


_TABLE = (
    Stage(
        "prepare",
        "datasets to examples and benchmarks",
        inputs=(),
        outputs=("examples", "benchmarks"),
        shared=("seed",),
    ),
    Stage(
        "distill",
        "the teacher writes rationales",
        inputs=("examples",),
        outputs=("rationales",),
    ),
    Stage(
        "sft",
        "short and reasoned answers to a policy",
        inputs=("examples", "rationales"),
        outputs=("policy",),
        shared=("seed", "model"),
    ),
    Stage(
        "sample",
        "many chains of thought per question",
        inputs=("examples", "policy"),
        outputs=("candidates",),
        shared=("seed", "model"),
    ),
    Stage(
        "pair",
        "right chains against wrong ones",
        inputs=("candidates", "rationales"),
        outputs=("pairs",),
        shared=("seed",),
    ),
    Stage(
        "dpo",
        "align the policy on the pairs",
        inputs=("examples", "pairs", "policy"),
        outputs=("aligned",),
        shared=("seed", "model"),
    ),
    Stage(
        "evaluate",
        "score base, policy and aligned",
        inputs=("benchmarks", "policy", "aligned"),
        outputs=("predictions", "scores"),
        shared=("model",),
    ),
    Stage(
        "register",
        "gate and register the aligned model",
        inputs=("aligned", "predictions", "scores"),
        outputs=("decision",),
    ),
)

STAGES: dict[str, Stage] = {stage.name: stage for stage in _TABLE}
