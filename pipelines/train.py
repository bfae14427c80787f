"""The whole method as one pipeline: a parameter a section of the configuration, a line a stage."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kfp import compiler, dsl

from chainsight.config import PlatformSection, RunConfig
from pipelines.placement import Placement, defaults, placed
from pipelines.tasks import Tasks


def build(name: str = "chainsight", settings: PlatformSection | None = None) -> Callable[..., Any]:
    """The pipeline.

    Args:
        name: the run's name, for the pods' labels.
        settings: what the pods are like; shards, labels, retries, time limit and launcher are
            fixed by it, the rest of it is defaults of the pipeline's parameters. None: no pods,
            for this machine.
    """

    @dsl.pipeline(
        name="chainsight-train",
        description="Teach a vision language model to reason step by step (arXiv 2410.16198).",
    )
    @placed
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
        chosen: Placement,
    ) -> None:
        """Teach a vision language model to reason.

        Args:
            run: Name, seed, store and tracking of the run.
            model: The base model and its precision.
            prepare: Datasets to read.
            distill: The teacher, its limits and prices.
            sft: Supervised fine-tuning.
            sample: Candidates per question.
            pair: The accuracy band and the number of pairs.
            dpo: Direct preference optimisation.
            evaluate: How and what to evaluate.
            register: The registered model and its gate.
            platform: How a training gets its processes, and what a TrainJob's pods get.
        """
        do = Tasks(run, model, platform, name, settings, chosen)
        sections = {
            "run": run,
            "model": model,
            "prepare": prepare,
            "distill": distill,
            "sft": sft,
            "sample": sample,
            "pair": pair,
            "dpo": dpo,
            "evaluate": evaluate,
            "register": register,
            "platform": platform,
        }
        with dsl.ExitHandler(do.closing(sections), name="stages"):
            prepared = do("prepare", config=prepare)
            examples, benchmarks = prepared["examples"], prepared["benchmarks"]
            rationales = do("distill", config=distill, examples=examples)["rationales"]
            policy = do("sft", config=sft, examples=examples, rationales=rationales)["policy"]
            candidates = do("sample", config=sample, examples=examples, policy=policy)["candidates"]
            pairs = do("pair", config=pair, candidates=candidates, rationales=rationales)["pairs"]
            aligned = do("dpo", config=dpo, examples=examples, pairs=pairs, policy=policy)[
                "aligned"
            ]
            results = do(
                "evaluate", config=evaluate, benchmarks=benchmarks, policy=policy, aligned=aligned
            )
            predictions, scores = results["predictions"], results["scores"]
            do("register", config=register, aligned=aligned, predictions=predictions, scores=scores)

    return train  # type: ignore[no-any-return]


def parameters(config: RunConfig) -> dict[str, Any]:
    """The pipeline's parameters: the sections of `config`, as plain values, and the placement.

    KFP has no null, so unset values are left out: they are defaults (tests/test_config.py).
    """
    sections = config.model_dump(mode="json", by_alias=True, exclude_none=True)
    return sections | defaults(config.platform)


def compile_to(config: RunConfig, path: Path) -> None:
    """Write the pipeline's IR to `path`, with `config` as the parameters' defaults.

    Equal pipelines give equal bytes: kfp's comment on top, in random order, is left out.
    """
    pipeline = build(config.run.name, config.platform)
    compiler.Compiler().compile(pipeline, str(path), pipeline_parameters=parameters(config))
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith("#")), encoding="utf-8")
