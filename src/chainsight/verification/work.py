"""A verification from the models to the page: the stage, the curves, MLflow."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chainsight import records, stored
from chainsight.analysis.credit import credit
from chainsight.analysis.curves import curves, grouped
from chainsight.analysis.voting import Scale
from chainsight.config import RunConfig
from chainsight.records import Verified
from chainsight.report.credit import metrics
from chainsight.report.verification import Verification, build, to_json
from chainsight.runner import StageRun, run_alone
from chainsight.runs import tracked
from chainsight.store import open_store
from chainsight.tracking import Run
from chainsight.verification.models import of_version


def verify(
    config: RunConfig, model: str | None, given: Mapping[str, str]
) -> tuple[dict[str, Any], Path]:
    """Verify the run's own model, or the registered version `model`.

    Args:
        config: the run; its section `verify` says how many answers are drawn.
        model: see `models.of_version`; none: the run's own `aligned`.
        given: manifests or store URIs of inputs, by kind.

    Returns:
        What the page's JSON file holds, and where the page is.

    Raises:
        ConfigError: an input is neither given nor finished.
    """
    store = open_store(config.run.store_uri(), Path(config.run.home) / "cache")
    inputs, name = dict(given), ""
    if model:
        version, inputs = of_version(model, config, store, given)
        name = version.uri
        if "benchmarks" not in inputs:
            inputs["benchmarks"] = run_alone("prepare", config, {})[1]["benchmarks"]
    with tracked(config, "verify") as run:
        done, uris = run_alone("verify", config, inputs)
        found = collect(config, done, uris, name)
        page = write(config.run.report_folder(), found)
        track(run, found, page)
    return to_json(found), page


def collect(
    config: RunConfig, done: StageRun, uris: Mapping[str, str], version: str
) -> Verification:
    """The stage's answers as curves, over all benchmarks and for each where there are several."""
    store = open_store(config.run.store_uri(), Path(config.run.home) / "cache")
    manifest = done.outputs["verified"]
    rows = list(records.read(store.fetch(manifest) / "verified.parquet", Verified))
    groups = grouped(rows)
    benchmarks = store.fetch(manifest.inputs["benchmarks"])
    examples = {one.id: one for one in stored.examples(benchmarks / "benchmarks.parquet")}
    scale = Scale(config.verify.beta, config.verify.max_words)
    parts = {name: {name: own} for name, own in groups.items()} if len(groups) > 1 else {}
    return Verification(
        name=config.run.name,
        version=version,
        artifacts={**manifest.inputs, **uris},
        questions=groups,
        curves={name: curves(own, scale=scale) for name, own in {"all": groups, **parts}.items()},
        credit=credit(examples, rows),
        settings=config.verify,
        benchmarks=benchmarks,
        seconds=done.seconds,
    )


def write(folder: Path, found: Verification) -> Path:
    """Write the page and, beside it, its figures as JSON; where the page is.

    A registered version has files of its own, `verification-NAME-3.html`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    named = found.version.removeprefix("models:/").split("/") if found.version else []
    page = folder / f"{'-'.join(['verification', *named])}.html"
    text = json.dumps(to_json(found), indent=1, sort_keys=True) + "\n"
    page.with_suffix(".json").write_text(text, encoding="utf-8")
    page.write_text(build(found), encoding="utf-8")
    return page


def track(run: Run, found: Verification, page: Path) -> None:
    """The curves as metrics, the number of samples being the step."""
    for part, points in found.curves.items():
        place = "" if part == "all" else f"{part}/"
        for point in points:
            at = f"{place}{point.method}"
            run.log({f"{at}/accuracy": point.value, f"{at}/gain": point.gain}, step=point.n)
    if found.credit:
        run.log(metrics(found.credit))
    run.tags({f"artifact.{kind}": uri for kind, uri in found.artifacts.items()})
    run.tags({"chainsight.version": found.version} if found.version else {})
    run.artifact(page)
    run.artifact(page.with_suffix(".json"))
