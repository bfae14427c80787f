"""A model's own judgement of its answers: a registered version, or models of the store."""

from collections.abc import Callable
from typing import Any

from kfp import dsl

from chainsight.config import PlatformSection
from pipelines.placement import Placement, placed
from pipelines.tasks import Tasks

NAME = "chainsight-verify"


def build(name: str = "chainsight", settings: PlatformSection | None = None) -> Callable[..., Any]:
    """The pipeline; arguments as `pipelines.train.build`."""

    @dsl.pipeline(
        name=NAME,
        description="Best-of-N and voting by log(aligned / policy), on the benchmarks.",
    )
    @placed
    def verify(
        run: dict,
        model: dict,
        prepare: dict,
        verify: dict,
        chosen: Placement,
        version: str = "",
        policy_uri: str = "",
        aligned_uri: str = "",
    ) -> None:
        """Let an aligned model judge its own answers.

        Args:
            run: Name, seed, store and tracking of the run.
            model: The base model and its precision.
            prepare: Datasets to read; its benchmarks are used.
            verify: How many answers, and how they are drawn.
            version: A registered version, models:/NAME@ALIAS; or empty, with aligned_uri.
            policy_uri: What it is compared with, <store>/policy/<key>; empty, its own policy.
            aligned_uri: The aligned model's address in the store, <store>/aligned/<key>.
        """
        do = Tasks(run, model, {}, name, settings, chosen, NAME)
        benchmarks = do("prepare", config=prepare)["benchmarks"]
        models = {"version": version, "policy_uri": policy_uri, "aligned_uri": aligned_uri}
        do.verify(models, benchmarks, prepare=prepare, verify=verify)

    return verify  # type: ignore[no-any-return]
