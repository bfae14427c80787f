"""What a KFP component calls: a stage on manifests, its failure as one message.

What passes through KFP is manifests and numbers; the files stay in the store.
"""

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from chainsight import shards
from chainsight.closing import end_trainings
from chainsight.config import PlatformSection, RunConfig, RunSection, validate
from chainsight.errors import ChainsightError, ConfigError
from chainsight.job import job
from chainsight.progress import EventWriter, parent_events
from chainsight.provenance import trace
from chainsight.runner import StageRun, execute, say
from chainsight.stages import TRAINING
from chainsight.store import Manifest, Store, open_store


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
    page: KfpArtifact | None = None,
    shard: str = "",
    platform: dict[str, Any] | None = None,
) -> StageRun:
    """Run a stage, or what is left of it when its shards are done.

    Args:
        page: gets the outputs' HTML file, for KFP to show.
        shard: "" for a stage of one pod, `all/4` after its four shards.
        platform: how a training gets its processes; None: in this one.
    """
    events = parent_events()
    with _one_message(stage, events):
        work = job(stage, config, run=run, model=model, inputs=_paths(inputs))
        settings = platform and validate(PlatformSection, platform, "platform")
        if events:
            events.write("stage", stage=stage)
        if shard:
            shards.gather(work, shards.parse(shard))
        if settings:
            from chainsight.launch import train  # with Kubernetes' client

            result = train.execute(work, settings, pipeline_run=pipeline_run)
        else:
            result = execute(work, pipeline_run=pipeline_run)
    for kind, artifact in outputs.items():
        _hand_over(work.store, result.outputs[kind], artifact)
    if page:
        _show(work.store, result, page)
    _measure(result, metrics)
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


def take_existing(run: dict[str, Any], policy_uri: str, outputs: Mapping[str, KfpArtifact]) -> None:
    """Hand a policy of the store over, and the artifacts that it was trained on.

    It may be the aligned model of an earlier round.
    """
    with _one_message("existing", parent_events()):
        section = validate(RunSection, run, "run")
        store = open_store(section.store_uri(), Path(section.home) / "cache")
        policy = store.load(policy_uri)
        uris = {**trace(policy.inputs, store.load).uris, "policy": policy_uri}
        for kind, artifact in outputs.items():
            if kind not in uris:
                raise ConfigError(f"{policy_uri} was not trained on {kind}; is it a policy?")
            _hand_over(store, store.load(uris[kind]), artifact)


def score_models(
    sections: Mapping[str, Any],
    models: list[str],
    benchmarks: KfpArtifact,
    *,
    metrics: KfpArtifact,
    table: KfpArtifact,
) -> None:
    """Score models, with a Markdown table and `<model>/<mode>` as metrics."""
    from chainsight.runs import evaluate_models  # with the report's libraries

    with _one_message("score", parent_events()):
        config = validate(RunConfig, dict(sections), "pipeline parameters")
        found = evaluate_models(config, models, benchmarks.metadata["store_uri"])["models"]
    lines = ["| model | direct, % | reasoned, % | questions |", "|---|---|---|---|"]
    for name, modes in found.items():
        cells = [_percent(modes.get(mode)) for mode in ("direct", "cot")]
        count = next(iter(modes.values()))["num_examples"]
        lines.append(f"| {name} | {cells[0]} | {cells[1]} | {count} |")
        metrics.metadata |= {f"{name}/{mode}": m["value"] for mode, m in modes.items()}
    Path(table.path).write_text("\n".join(lines) + "\n", encoding="utf-8")
    Path(metrics.path).write_text("{}", encoding="utf-8")


def run_node(
    ablation: str,
    name: str,
    *,
    pipeline_run: str,
    platform: dict[str, Any],
    metrics: KfpArtifact,
) -> None:
    """Do a node of an ablation, or find it done (`ablation.remote`)."""
    from chainsight.ablation import remote

    stage, _, _ = name.partition("-")
    with _one_message(name, parent_events()):
        work = remote.job_of(remote.unpack(ablation), name)
        if stage in TRAINING:
            from chainsight.launch import train  # with Kubernetes' client

            settings = validate(PlatformSection, platform, "platform")
            result = train.execute(work, settings, pipeline_run=pipeline_run)
        else:
            result = execute(work, pipeline_run=pipeline_run)
    _measure(result, metrics)


def collect_ablation(
    ablation: str,
    *,
    pipeline_run: str,
    platform: dict[str, Any],
    results: KfpArtifact,
    page: KfpArtifact,
) -> None:
    """Write what an ablation has found so far: `ablation.json` and its page, and MLflow's runs."""
    from chainsight.ablation import remote  # with the report's libraries

    with _one_message("collect", parent_events()):
        if validate(PlatformSection, platform, "platform").launcher == "trainjob":
            end_trainings(pipeline_run)
        figures, written = remote.tell(remote.unpack(ablation))
    shutil.copyfile(figures, results.path)
    shutil.copyfile(written, page.path)


def verify_models(
    sections: Mapping[str, Any],
    *,
    version: str,
    given: Mapping[str, str],
    pipeline_run: str,
    benchmarks: KfpArtifact,
    verified: KfpArtifact,
    metrics: KfpArtifact,
) -> None:
    """Run stage verify on a registered version, or on store URIs of `policy` and `aligned`.

    A policy that is not given is the one that the aligned model was trained from.
    """
    from chainsight.verification.models import of_version

    with _one_message("verify", parent_events()):
        config = validate(RunConfig, dict(sections), "pipeline parameters")
        store = open_store(config.run.store_uri(), Path(config.run.home) / "cache")
        inputs = {kind: uri for kind, uri in given.items() if uri} | _paths(
            {"benchmarks": benchmarks}
        )
        if version:
            _, inputs = of_version(version, config, store, inputs)
        elif "aligned" not in inputs:
            raise ConfigError(
                "verify: neither a version nor an aligned model is named; submit with --model "
                "models:/NAME@ALIAS or --aligned URI"
            )
        behind = store.load(inputs["aligned"]).inputs
        work = job(
            "verify",
            config.verify,
            run=config.run,
            model=config.model,
            inputs={kind: behind[kind] for kind in ("policy",) if kind in behind} | inputs,
            store=store,
        )
        result = execute(work, pipeline_run=pipeline_run)
    _hand_over(store, result.outputs["verified"], verified)
    _measure(result, metrics)


def verification_page(
    sections: Mapping[str, Any], *, version: str, verified: KfpArtifact, page: KfpArtifact
) -> None:
    """Make the page of what stage verify found, and send its curves to MLflow."""
    from chainsight.runs import tracked
    from chainsight.verification import work

    with _one_message("verification", parent_events()):
        config = validate(RunConfig, dict(sections), "pipeline parameters")
        uri = verified.metadata["store_uri"]
        store = open_store(config.run.store_uri(), Path(config.run.home) / "cache")
        done = StageRun("verify", {"verified": store.load(uri)}, reused=True)
        with tracked(config, "verify") as run:
            found = work.collect(config, done, {"verified": uri}, version)
            written = work.write(config.run.report_folder(), found)
            work.track(run, found, written)
    shutil.copyfile(written, page.path)


def _measure(result: StageRun, metrics: KfpArtifact) -> None:
    """Show a stage's figures in KFP."""
    metrics.metadata |= {**result.metrics, "seconds": result.seconds, "reused": int(result.reused)}
    Path(metrics.path).write_text("{}", encoding="utf-8")  # kfp.local misses its cache without


def _percent(score: Mapping[str, float] | None) -> str:
    return f"{100 * score['value']:.1f} ± {100 * score['standard_error']:.1f}" if score else ""


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


def _hand_over(store: Store, manifest: Manifest, artifact: KfpArtifact) -> None:
    """Write what passes through KFP: the manifest, and in the metadata what its UI shows."""
    Path(artifact.path).write_text(manifest.to_json(), encoding="utf-8")
    uri = store.artifact_uri(manifest.kind, manifest.key)
    artifact.metadata |= {
        **manifest.metrics,
        "store_uri": uri,
        "digest": manifest.content_digest,
        "num_bytes": manifest.num_bytes,
    }


def _show(store: Store, result: StageRun, page: KfpArtifact) -> None:
    """Copy the page that a stage wrote to where KFP looks for it."""
    for manifest in result.outputs.values():
        for entry in manifest.files:
            if entry.path.endswith(".html"):
                shutil.copyfile(store.fetch(manifest) / entry.path, page.path)
