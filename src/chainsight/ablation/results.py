"""What an ablation found, read off the store: scores, differences, verdicts, as `ablation.json`."""

import json
from pathlib import Path
from typing import Any

from chainsight.ablation import table
from chainsight.ablation.evidence import Evidence, compare, verdict
from chainsight.ablation.execute import State
from chainsight.ablation.plan import Row
from chainsight.analysis import voting
from chainsight.analysis.curves import curves
from chainsight.config.ablate import SettingSection, Side
from chainsight.job import code_version

FILE = "ablation.json"
SHOWN: tuple[voting.Method, ...] = (
    "greedy", "single", "majority", "weighted", "best", "best_truncated", "random", "oracle",
)  # fmt: skip
"""Methods whose figures are kept for every verified setting."""


def collect(state: State) -> dict[str, Any]:
    """Everything that is finished; a row of which some seeds are missing has the others."""
    evidence = Evidence(state)
    config = state.plan.config
    settings = [_setting(name, setting, state, evidence) for name, setting in config.rows().items()]
    baseline = config.baseline or settings[0]["name"]
    told = {"seeds": list(config.seeds), "settings": settings}
    for setting in settings:
        if setting["name"] != baseline:
            setting["against"] = _against(setting["name"], baseline, told, evidence)
    prints = {seed["scores"]["fingerprint"] for row in settings for seed in row["seeds"].values()}
    return {
        "name": config.name,
        "baseline": baseline,
        "claims": [verdict(claim, evidence) for claim in config.claims],
        "fingerprint": prints.pop() if len(prints) == 1 else None,
        "code_version": code_version(),
    } | told


def _setting(
    name: str, setting: SettingSection, state: State, evidence: Evidence
) -> dict[str, Any]:
    rows = [row for row in state.plan.rows if row.name == name]
    return {
        "name": name,
        "recipe": setting.recipe,
        "set": setting.set,
        "then": setting.then,
        "rounds": setting.rounds,
        "seeds": {
            str(row.seed): _one(row, state) | {"voting": _voting(row, state, evidence)}
            for row in rows
            if row.steps["score"] in state.done
        },
    }


def _against(
    name: str, baseline: str, told: dict[str, Any], evidence: Evidence
) -> dict[str, dict[str, Any]]:
    """By mode and dataset the difference from the baseline, with its interval.

    Empty where the two were asked other questions.
    """
    found: dict[str, dict[str, Any]] = {}
    for mode in table.modes(told):
        for dataset in table.datasets(told):
            own, other = (evidence.series(Side(setting=s), mode, dataset) for s in (name, baseline))
            try:
                one = compare("against", name, baseline, own, other)
            except ValueError:
                continue
            found.setdefault(mode, {})[dataset] = one
    return found


def _voting(row: Row, state: State, evidence: Evidence) -> dict[str, dict[str, float]] | None:
    """Accuracy by method and number of answers; the plain mean over the datasets."""
    if row.steps.get("verify") not in state.done:
        return None
    found: dict[str, dict[str, float]] = {}
    for point in curves(evidence.verified(row), SHOWN, evidence.scale(row)):
        found.setdefault(point.method, {})[str(point.n)] = point.value
    return found


def _one(row: Row, state: State) -> dict[str, Any]:
    """A setting with one seed."""
    runs = {label: state.done[node] for label, node in row.steps.items() if node in state.done}
    score = runs["score"]
    folder = state.store.fetch(score.outputs["scores"])
    return {
        "scores": json.loads((folder / "summary.json").read_text(encoding="utf-8")),
        "predictions": _uri(state, row, "score", "predictions"),
        "verified": _uri(state, row, "verify", "verified"),
        "metrics": {label: run.metrics for label, run in runs.items()},
        "seconds": sum(run.seconds for run in runs.values()),
    }


def _uri(state: State, row: Row, label: str, kind: str) -> str | None:
    run = state.done.get(row.steps.get(label, ""))
    if run is None:
        return None
    return state.store.artifact_uri(kind, run.outputs[kind].key)


def write(found: dict[str, Any], folder: Path) -> Path:
    """Put `ablation.json` into the report's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    draft.replace(path)
    return path
