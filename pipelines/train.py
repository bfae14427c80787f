"""The whole method as one pipeline: a parameter a section of the configuration, a line a stage."""

from pathlib import Path
from typing import Any

from kfp import compiler, dsl

import components as stage
from chainsight.config import RunConfig


@dsl.pipeline(
    name="chainsight-train",
    description="Teach a vision language model to reason step by step (arXiv 2410.16198).",
)
def train(
    run: dict,
    model: dict,
    prepare: dict,
    distill: dict,
    sft: dict,
    sample: dict,
    pair: dict,
    dpo: dict,
    evaluate: dict,
    register: dict,
    platform: dict,
) -> None:
    """Teach a vision language model to reason.

    Args:
        run: name, seed, store and tracking of the run.
        model: the base model and its precision.
        prepare: datasets to read.
        distill: the teacher, its limits and prices.
        sft: supervised fine-tuning.
        sample: candidates per question.
        pair: the accuracy band and the number of pairs.
        dpo: direct preference optimisation.
        evaluate: how and what to evaluate.
        register: the registered model and its gate.
        platform: what the stages get on a cluster.
    """
    shared: dict[str, Any] = {
        "run": run,
        "model": model,
        "pipeline_run": dsl.PIPELINE_JOB_ID_PLACEHOLDER,
    }
    prepared = stage.prepare(config=prepare, **shared).outputs
    examples, benchmarks = prepared["examples"], prepared["benchmarks"]
    rationales = stage.distill(config=distill, examples=examples, **shared).outputs["rationales"]
    policy = stage.sft(config=sft, examples=examples, rationales=rationales, **shared).outputs[
        "policy"
    ]
    candidates = stage.sample(config=sample, examples=examples, policy=policy, **shared).outputs[
        "candidates"
    ]
    pairs = stage.pair(config=pair, candidates=candidates, rationales=rationales, **shared).outputs[
        "pairs"
    ]
    aligned = stage.dpo(
        config=dpo, examples=examples, pairs=pairs, policy=policy, **shared
    ).outputs["aligned"]
    results = stage.evaluate(
        config=evaluate, benchmarks=benchmarks, policy=policy, aligned=aligned, **shared
    ).outputs
    stage.register(
        config=register,
        aligned=aligned,
        predictions=results["predictions"],
        scores=results["scores"],
        **shared,
    )


def parameters(config: RunConfig) -> dict[str, dict[str, Any]]:
    """The pipeline's parameters: the sections of `config`, as plain values.

    KFP has no null, so unset values are left out: they are defaults (tests/test_config.py).
    """
    return config.model_dump(mode="json", by_alias=True, exclude_none=True)


def compile_to(config: RunConfig, path: Path) -> None:
    """Write the pipeline's IR to `path`, with `config` as the parameters' defaults."""
    compiler.Compiler().compile(train, str(path), pipeline_parameters=parameters(config))
