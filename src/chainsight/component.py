"""What a KFP component calls: a stage on manifests, its failure as one message.

What passes through KFP is manifests and numbers; the files stay in the store.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from chainsight import shards
from chainsight.config import PlatformSection, validate
from chainsight.errors import ChainsightError
from chainsight.progress import EventWriter, parent_events
from chainsight.runner import Job, StageRun, execute, job, say


class KfpArtifact(Protocol):
    """What a component's artifact parameter offers (`kfp.dsl.Artifact`)."""

    path: str
    metadata: dict[str, Any]


def run_component(
    stage: str,
    config: dict[str, Any],
    *,
    run: dict[str, Any],
    model: dict[str, Any],
    pipeline_run: str,
    inputs: Mapping[str, KfpArtifact],
    outputs: Mapping[str, KfpArtifact],
    metrics: KfpArtifact,
    shard: str = "",
    platform: dict[str, Any] | None = None,
) -> StageRun:
    """Run a stage, or what is left of it when its shards are done.

    Args:
        shard: "" for a stage of one pod, `all/4` after its four shards.
        platform: how a training gets its processes; None: in this one.
    """
    events = parent_events()
    with _one_message(stage, events):
        work = job(stage, config, run=run, model=model, inputs=_paths(inputs))
        validate(PlatformSection, platform or {}, "platform")
        if events:
            events.write("stage", stage=stage)
        if shard:
            shards.gather(work, shards.parse(shard))
        result = execute(work, pipeline_run=pipeline_run)
    _hand_over(work, result, outputs, metrics)
    if events:
        events.write("done", stage=stage, reused=result.reused, metrics=result.metrics)
    return result


def run_sharded(stage: str, config: dict[str, Any], *, shard: str, **arguments: Any) -> None:
    """As `run_component`, or one shard: `0/4` is the first of four."""
    if shard and not shard.startswith(shards.ALL):
        with _one_message(stage, parent_events()):
            inputs = _paths(arguments["inputs"])
            work = job(stage, config, run=arguments["run"], model=arguments["model"], inputs=inputs)
            shards.execute(work, shards.parse(shard))
    else:
        run_component(stage, config, shard=shard, **arguments)


def _paths(artifacts: Mapping[str, KfpArtifact]) -> dict[str, str]:
    return {kind: artifact.path for kind, artifact in artifacts.items()}


@contextmanager
def _one_message(stage: str, events: EventWriter | None) -> Iterator[None]:
    """A failure that the user can mend ends in its message and exit code, without a traceback."""
    try:
        yield
    except ChainsightError as error:
        if events:
            events.write("failed", stage=stage, message=str(error))
        say(f"{stage}: {error}")
        sys.exit(error.exit_code)


def _hand_over(
    work: Job, result: StageRun, outputs: Mapping[str, KfpArtifact], metrics: KfpArtifact
) -> None:
    for kind, artifact in outputs.items():
        manifest = result.outputs[kind]
        uri = work.store.artifact_uri(kind, manifest.key)
        Path(artifact.path).write_text(manifest.to_json(), encoding="utf-8")
        artifact.metadata |= {"store_uri": uri, "digest": manifest.content_digest}
    metrics.metadata |= {**result.metrics, "seconds": result.seconds, "reused": int(result.reused)}
    Path(metrics.path).write_text("{}", encoding="utf-8")  # kfp.local misses its cache without
