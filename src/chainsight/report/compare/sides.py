"""One side of a comparison: a model's answers, what they were made with, time and cost."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from chainsight import records
from chainsight.config import RunConfig, load_config
from chainsight.errors import ArtifactError, ConfigError, RecordError
from chainsight.provenance import lineage, settings_behind, settings_of
from chainsight.records import Prediction
from chainsight.report.paper.sources import ablation_of, is_ablation, store_of
from chainsight.runner import resolve
from chainsight.stages import ALL
from chainsight.store import Manifest, Store, open_store
from chainsight.tracking import PREDICTIONS_URI, Version

DEFAULT_MODEL = "aligned"
BEHIND = {"base": (), "policy": ("policy",), "aligned": ("aligned",), "model": ("policy",)}
"""Artifacts that a model in `predictions` is, of the inputs of the stage that asked it."""
FORMS = (
    "a configuration (YAML), an ablation's with #SETTING, models:/NAME@ALIAS, or the store URI "
    "of predictions (<store>/predictions/<key>)"
)


class Key(NamedTuple):
    """One answer of a model."""

    mode: str
    example_id: str


class Spent(NamedTuple):
    """What a stage took when its artifacts were made."""

    seconds: float
    cost_usd: float


@dataclass(frozen=True)
class Side:
    """A model's answers to a benchmark, and what is behind them."""

    name: str
    """As the user calls it."""
    model: str
    """Which of the models in the predictions."""
    rows: Mapping[Key, Prediction]
    fingerprint: str
    manifest: Manifest
    """Of the predictions."""
    store: Store

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Every setting behind the answers, by the name that configurations have for it."""
        found = settings_behind(self._sources, self.store.load) | settings_of(self.manifest)
        return _named(found)

    @property
    def _sources(self) -> list[str]:
        """Store URIs of the benchmark and of the model itself."""
        wanted = ("benchmarks", *BEHIND.get(self.model, ()))
        found = ((kind, uri) for kind, uri in self.manifest.inputs.items() if kind in wanted)
        return [uri for kind, uri in found if kind != "benchmarks" or self.benchmarks]

    @cached_property
    def spent(self) -> dict[str, Spent]:
        """By stage, all its rounds together, in the order of the work."""
        behind = (self.manifest, *lineage(self._sources, self.store.load))
        executions = {(one.stage, one.key): one for one in behind}.values()
        return {
            name: Spent(
                sum(one.seconds for one in own),
                sum(one.metrics.get("cost_usd", 0.0) for one in own),
            )
            for name in ALL
            if (own := [one for one in executions if one.stage == name])
        }

    @cached_property
    def benchmarks(self) -> Path | None:
        """Folder of the questions; none if they are not to be had."""
        try:
            return self.store.fetch(self.manifest.inputs["benchmarks"])
        except (ArtifactError, KeyError):
            return None


def _named(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`dpo.config.beta` as `dpo.beta`; what all stages share is named once."""
    found = {}
    for name, value in settings.items():
        stage, _, rest = name.partition(".")
        if rest.startswith("config."):
            found[f"{ALL[stage].section or stage}.{rest.removeprefix('config.')}"] = value
        elif rest.startswith("sources."):
            found[name] = value
        else:  # seed, model.base, code_version
            found[{"seed": "run.seed", "code_version": "code version"}.get(rest, rest)] = value
    return found


# --- reading -----------------------------------------------------------------------------------


def read(reference: str, run: RunConfig | None, overrides: Mapping[str, Any] | None = None) -> Side:
    """The side that a user names: see `FORMS`; `#MODEL` behind it says which of its models.

    Args:
        reference: as written on the command line.
        run: gives registry and store for `models:/`; none: there is no configuration.
        overrides: values over those of a configuration that is named, by dotted keys.

    Raises:
        ConfigError: it is none of the forms.
        ChainsightError: it has no predictions, or they cannot be read.
    """
    place, _, model = reference.partition("#")
    values = dict(overrides or {})
    if place.startswith("models:/"):
        return _of_version(reference, place, model, run)
    if Path(place).is_file() and is_ablation(Path(place)):
        return _of_ablation(reference, Path(place), model, values)
    if place.endswith((".yaml", ".yml")) or Path(place).is_file():
        return _of_run(reference, load_config(place, values), model)
    return _of_uri(reference, place, model)


def configuration_of(
    reference: str, overrides: Mapping[str, Any] | None = None
) -> RunConfig | None:
    """The run that a reference names, whose registry the other side's may be."""
    place = Path(reference.partition("#")[0])
    if not place.is_file():
        return None
    values = dict(overrides or {})
    return ablation_of(place, values)[1] if is_ablation(place) else load_config(place, values)


def _of_run(reference: str, config: RunConfig, model: str) -> Side:
    done = resolve(config).get("evaluate")
    if done is None:
        raise ConfigError(
            f"{reference}: its stage evaluate is not finished, so there are no answers to "
            f"compare; run: chainsight run {reference.partition('#')[0]}"
        )
    return _side(reference, done.outputs["predictions"], store_of(config), model)


def _of_version(reference: str, place: str, model: str, run: RunConfig | None) -> Side:
    from chainsight.tracking import Registry

    if run is None:
        raise ConfigError(
            f"{reference}: where is the registry? Give a configuration: chainsight report CONFIG "
            "--compare A B"
        )
    version = Registry(run.run.mlflow_uri()).resolve(place)
    return of_version(reference, model, version, store_of(run))


def of_version(reference: str, model: str, version: Version, store: Store) -> Side:
    """The answers that a registered version was judged by.

    Raises:
        RecordError: it does not say where they are.
        StoreError: they are not there.
    """
    uri = version.tags.get(PREDICTIONS_URI)
    if uri is None:
        raise RecordError(
            f"{version.uri} has no tag {PREDICTIONS_URI}, so its answers are not known; evaluate "
            "it by adding it to evaluate.models of a run, and compare that run's"
        )
    return _side(reference, store.load(uri), store, model or DEFAULT_MODEL)


def _of_ablation(reference: str, path: Path, setting: str, overrides: dict[str, Any]) -> Side:
    told, config = ablation_of(path, overrides)
    name, _, seed = setting.partition("/")
    found = {one["name"]: one["seeds"] for one in told["settings"]}
    name = setting if setting in found else name
    if name not in found or not found[name]:
        names = ", ".join(f"{path}#{one}" for one in found)
        raise ConfigError(f"{reference}: which of its settings? Write one of {names}")
    seed = "" if name == setting else seed
    if seed and seed not in found[name]:
        seeds = ", ".join(found[name])
        raise ConfigError(f"{reference}: {name!r} has no seed {seed!r} finished; there are {seeds}")
    seed = seed or next(iter(found[name]))
    reference = f"{path}#{name}/{seed}"  # which seed was taken is said
    store = store_of(config)
    return _side(reference, store.load(found[name][seed]["predictions"]), store, "")


def _of_uri(reference: str, place: str, model: str) -> Side:
    parts = place.rstrip("/").split("/")
    if len(parts) < 3 or parts[-2] != "predictions":
        raise ConfigError(f"{reference} is no side of a comparison: give {FORMS}")
    store = open_store("/".join(parts[:-2]), Path(".chainsight") / "cache", read_only=True)
    return _side(reference, store.load(store.artifact_uri("predictions", parts[-1])), store, model)


def _side(reference: str, manifest: Manifest, store: Store, model: str) -> Side:
    every = list(records.read(store.fetch(manifest) / "predictions.parquet", Prediction))
    models = list(dict.fromkeys(row.model for row in every))
    chosen = model or (models[0] if len(models) == 1 else DEFAULT_MODEL)
    if chosen not in models:
        raise ConfigError(
            f"{reference}: there are no answers of {chosen!r}, only of {', '.join(models)}; write "
            f"{reference.partition('#')[0]}#{models[-1]}"
        )
    rows = {Key(row.mode, row.example_id): row for row in every if row.model == chosen}
    return Side(reference, chosen, rows, _fingerprint(manifest, store), manifest, store)


def _fingerprint(manifest: Manifest, store: Store) -> str:
    """Of the benchmark: the scores of the same execution say it. "" if they are not there."""
    scores = store.find("scores", manifest.key)
    if scores is None:
        return ""
    text = (store.fetch(scores) / "summary.json").read_text(encoding="utf-8")
    return str(json.loads(text).get("fingerprint", ""))
