"""Settings of one pipeline, several seeds each: what they share is one task, the rest side by side.

The nodes of the ablation's plan go level by level, in a loop for each stage of a level; a node
reads only from levels before it. Nothing but names passes between tasks: a pod finds its inputs
in the store (`chainsight.ablation.remote`).
"""

from collections.abc import Callable, Mapping
from typing import Any

from kfp import dsl

from chainsight.ablation.plan import Node
from chainsight.ablation.remote import label, packed_run, unpack
from chainsight.config import PlatformSection
from chainsight.stages import STAGES
from pipelines.placement import Placement, placed
from pipelines.tasks import Tasks

NAME = "chainsight-ablate"


def build(
    name: str = "chainsight", settings: PlatformSection | None = None, *, ablation: str
) -> Callable[..., Any]:
    """The pipeline of one ablation; further arguments as `pipelines.train.build`.

    Args:
        ablation: what to compare (`remote.pack`); its nodes are the tasks.
    """
    levels = [_by_stage(level) for level in unpack(ablation).levels]
    at_once = settings.ablation_pods if settings else 1
    run = packed_run(ablation)
    sections = {name: run[name] for name in ("run", "model", *STAGES)}

    @dsl.pipeline(
        name=NAME,
        description="Compare settings of the method over several seeds; common work is done once.",
    )
    @placed
    def ablate(ablation: str, platform: dict, chosen: Placement) -> None:
        """Compare settings.

        Args:
            ablation: The settings and the run that they vary, as `chainsight compile` writes them.
            platform: How a training gets its processes, and what a TrainJob's pods get.
        """
        do = Tasks({}, {}, platform, name, settings, chosen, NAME)
        with dsl.ExitHandler(do.collect(ablation), name="nodes"):
            do.examine(sections | {"platform": platform})
            before: list[Any] = []
            for level in levels:
                tasks = []
                for stage, nodes in level.items():
                    with dsl.ParallelFor(nodes, name=stage, parallelism=at_once) as node:
                        tasks.append(do.node(stage, node, ablation, before))
                before = tasks

    return ablate  # type: ignore[no-any-return]


def _by_stage(level: tuple[Node, ...]) -> Mapping[str, list[str]]:
    """The nodes' names by stage."""
    found: dict[str, list[str]] = {}
    for node in level:
        found.setdefault(node.stage.name, []).append(label(node))
    return found
