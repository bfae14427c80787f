"""The pipeline, stage by stage: the one table of names, inputs and outputs.

`STAGES` is the list of commands, components, images, DAG tasks and test files (README, "The
stages"). `ON_DEMAND` are run by the commands that need them (`verify`, `ablate`), through the same
runner, so that their artifacts are kept and found again alike.
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
    outside: bool = False
    """Whether it reads more than its inputs and the base model; then its module says what by a
    function `fingerprint`, and imports nothing heavy."""
    light: bool = False
    """Whether it looks at its inputs without their weights."""
    sharded: bool = False
    """Whether several pods may share the work; then its module has a function `run_shard`."""
    section: str = ""
    """Section of the configuration; "": the one of its name."""

    def load(self) -> Callable[..., dict[str, float]]:
        """Import the stage's `run`; only then its heavy libraries."""
        return importlib.import_module(f"chainsight.stages.{self.name}").run  # type: ignore[no-any-return]

    def load_shard(self) -> Callable[..., None]:
        """Import the function that does one shard's part."""
        assert self.sharded, self.name
        return importlib.import_module(f"chainsight.stages.{self.name}").run_shard  # type: ignore[no-any-return]

    def fingerprint(self, config: Any, context: Any) -> str | dict[str, Any]:
        """What the stage reads outside the store (source files, a registry): a digest, or digests
        by name, which its manifests then show."""
        if not self.outside:
            return ""
        module = importlib.import_module(f"chainsight.stages.{self.name}")
        return module.fingerprint(config, context)  # type: ignore[no-any-return]


_TABLE = (
    Stage(
        "prepare",
        "datasets to examples, benchmarks and an inventory",
        inputs=(),
        outputs=("examples", "benchmarks", "inventory"),
        shared=("seed",),
        outside=True,
        sharded=True,
    ),
    Stage(
        "distill",
        "the teacher writes rationales",
        inputs=("examples",),
        outputs=("rationales",),
        sharded=True,
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
        sharded=True,
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
        outside=True,
        sharded=True,
    ),
    Stage(
        "register",
        "gate and register the aligned model",
        inputs=("aligned", "predictions", "scores"),
        outputs=("decision",),
        outside=True,
        light=True,
    ),
)

_FURTHER = (
    Stage(
        "score",
        "score one model",
        inputs=("benchmarks", "policy"),
        outputs=("predictions", "scores"),
        shared=("model",),
        section="evaluate",
    ),
    Stage(
        "verify",
        "many answers to benchmark questions, judged by log(aligned / policy)",
        inputs=("benchmarks", "policy", "aligned"),
        outputs=("verified",),
        shared=("seed", "model"),
    ),
    Stage(
        "adopt",
        "the policy's own right chains, as rationales",
        inputs=("candidates",),
        outputs=("rationales",),
        shared=("seed",),
    ),
    Stage(
        "rft",
        "rejection fine-tuning: the policy learns its own right chains",
        inputs=("examples", "rationales", "policy"),
        outputs=("aligned",),
        shared=("seed", "model"),
    ),
)

STAGES: dict[str, Stage] = {stage.name: stage for stage in _TABLE}
ON_DEMAND: dict[str, Stage] = {stage.name: stage for stage in _FURTHER}
ALL = STAGES | ON_DEMAND

TRAINING = frozenset({"sft", "dpo", "rft"})
"""Stages that train: they may take several processes, GPUs and nodes."""
ON_GPUS = TRAINING | {"sample", "evaluate", "score", "verify"}
"""Stages that compute with a model."""

SERVES_AS = {"policy": ("policy", "aligned")}
"""Kinds that an input takes beside its own: an aligned model is the policy of a further round."""
