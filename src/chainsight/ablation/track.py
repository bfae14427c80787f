"""An ablation in MLflow: a parent run, below it one for each setting and seed, and the stages'.

Runs have an identity (the plan and the code), so that a run again adds what is new and doubles
nothing. Best effort, as all tracking.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chainsight.ablation.execute import State
from chainsight.ablation.plan import Plan, Row
from chainsight.job import code_version
from chainsight.tracking import PARENT_VARIABLE, Run, Tracking


def identity(plan: Plan) -> str:
    """Of an ablation: its name, and a digest of all that decides its results."""
    digest = hashlib.sha256(code_version().encode())
    for row in plan.rows:
        digest.update(f"\0{row.name}\0{row.seed}\0{' '.join(row.steps.values())}".encode())
    return f"{plan.config.name}-{digest.hexdigest()[:12]}"


@contextmanager
def tracked(plan: Plan) -> Iterator[Run]:
    """The ablation's run; stages nest below a run of their own in it, so that they don't hide the
    settings."""
    tracking = Tracking(plan.run.mlflow_uri(), plan.run.experiment)
    parent, _ = tracking.once(plan.config.name, identity(plan))
    stages, _ = tracking.once("stages", f"{identity(plan)}/stages", parent)
    if stages.run_id:
        os.environ[PARENT_VARIABLE] = stages.run_id
    status = "FAILED"
    try:
        yield parent
        status = "FINISHED"
    finally:
        os.environ.pop(PARENT_VARIABLE, None)
        stages.close(status)
        parent.close(status)


def record(parent: Run, state: State, found: Mapping[str, Any], folder: Path) -> None:
    """Put the results below the parent: a run for each finished setting and seed, the verdicts."""
    tracking = Tracking(state.plan.run.mlflow_uri(), state.plan.run.experiment)
    rows = {setting["name"]: setting["seeds"] for setting in found["settings"]}
    for row in state.plan.rows:
        if all(node in state.done for node in row.steps.values()):
            _child(tracking, parent, row, rows[row.name][str(row.seed)], identity(state.plan))
    for claim in found["claims"]:
        parent.tags({f"claim.{claim['name']}": f"{claim['reproduced']}: {claim['words']}"})
        values = {k: claim[k] for k in ("difference", "low", "high") if claim[k] is not None}
        parent.log({f"claim/{claim['name']}/{k}": v for k, v in values.items()})
    for path in sorted(folder.glob("ablation.*")):
        parent.artifact(path)


def _child(tracking: Tracking, parent: Run, row: Row, one: Mapping[str, Any], name: str) -> None:
    child, finished = tracking.once(
        f"{row.name}, seed {row.seed}", f"{name}/{row.name}/{row.seed}", parent
    )
    if finished:
        return
    child.params(changes(row))
    scores = one["metrics"]["score"]
    values = {key.removeprefix("model/"): value for key, value in scores.items()}
    child.log(values | _voted(one) | {"seconds": one["seconds"]})
    child.tags({"chainsight.setting": row.name, "chainsight.predictions": one["predictions"]})
    child.close("FINISHED")


def changes(row: Row) -> dict[str, Any]:
    """What a row has of its own, for tables."""
    setting = row.setting
    then = {f"then.{key}": value for key, value in setting.then.items()}
    own = {"recipe": setting.recipe, "rounds": setting.rounds, "seed": row.seed}
    return {"setting": row.name} | own | setting.set | then


def _voted(one: Mapping[str, Any]) -> dict[str, float]:
    return {
        f"voting/{method}/{n}": value
        for method, curve in (one["voting"] or {}).items()
        for n, value in curve.items()
    }
