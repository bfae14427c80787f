"""The whole method as one pipeline: a parameter a section of the configuration, a line a stage."""

from collections.abc import Callable
from typing import Any

from kfp import dsl

from chainsight.config import PlatformSection
from pipelines.placement import Placement, placed
from pipelines.tasks import Tasks

NAME = "chainsight-train"


def build(name: str = "chainsight", settings: PlatformSection | None = None) -> Callable[..., Any]:
    """The pipeline.

    Args:
        name: the run's name, for the pods' labels.
        settings: what the pods are like; shards, labels, retries, time limit and launcher are
            fixed by it, the rest of it is defaults of the pipeline's parameters. None: no pods,
            for this machine.
    """

    @dsl.pipeline(
        name=NAME,
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
        do = Tasks(run, model, platform, name, settings, chosen, NAME)
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
            do.examine(sections)
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
