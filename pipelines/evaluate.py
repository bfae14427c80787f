"""Any models against the benchmarks: registered versions, hub ids, folders."""

from collections.abc import Callable
from typing import Any

from kfp import dsl

from chainsight.config import PlatformSection
from pipelines.placement import Placement, placed
from pipelines.tasks import Tasks

NAME = "chainsight-evaluate"


def build(name: str = "chainsight", settings: PlatformSection | None = None) -> Callable[..., Any]:
    """The pipeline; arguments as `pipelines.train.build`."""

    @dsl.pipeline(
        name=NAME,
        description="Score registered versions, or any models, on the benchmarks.",
    )
    @placed
    def evaluate(
        models: list,
        run: dict,
        model: dict,
        prepare: dict,
        evaluate: dict,
        chosen: Placement,
    ) -> None:
        """Score models; nothing is registered.

        Args:
            models: What to score, as [NAME=]REF: models:/NAME@ALIAS, a hub id or a folder.
            run: Name, seed, store and tracking of the run.
            model: The base model and its precision.
            prepare: Datasets to read; its benchmarks are used.
            evaluate: How to ask.
        """
        do = Tasks(run, model, {}, name, settings, chosen, NAME)
        benchmarks = do("prepare", config=prepare)["benchmarks"]
        do.score(models, prepare=prepare, evaluate=evaluate, benchmarks=benchmarks)

    return evaluate  # type: ignore[no-any-return]
