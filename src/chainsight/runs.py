"""A pipeline run as a whole: its report, its summary, its place in MLflow."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from chainsight.config import RunConfig, RunSection, validate
from chainsight.context import Context
from chainsight.errors import ConfigError
from chainsight.inventory.report import HTML_FILE, JSON_FILE
from chainsight.job import job
from chainsight.progress import choose
from chainsight.quality import tally
from chainsight.report import StageResult, build, collect, summary
from chainsight.runner import StageRun, find, left_behind, lineage, run_alone
from chainsight.store import Store, open_store
from chainsight.tracking import PARENT_VARIABLE, Run, Tracking


def write_report(
    run: RunSection | dict[str, Any],
    results: Iterable[StageRun],
    path: str | Path,
    stopped: Path | None = None,
) -> dict[str, Any]:
    """Write the HTML report of everything that `results` came from to `path`.

    A `summary.json` for machines is put beside it. `stopped` is the folder of a distillation that
    did not finish.

    Returns:
        The summary: models, counts, seconds, cost, versions, registered version.
    """
    run = run if isinstance(run, RunSection) else validate(RunSection, run, "run")
    store = open_store(run.store_uri(), Path(run.home) / "cache")
    outputs = {kind: m for result in results for kind, m in result.outputs.items()}
    stages = lineage(store, outputs)
    data = collect(run.name, _with_folders(store, stages), stopped=stopped)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(build(data), encoding="utf-8")
    result = summary(data)
    target = path.with_name("summary.json")
    target.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return result


def quality(run: RunSection, distilled: StageRun) -> dict[str, Any]:
    """What became of the teacher's answers (`chainsight.quality.tally`)."""
    store = open_store(run.store_uri(), Path(run.home) / "cache")
    folder = store.fetch(distilled.outputs["rationales"])
    found: dict[str, Any] = json.loads((folder / tally.FILE).read_text(encoding="utf-8"))
    return found


def stopped(config: RunConfig, done: Mapping[str, StageRun]) -> Path | None:
    """Where a distillation that did not finish left the answers that came; None: nowhere."""
    if "prepare" not in done or "distill" in done:
        return None
    store = open_store(config.run.store_uri(), Path(config.run.home) / "cache")
    examples = done["prepare"].outputs["examples"]
    inputs = {"examples": store.artifact_uri("examples", examples.key)}
    work = job(
        "distill", config.distill, run=config.run, model=config.model, inputs=inputs, store=store
    )
    return left_behind(work, "rationales")


def _with_folders(store: Store, stages: Mapping[str, StageRun]) -> dict[str, StageResult]:
    return {
        name: StageResult(
            name=name,
            metrics=run.metrics,
            seconds=run.seconds,
            reused=run.reused,
            folders={kind: store.fetch_light(manifest) for kind, manifest in run.outputs.items()},
            config=next(iter(run.outputs.values())).config.get("config", {}),
            code_version=next(iter(run.outputs.values())).code_version,
            model=next(iter(run.outputs.values())).config.get("model", {}),
        )
        for name, run in stages.items()
    }


def inventory(config: RunConfig) -> tuple[dict[str, Any], Path]:
    """The data report of the configuration's own run, and the file of its page.

    Raises:
        ConfigError: the data were not prepared yet.
    """
    store = open_store(config.run.store_uri(), Path(config.run.home) / "cache")
    done = find(
        job("prepare", config.prepare, run=config.run, model=config.model, inputs={}, store=store)
    )
    if done is None:
        raise ConfigError("these data were not read yet: run `chainsight prepare CONFIG` first")
    folder = store.fetch(done.outputs["inventory"])
    return json.loads((folder / JSON_FILE).read_text(encoding="utf-8")), folder / HTML_FILE


@contextmanager
def tracked(config: RunConfig, what: str = "") -> Iterator[Run]:
    """MLflow's parent run of a local pipeline run, or of `what` else; its stages nest under it."""
    parts = (config.run.name, what, f"{datetime.now(UTC):%Y%m%d-%H%M%S}")
    name = "-".join(part for part in parts if part)
    run = Tracking(config.run.mlflow_uri(), config.run.experiment).parent(name)
    if run.run_id:
        os.environ[PARENT_VARIABLE] = run.run_id
    run.params(config.model_dump(mode="json", by_alias=True))
    status = "FAILED"
    try:
        yield run
        status = "FINISHED"
    finally:
        os.environ.pop(PARENT_VARIABLE, None)
        run.close(status)


def log_summary(run: Run, folder: Path, summary: Mapping[str, Any]) -> None:
    """Put a run's scores and its report beside its MLflow run."""
    values = {
        f"{model}/{mode}/accuracy": score["value"]
        for model, modes in summary.get("models", {}).items()
        for mode, score in modes.items()
        if "value" in score
    }
    if values:
        run.log(values)
    for name in ("report.html", "summary.json"):
        if (folder / name).is_file():
            run.artifact(folder / name)


def evaluate_models(
    config: RunConfig, references: Iterable[str], benchmarks: str | None
) -> dict[str, Any]:
    """Score any models on the configuration's benchmarks; nothing is committed.

    Args:
        config: gives benchmarks, modes and decoding.
        references: `[NAME=]REF`, with REF a folder, a hub id or `models:/NAME@ALIAS`.
        benchmarks: manifest or store URI; none: those of the configuration's own run.

    Returns:
        The summary that the stage writes: `models.<name>.<mode>` and the benchmark fingerprint.
    """
    from chainsight.stages import evaluate

    named = [_named(reference) for reference in references]
    names = [name for name, _ in named]
    if len(set(names)) < len(names):
        raise ConfigError(f"two models have one name in {names}; write --model NAME=REF")
    store = open_store(config.run.store_uri(), Path(config.run.home) / "cache")
    if benchmarks is None:
        _, uris = run_alone("prepare", config, {})
        benchmarks = uris["benchmarks"]
    with TemporaryDirectory() as folder:
        predictions, scores = Path(folder) / "predictions", Path(folder) / "scores"
        work = Path(folder) / "work"
        for path in (predictions, scores, work):
            path.mkdir()
        context = Context(
            work=work,
            ledger=work,
            seed=config.run.seed,
            model=config.model,
            tracking_uri=config.run.mlflow_uri(),
            fetch=store.fetch,
            manifest=store.load,
            progress=choose(),
        )
        evaluate.evaluate_models(
            dict(named),
            benchmarks=store.fetch(benchmarks),
            predictions=predictions,
            scores=scores,
            config=config.evaluate,
            context=context,
        )
        summary: dict[str, Any] = json.loads((scores / "summary.json").read_text())
    return summary


def _named(reference: str) -> tuple[str, str]:
    name, equals, rest = reference.partition("=")
    if equals and "/" not in name:
        return name, rest
    return reference.rstrip("/").rpartition("/")[2], reference
