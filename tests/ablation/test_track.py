"""An ablation in MLflow: a parent, a child for each setting and seed, none of them twice."""

from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Run

from chainsight.ablation.execute import State
from chainsight.ablation.results import collect, write
from chainsight.ablation.track import record, tracked
from chainsight.tracking import PARENT_VARIABLE, Tracking


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all tests here: making one takes a second."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture(autouse=True)
def no_inherited_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_RUN_ID", PARENT_VARIABLE):
        monkeypatch.delenv(name, raising=False)


def recorded(state: State, uri: str, name: str, folder: Path) -> State:
    """Keep an ablation in the database, in an experiment of its own."""
    where = {"tracking_uri": uri, "experiment": name}
    plan = replace(
        state.plan,
        config=state.plan.config.model_copy(update={"name": name}),
        run=state.plan.run.model_copy(update=where),
    )
    state = replace(state, plan=plan)
    with tracked(plan) as parent:
        found = collect(state)
        record(parent, state, found, write(found, folder).parent)
    return state


def without(state: State, stage: str) -> State:
    """As if a stage and what follows it were not done yet."""
    gone = {node.id for node in state.plan.nodes.values() if node.stage.name == stage}
    for node in state.plan.nodes.values():
        if {ref.node for ref in node.parents.values()} & gone:
            gone.add(node.id)
    return replace(state, done={k: run for k, run in state.done.items() if k not in gone})


def runs(uri: str, name: str) -> tuple[list[Run], list[Run]]:
    """The parents, and the runs of settings."""
    client = mlflow.MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    every = client.search_runs([experiment.experiment_id])
    parents = [run for run in every if "mlflow.parentRunId" not in run.data.tags]
    return parents, [run for run in every if "chainsight.setting" in run.data.tags]


def test_each_setting_and_seed_is_a_child_with_its_changes_and_scores(
    finished: State, uri: str, tmp_path: Path
) -> None:
    state = recorded(finished, uri, "first", tmp_path)
    (parent,), children = runs(uri, "first")
    assert parent.info.run_name == "first"
    assert parent.info.status == "FINISHED"
    assert len(children) == len(state.plan.rows) == 8
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}
    (child,) = [c for c in children if c.info.run_name == "no cut, seed 1"]
    assert child.data.params == {
        "setting": "no cut", "recipe": "dpo", "rounds": "1", "seed": "1", "dpo.max_words": "0",
    }  # fmt: skip
    assert child.data.metrics["seconds"] == 7 * 2.0
    assert parent.data.tags["claim.both"].split(":")[0] in ("yes", "no", "open")
    assert -1 < parent.data.metrics["claim/both/difference"] < 1


def test_a_run_again_doubles_no_child_and_adds_what_was_missing(
    finished: State, uri: str, tmp_path: Path
) -> None:
    recorded(without(finished, "dpo"), uri, "again", tmp_path)
    (parent,), before = runs(uri, "again")
    assert len(before) == 4
    recorded(finished, uri, "again", tmp_path)
    recorded(finished, uri, "again", tmp_path)
    (same,), after = runs(uri, "again")
    assert same.info.run_id == parent.info.run_id
    assert len(after) == 8
    assert {run.info.run_id for run in before} < {run.info.run_id for run in after}
    history = mlflow.MlflowClient(uri, uri).get_metric_history(before[0].info.run_id, "seconds")
    assert len(history) == 1


def test_a_child_that_a_kill_left_unfinished_is_completed(
    finished: State, uri: str, tmp_path: Path
) -> None:
    recorded(finished, uri, "killed", tmp_path)
    client = mlflow.MlflowClient(uri, uri)
    _, children = runs(uri, "killed")
    client.update_run(children[0].info.run_id, status="RUNNING")
    client.log_metric(children[0].info.run_id, "seconds", 0.0)
    recorded(finished, uri, "killed", tmp_path)
    _, again = runs(uri, "killed")
    assert len(again) == 8
    assert {run.info.status for run in again} == {"FINISHED"}
    assert min(run.data.metrics["seconds"] for run in again) > 0


def test_another_grid_of_the_same_name_is_another_parent(
    finished: State, uri: str, tmp_path: Path
) -> None:
    recorded(finished, uri, "grown", tmp_path)
    fewer = replace(finished.plan, rows=finished.plan.rows[:3])
    recorded(replace(finished, plan=fewer), uri, "grown", tmp_path)
    parents, children = runs(uri, "grown")
    assert len(parents) == 2
    assert len(children) == 8 + 3


def test_stages_nest_below_a_run_of_their_own(finished: State, uri: str) -> None:
    where = {"tracking_uri": uri, "experiment": "nested"}
    plan = replace(finished.plan, run=finished.plan.run.model_copy(update=where))
    with tracked(plan), Tracking(uri, "nested").stage("sft") as stage:
        pass
    client = mlflow.MlflowClient(uri, uri)
    above = client.get_run(str(stage.run_id)).data.tags["mlflow.parentRunId"]
    assert client.get_run(above).info.run_name == "stages"
    (parent,), _ = runs(uri, "nested")
    assert client.get_run(above).data.tags["mlflow.parentRunId"] == parent.info.run_id


def test_without_mlflow_an_ablation_is_as_good(finished: State, tmp_path: Path) -> None:
    with tracked(finished.plan) as parent:
        record(parent, finished, collect(finished), tmp_path)
    assert parent.run_id is None
