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
        return getattr(module, "fingerprint", lambda config, context: "")(config, context)  # type: ignore[no-any-return]


STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage("prepare", "datasets to examples and benchmarks", (), ("examples", "benchmarks"), ("seed",)),
        Stage("distill", "the teacher writes rationales", ("examples",), ("rationales",)),
        Stage("sft", "short and reasoned answers to a policy", ("examples", "rationales"), ("policy",), ("seed", "model")),
        Stage("sample", "many chains of thought per question", ("examples", "policy"), ("candidates",), ("seed", "model")),
        Stage("pair", "right chains against wrong ones", ("candidates", "rationales"), ("pairs",), ("seed",)),
        Stage("dpo", "align the policy on the pairs", ("examples", "pairs", "policy"), ("aligned",), ("seed", "model")),
        Stage("evaluate", "score base, policy and aligned", ("benchmarks", "policy", "aligned"), ("predictions", "scores"), ("model",)),
        Stage("register", "gate and register the aligned model", ("aligned", "predictions", "scores"), ("decision",)),
    )
}  # fmt: skip
