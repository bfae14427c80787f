"""`chainsight doctor`: what a configuration needs, checked without running it."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from chainsight.config import RunConfig
from chainsight.datasets import DATASETS
from chainsight.errors import ChainsightError
from chainsight.store import open_store

MARKS = {"ok": "[green]✓[/]", "warn": "[yellow]![/]", "fail": "[red]✗[/]"}
NEEDS = {
    "openai": "distill",
    "torch": "sft, sample, dpo and evaluate",
    "trl": "sft and dpo",
    "mlflow": "register and tracking",
    "kfp": "run and compile",
}
"""Packages by the stage or command that imports them."""


@dataclass(frozen=True)
class Check:
    """One finding. `fail` stops a run, `warn` stops it on this machine or may cost time."""

    what: str
    level: Literal["ok", "warn", "fail"]
    finding: str

    @property
    def mark(self) -> str:
        return MARKS[self.level]


def examine(config: RunConfig) -> list[Check]:
    """All findings on `config`, in the order of the pipeline."""
    checks = [Check("config", "ok", f"run {config.run.name!r} is valid")]
    for examine_part in (_packages, _store, _datasets, _teacher, _model, _disk):
        checks.extend(examine_part(config))
    return checks


def _packages(config: RunConfig) -> Iterator[Check]:  # noqa: ARG001
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    for name in missing:
        yield Check("packages", "warn", f"{name} is not installed here; {NEEDS[name]} need it")
    if not missing:
        yield Check("packages", "ok", "all stages can run here")


def _store(config: RunConfig) -> Iterator[Check]:
    uri = config.run.store_uri()
    if uri.startswith("s3://") and not os.environ.get("AWS_ACCESS_KEY_ID"):
        yield Check("store", "warn", f"{uri}: no AWS_ACCESS_KEY_ID here, so it was not tried")
        return
    try:
        open_store(uri, Path(config.run.home) / "cache")
    except ChainsightError as error:
        yield Check("store", "fail", str(error))
    else:
        yield Check("store", "ok", uri)


def _datasets(config: RunConfig) -> Iterator[Check]:
    for source in (*config.prepare.examples, *config.prepare.benchmarks):
        name = f"{source.dataset}/{source.split}"
        if source.dataset not in DATASETS:
            known = ", ".join(DATASETS)
            yield Check("dataset", "fail", f"{name}: unknown dataset; known: {known}")
        elif source.source and "://" not in source.source and source.source.startswith((".", "/")):
            found = Path(source.source).is_dir()
            finding = source.source if found else f"{source.source}: no such folder"
            yield Check("dataset", "ok" if found else "fail", f"{name}: {finding}")
        else:
            yield Check("dataset", "ok", f"{name}: from {source.source or 'its own source'}")


def _teacher(config: RunConfig) -> Iterator[Check]:
    distill = config.distill
    if distill.teacher == "openai" and not os.environ.get(distill.api_key_env):
        yield Check("teacher", "warn", f"{distill.api_key_env} is not set here; distill needs it")
    else:
        yield Check("teacher", "ok", f"{distill.teacher} ({distill.teacher_model})")
    if distill.teacher == "openai" and distill.budget_usd is None:
        yield Check("teacher", "warn", "distill.budget_usd is not set: spending has no ceiling")


def _model(config: RunConfig) -> Iterator[Check]:
    base = config.model.base
    if base.startswith((".", "/")) and not Path(base).is_dir():
        yield Check("model", "fail", f"{base}: no such checkpoint folder")
    else:
        yield Check("model", "ok", f"{base} in {config.model.dtype}")
    if config.model.dtype == "bfloat16" and shutil.which("nvidia-smi") is None:
        yield Check("gpu", "warn", "bfloat16 wants a GPU and none is seen here")


def _disk(config: RunConfig) -> Iterator[Check]:
    home = Path(config.run.home).absolute()
    existing = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(existing).free / 1e9
    level: Literal["ok", "warn"] = "ok" if free > 1 else "warn"
    yield Check("disk", level, f"{free:.1f} GB free at {existing}")
