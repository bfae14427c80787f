"""Where our figures come from: a finished run's scores, or an ablation's `ablation.json`."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from chainsight import records
from chainsight.analysis import curves, voting
from chainsight.config import RunConfig, load_config
from chainsight.config.ablate import load_ablation
from chainsight.errors import ChainsightError
from chainsight.job import job
from chainsight.records import Verified
from chainsight.report.paper.figures import Place, Result
from chainsight.report.paper.layout import Splits
from chainsight.report.paper.published import NUM_VOTERS
from chainsight.report.paper.settings import Setting
from chainsight.runner import StageRun, find, resolve
from chainsight.scoring import mean_and_error
from chainsight.stages import ON_DEMAND
from chainsight.store import Manifest, Store, open_store

RECIPES = {"base": "base", "policy": "sft", "aligned": "dpo"}
"""What the models of a plain run are."""


def read(path: Path, overrides: dict[str, Any]) -> tuple[str, list[Setting], Splits, Path]:
    """The name, settings, splits and report folder of a run or an ablation, by its configuration.

    Raises:
        ConfigError: the file is neither.
        ChainsightError: it has no scores yet.
    """
    if not is_ablation(path):
        config = load_config(path, overrides)
        return config.run.name, *of_run(config), config.run.report_folder()
    told, config = ablation_of(path, overrides)
    return (
        told["name"],
        *of_ablation(told, config),
        Path(config.run.home) / "reports" / told["name"],
    )


def ablation_of(path: Path, overrides: dict[str, Any]) -> tuple[dict[str, Any], RunConfig]:
    """What an ablation found, and the run that it varies.

    Raises:
        ConfigError: `path` is no ablation.
        ChainsightError: it has not been run.
    """
    ablation, run = load_ablation(path, overrides)
    config = load_config(run, dict(ablation.set))
    told = Path(config.run.home) / "reports" / ablation.name / "ablation.json"
    if not told.is_file():
        raise ChainsightError(f"{told} is not there yet; start with: chainsight ablate {path}")
    found: dict[str, Any] = json.loads(told.read_text(encoding="utf-8"))
    return found, config


def is_ablation(path: Path) -> bool:
    """Whether a configuration is an ablation's: its `run` names a file."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False  # whoever reads it says what is wrong
    return isinstance(raw, dict) and isinstance(raw.get("run"), str)


def store_of(config: RunConfig) -> Store:
    """The store of a run, to read from."""
    return open_store(config.run.store_uri(), Path(config.run.home) / "cache", read_only=True)


def of_run(config: RunConfig) -> tuple[list[Setting], Splits]:
    """The models that a run has evaluated, each a setting with one seed.

    Raises:
        ChainsightError: the run has not evaluated yet.
    """
    done = resolve(config).get("evaluate")
    if done is None:
        raise ChainsightError(
            "the stage evaluate is not finished for this configuration, so there are no scores; "
            "start with: chainsight run CONFIG"
        )
    store = store_of(config)
    folders = {kind: store.fetch(manifest) for kind, manifest in done.outputs.items()}
    judged = judged_of(config, done, store)
    if judged is not None:
        folders["verified"] = store.fetch(judged)
    return of_evaluation(config, folders)


def of_evaluation(config: RunConfig, folders: Mapping[str, Path]) -> tuple[list[Setting], Splits]:
    """As `of_run`, from the local folders of scores, predictions and perhaps verified."""
    summary = json.loads((folders["scores"] / "summary.json").read_text("utf-8"))
    whole, seed = config.model_dump(mode="json", by_alias=True), str(config.run.seed)
    settings = {
        name: Setting(name, RECIPES.get(name, ""), whole, results={seed: results(modes)})
        for name, modes in summary["models"].items()
    }
    found = list(settings.values())
    if "verified" in folders and "aligned" in settings:
        found += verifications(settings["aligned"], {seed: folders["verified"]}, summary)
    return found, splits([folders["predictions"]])


def judged_of(config: RunConfig, done: StageRun, store: Store) -> Manifest | None:
    """What stage verify wrote for a run; none: it was not run."""
    inputs = next(iter(done.outputs.values())).inputs
    wanted = {kind: inputs[kind] for kind in ON_DEMAND["verify"].inputs}
    work = job(
        "verify", config.verify, run=config.run, model=config.model, inputs=wanted, store=store
    )
    found = find(work)
    return found.outputs["verified"] if found else None


def of_ablation(told: Mapping[str, Any], config: RunConfig) -> tuple[list[Setting], Splits]:
    """The settings of an `ablation.json`; `config` is the run that they vary.

    Raises:
        StoreError: the predictions that it names cannot be read.
    """
    whole = config.model_dump(mode="json", by_alias=True)
    settings = [
        Setting(
            one["name"],
            one["recipe"],
            whole,
            one.get("set") or {},
            one.get("then") or {},
            one.get("rounds", 1),
            {seed: results(run["scores"]["models"]["model"]) for seed, run in one["seeds"].items()},
        )
        for one in told["settings"]
    ]
    asked: dict[str, str] = {}  # one artifact of each set of questions
    store, judged = store_of(config), []
    for one, setting in zip(told["settings"], settings, strict=True):
        for run in one["seeds"].values():
            asked.setdefault(run["scores"]["fingerprint"], run["predictions"])
        uris = {seed: run["verified"] for seed, run in one["seeds"].items() if run.get("verified")}
        if uris:
            folders = {seed: store.fetch(uri) for seed, uri in uris.items()}
            judged += verifications(setting, folders, one["seeds"][next(iter(uris))]["scores"])
    return [*settings, *judged], splits(store.fetch(uri) for uri in asked.values())


def results(modes: Mapping[str, Any]) -> dict[Place, Result]:
    """One model's results, as `scoring.summarize` writes them."""
    return {
        Place(mode, dataset): Result(
            one["value"], one["standard_error"], one["num_examples"], one["metric"]
        )
        for mode, whole in modes.items()
        for dataset, one in whole["datasets"].items()
    }


def splits(predictions: Iterable[Path]) -> Splits:
    """The splits that were asked, by dataset, from the questions' ids (`chartqa/test/12`)."""
    found: dict[str, set[str]] = defaultdict(set)
    for folder in predictions:
        table = pq.read_table(folder / "predictions.parquet", columns=["example_id"])
        for example_id in set(table["example_id"].to_pylist()):
            dataset, _, rest = example_id.partition("/")
            found[dataset].add(rest.partition("/")[0])
    return Splits({dataset: tuple(sorted(names)) for dataset, names in found.items()})


# --- the verifier ------------------------------------------------------------------------------

METHODS: tuple[voting.Method, ...] = ("greedy", "single", "majority", "weighted", "best")


def verifications(
    setting: Setting, folders: Mapping[str, Path], summary: Mapping[str, Any]
) -> list[Setting]:
    """What each way of choosing among the answers of `setting` scores, as settings of their own.

    Args:
        setting: whose answers were judged.
        folders: artifacts `verified`, by seed.
        summary: of its scores, for the metrics.
    """
    (modes,) = (m for n, m in summary["models"].items() if n in ("model", setting.name))
    metrics = {name: one["metric"] for name, one in modes["cot"]["datasets"].items()}
    judged = {
        seed: curves.grouped(records.read(folder / "verified.parquet", Verified))
        for seed, folder in folders.items()
    }
    scale = voting.Scale(beta=setting.value("verify.beta"))
    most = min(
        len(voting.samples(question))
        for datasets in judged.values()
        for questions in datasets.values()
        for question in questions
    )
    return [
        Setting(
            f"{setting.name}, {method}" + ("" if method == "greedy" else f" of {size}"),
            "verify",
            {**setting.config, "n": size},
            {**setting.changes, "method": method},
            rounds=setting.rounds,
            results={
                seed: _chosen(method, size, datasets, metrics, scale)
                for seed, datasets in judged.items()
            },
        )
        for size in sorted({size for size in (most, NUM_VOTERS) if size <= most})
        for method in METHODS
    ]


def _chosen(
    method: voting.Method,
    size: int,
    datasets: Mapping[str, Sequence[voting.Question]],
    metrics: Mapping[str, str],
    scale: voting.Scale,
) -> dict[Place, Result]:
    found = {}
    for dataset, questions in datasets.items():
        scores = [voting.values(method, question, [size], scale)[0] for question in questions]
        value, error = mean_and_error(scores)
        found[Place("cot", dataset)] = Result(value, error, len(scores), metrics.get(dataset, ""))
    return found
