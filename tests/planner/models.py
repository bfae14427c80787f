"""The paper's model and run, for the planner's tests."""

from typing import Any

from chainsight.config import RunConfig
from chainsight.planner import shapes
from chainsight.planner.advice import Plan
from chainsight.planner.memory import Processes

LLAVA_8B = shapes.of(
    {
        "model_type": "llava_next",
        "text_config": {
            "model_type": "llama",
            "intermediate_size": 14336,
            "num_key_value_heads": 8,
            "vocab_size": 128256,
        },
    }
)
PREPARE = {"examples": [{"dataset": "bars"}], "benchmarks": [{"dataset": "bars"}]}
PAPER: dict[str, dict[str, Any]] = {
    "model": {"dtype": "bfloat16", "gradient_checkpointing": True},
    "dpo": {"device_batch_size": 1},
}


def run(**changes: dict[str, Any]) -> RunConfig:
    """The paper's run with other settings, by section."""
    merged = {name: PAPER.get(name, {}) | changes.get(name, {}) for name in PAPER | changes}
    return RunConfig.model_validate({"prepare": PREPARE, **merged})


def plan(stage: str, number: int = 8, parallel: str = "fsdp", **changes: dict[str, Any]) -> Plan:
    """Of the paper's model on so many GPUs."""
    platform = {"gpus": number, "parallel": parallel} | changes.pop("platform", {})
    config = run(platform=platform, **changes)
    return Plan(stage, LLAVA_8B, config, Processes(number, parallel))
