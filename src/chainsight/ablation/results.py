"""What an ablation found: its rows' scores and metrics, read off the store, as `ablation.json`."""

import json
from pathlib import Path
from typing import Any

from chainsight.ablation.execute import State
from chainsight.ablation.plan import Row
from chainsight.job import code_version

FILE = "ablation.json"


def collect(state: State) -> dict[str, Any]:
    """Everything that is finished; a row of which some seeds are missing has the others."""
    settings = [
        {
            "name": name,
            "recipe": setting.recipe,
            "set": setting.set,
            "then": setting.then,
            "rounds": setting.rounds,
            "seeds": {
                str(row.seed): _one(row, state)
                for row in state.plan.rows
                if row.name == name and row.steps["score"] in state.done
            },
        }
        for name, setting in state.plan.config.rows().items()
    ]
    prints = {seed["scores"]["fingerprint"] for row in settings for seed in row["seeds"].values()}
    return {
        "name": state.plan.config.name,
        "seeds": list(state.plan.config.seeds),
        "baseline": state.plan.config.baseline or settings[0]["name"],
        "settings": settings,
        "claims": [],
        "fingerprint": prints.pop() if len(prints) == 1 else None,
        "code_version": code_version(),
    }


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
