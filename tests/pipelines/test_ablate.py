"""An ablation on Kubeflow: the plan's nodes in loops, level by level, each on its own pods."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from chainsight import component
from chainsight.ablation import remote
from chainsight.config import RunConfig
from chainsight.errors import ConfigError, StoreError
from components.images import OWNERS
from pipelines.compiled import compile_to, compilers

ROOT = Path(__file__).parents[2]
GRID = """
name: tiny
run: {run}
seeds: [0, 1]
settings:
  z first: {{recipe: sft, set: {{sft.composition: format}}}}
  a second: {{recipe: dpo, verify: true}}
  RFT: {{recipe: rft}}
grids:
  - {{name: DPO, recipe: dpo, over: {{sample.temperature: [1.0, 0.5], sample.num_candidates: [2]}}}}
claims:
  - {{name: it helps, better: DPO temperature=1.0 n=2, than: z first}}
"""


@pytest.fixture
def asked(tmp_path: Path) -> tuple[RunConfig, dict[str, Any]]:
    path = tmp_path / "grid.yaml"
    path.write_text(GRID.format(run=ROOT / "configs/smoke.yaml"))
    settings = {"run.home": str(tmp_path / "home"), "platform.ablation_pods": 3}
    return remote.read(path, settings | {"run.tracking_uri": "none"})


@pytest.fixture
def documents(asked: tuple[RunConfig, dict[str, Any]], tmp_path: Path) -> list[dict[str, Any]]:
    run, given = asked
    compile_to(run, tmp_path / "ir.yaml", "ablate", given)
    return list(yaml.safe_load_all((tmp_path / "ir.yaml").read_text()))


def loops(documents: list[dict[str, Any]]) -> Iterator[tuple[str, list[str], dict[str, Any]]]:
    """Each loop's stage, its nodes and its task."""
    tasks = documents[0]["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    for task in tasks.values():
        if "parameterIterator" in task:
            nodes = json.loads(task["parameterIterator"]["items"]["raw"])
            yield nodes[0].partition("-")[0], nodes, task


def test_every_node_of_the_plan_is_in_one_loop_after_those_that_it_reads_from(
    asked: tuple[RunConfig, dict[str, Any]], documents: list[dict[str, Any]]
) -> None:
    laid = remote.unpack(asked[1]["ablation"])
    tasks = documents[0]["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    where = {
        node: name
        for name, task in tasks.items()
        if "parameterIterator" in task
        for node in json.loads(task["parameterIterator"]["items"]["raw"])
    }
    assert set(where) == {remote.label(node) for node in laid.nodes.values()}
    for node in laid.nodes.values():
        loop = where[remote.label(node)]
        behind = set(upstream(tasks, loop))
        assert {
            where[remote.label(laid.nodes[ref.node])] for ref in node.parents.values()
        } <= behind
        assert "doctor" in behind


def upstream(tasks: dict[str, Any], name: str) -> Iterator[str]:
    for before in tasks[name].get("dependentTasks", []):
        yield before
        yield from upstream(tasks, before)


def test_a_loop_has_one_stage_and_no_more_pods_at_once_than_set(
    documents: list[dict[str, Any]],
) -> None:
    found = list(loops(documents))
    assert {stage for stage, _, _ in found} == {
        "prepare", "distill", "sft", "sample", "score", "pair", "adopt", "dpo", "rft", "verify",
    }  # fmt: skip
    for stage, nodes, task in found:
        assert all(re.fullmatch(rf"{stage}-[0-9a-f]{{12}}", node) for node in nodes)
        assert task["iteratorPolicy"]["parallelismLimit"] == 3


def test_a_node_runs_in_its_stages_image_on_its_stages_pods(
    documents: list[dict[str, Any]],
) -> None:
    executors = documents[0]["deploymentSpec"]["executors"]
    platform = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for name, executor in executors.items():
        stage = platform[name]["podMetadata"]["labels"]["chainsight.dev/stage"]
        container = executor["container"]
        assert f"chainsight-{OWNERS[stage]}:" in container["image"]
        gpus = stage in {"sft", "dpo", "rft", "sample", "score", "verify"}
        assert ("accelerator" in container["resources"]) is gpus, stage
        assert ("nodeSelector" in platform[name]) is gpus
        if stage in {"sft", "dpo", "rft"}:
            count = container["resources"]["accelerator"]["resourceCount"]
            assert "gpu_pod_gpus" in count


def test_kfp_takes_it_and_every_reference_leads_somewhere(documents: list[dict[str, Any]]) -> None:
    spec = documents[0]
    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    platform = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for component_ in (spec["root"], *spec["components"].values()):
        known = set(component_.get("inputDefinitions", {}).get("parameters", {}))
        for task in component_.get("dag", {}).get("tasks", {}).values():
            inputs = task.get("inputs", {}).get("parameters", {}).values()
            wanted = {
                p["componentInputParameter"] for p in inputs if "componentInputParameter" in p
            }
            executor = spec["components"][task["componentRef"]["name"]].get("executorLabel", "")
            found = re.findall(r"'componentInputParameter': '([^']+)'", str(platform.get(executor)))
            assert wanted | set(found) <= known
    closing = spec["root"]["dag"]["tasks"]["collect"]
    assert closing["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED"


def test_the_plan_of_a_pod_is_the_plan_that_was_compiled(
    asked: tuple[RunConfig, dict[str, Any]], tmp_path: Path
) -> None:
    from chainsight.ablation.plan import plan
    from chainsight.config.ablate import load_ablation

    here = plan(*load_ablation(tmp_path / "grid.yaml", {}))
    there = remote.unpack(asked[1]["ablation"])
    assert list(there.nodes) == list(here.nodes)
    assert [(row.name, row.seed) for row in there.rows] == [(r.name, r.seed) for r in here.rows]
    assert there.run.name == "tiny"


def test_a_node_of_another_ablation_is_refused(asked: tuple[RunConfig, dict[str, Any]]) -> None:
    laid = remote.unpack(asked[1]["ablation"])
    with pytest.raises(ConfigError, match="no node sft-0: it has changed"):
        remote.job_of(laid, "sft-0")
    with pytest.raises(ConfigError, match="chainsight submit --pipeline ablate"):
        remote.unpack("{}")


def test_a_node_whose_input_is_missing_names_it(asked: tuple[RunConfig, dict[str, Any]]) -> None:
    laid = remote.unpack(asked[1]["ablation"])
    second = next(node for node in laid.nodes.values() if node.stage.name == "distill")
    with pytest.raises(StoreError, match=r"distill-\w+ needs prepare-\w+, which is not in"):
        remote.job_of(laid, remote.label(second))


def artifact(path: Path) -> Any:
    return SimpleNamespace(path=str(path), metadata={})


def test_components_do_nodes_one_by_one_and_tell_what_is_there(
    asked: tuple[RunConfig, dict[str, Any]], tmp_path: Path
) -> None:
    """As pods would, of the two stages that need no model; the table is of nothing yet."""
    text = asked[1]["ablation"]
    laid = remote.unpack(text)
    for stage in ("prepare", "distill"):
        node = next(node for node in laid.nodes.values() if node.stage.name == stage)
        metrics = artifact(tmp_path / stage)
        component.run_node(text, remote.label(node), pipeline_run="", platform={}, metrics=metrics)
        assert metrics.metadata["reused"] == 0
    assert metrics.metadata["num_kept"] > 0
    component.run_node(text, remote.label(node), pipeline_run="", platform={}, metrics=metrics)
    assert metrics.metadata["reused"] == 1
    results, page = artifact(tmp_path / "results"), artifact(tmp_path / "page")
    component.collect_ablation(text, pipeline_run="", platform={}, results=results, page=page)
    found = json.loads(Path(results.path).read_text())
    names = ["z first", "a second", "RFT", "DPO temperature=1.0 n=2", "DPO temperature=0.5 n=2"]
    assert [setting["name"] for setting in found["settings"]] == names
    assert "z first" in Path(page.path).read_text()


def test_it_is_uploaded_with_a_run_only() -> None:
    assert len(compilers()) == 4
    with pytest.raises(ConfigError, match="chainsight submit --pipeline ablate CONFIG"):
        compilers(["ablate"])
