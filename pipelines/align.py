"""From a policy to an aligned, registered model: sample, pair, DPO, evaluate, register.

For a policy that another run has trained: no teacher is asked and no SFT is run.
"""

from collections.abc import Callable
from typing import Any

from kfp import dsl

from chainsight.config import PlatformSection
from pipelines.placement import Placement, placed
from pipelines.tasks import Tasks

NAME = "chainsight-align"


def build(name: str = "chainsight", settings: PlatformSection | None = None) -> Callable[..., Any]:
    """The pipeline; arguments as `pipelines.train.build`."""

    @dsl.pipeline(
        name=NAME,
        description="Align an existing policy by DPO on its own samples (arXiv 2410.16198).",
    )
    @placed
    def align(
        policy_uri: str,
        run: dict,
        model: dict,
        prepare: dict,
        sample: dict,
        pair: dict,
        dpo: dict,
        evaluate: dict,
        register: dict,
        platform: dict,
        chosen: Placement,
    ) -> None:
        """Align an existing policy.

        Args:
            policy_uri: The policy's address in the store, <store>/policy/<key>.
            run: Name, seed, store and tracking of the run.
            model: The base model of the policy and its precision.
            prepare: Datasets to read; its benchmarks are used.
            sample: Candidates per question.
            pair: The accuracy band and the number of pairs.
            dpo: Direct preference optimisation.
            evaluate: How and what to evaluate.
            register: The registered model and its gate.
            platform: How a training gets its processes, and what a TrainJob's pods get.
        """
        do = Tasks(run, model, platform, name, settings, chosen, NAME)
        sections = {
            "policy_uri": policy_uri,
            "run": run,
            "model": model,
            "prepare": prepare,
            "sample": sample,
            "pair": pair,
            "dpo": dpo,
            "evaluate": evaluate,
            "register": register,
            "platform": platform,
        }
        with dsl.ExitHandler(do.closing(sections), name="stages"):
            benchmarks = do("prepare", config=prepare)["benchmarks"]
            known = do.take(policy_uri)
            examples, rationales, policy = known["examples"], known["rationales"], known["policy"]
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

    return align  # type: ignore[no-any-return]
