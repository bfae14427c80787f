"""The layout keeps its promises: one name per stage everywhere, logic in the library only."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import grimp
import pytest
from typer.main import get_command

import components
from chainsight.cli import app
from chainsight.config import RunConfig
from chainsight.job import _WITHOUT_RESULT
from chainsight.stages import STAGES
from pipelines.compiled import parameters
from pipelines.placement import Placement
from pipelines.train import build

ROOT = Path(__file__).parents[1]
TRAIN = build()
ORDER = ["prepare", "distill", "sft", "sample", "pair", "dpo", "evaluate", "register"]


def test_the_stages_are_the_eight_of_the_method_in_order() -> None:
    assert list(STAGES) == ORDER


@pytest.mark.parametrize("name", ORDER)
def test_a_stage_has_one_name_everywhere(name: str) -> None:
    assert (ROOT / f"src/chainsight/stages/{name}.py").is_file()
    assert (ROOT / f"components/{name}.py").is_file()
    assert (ROOT / f"tests/stages/test_{name}.py").is_file()
    assert name in {f.alias or n for n, f in RunConfig.model_fields.items()}
    assert name in get_command(app).commands  # type: ignore[attr-defined]
    assert name in TRAIN.pipeline_spec.components["comp-exit-handler-1"].dag.tasks
    assert f"| {name} |" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", ORDER)
def test_an_artifact_has_one_name_everywhere(name: str) -> None:
    stage = STAGES[name]
    keywords = [
        p.name
        for p in inspect.signature(stage.load()).parameters.values()
        if p.kind is p.KEYWORD_ONLY and p.name != "context"
    ]
    assert set(keywords) == {*stage.inputs, *stage.outputs}
    spec = getattr(components, name).component_spec
    extra = {"shard"} if stage.sharded else {"platform"} if name in ("sft", "dpo") else set()
    assert set(spec.inputs) == {"run", "model", "config", "pipeline_run", *extra, *stage.inputs}
    assert set(spec.outputs) - {"metrics", "report"} == set(stage.outputs)
    flags = {p.name for p in get_command(app).commands[name].params}  # type: ignore[attr-defined]
    assert set(stage.inputs) <= flags


@pytest.mark.parametrize("name", ORDER)
def test_a_stage_says_what_it_reads_and_writes(name: str) -> None:
    tree = ast.parse((ROOT / f"src/chainsight/stages/{name}.py").read_text())
    first = (ast.get_docstring(tree) or "").splitlines()[0]
    assert "->" in first
    for kind in STAGES[name].outputs:
        assert kind in first.split("->")[1]


@pytest.mark.parametrize("path", sorted((ROOT / "components").glob("*.py")), ids=lambda p: p.stem)
def test_a_component_only_imports_and_calls(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and node.decorator_list:
            body = [n for n in node.body if not isinstance(n, ast.Expr) or _is_call(n)]
            assert len(body) <= 5
            allowed = (ast.Import, ast.ImportFrom, ast.Expr, ast.Assign)
            assert all(isinstance(n, allowed) for n in body)


def _is_call(node: ast.Expr) -> bool:
    return isinstance(node.value, ast.Call)


def test_the_pipelines_parameters_are_the_configurations_sections() -> None:
    sections = {field.alias or name for name, field in RunConfig.model_fields.items()}
    names = set(TRAIN.pipeline_spec.root.input_definitions.parameters)
    sections -= {"verify", "adopt", "rft", "promotion"}  # what comes after a run, or beside it
    assert names == sections | set(Placement.__dataclass_fields__)
    config = {"examples": [{"dataset": "bars"}], "benchmarks": [{"dataset": "bars"}]}
    assert set(parameters(RunConfig(prepare=config))) == names  # type: ignore[arg-type]


LIGHT = ["config", "records", "errors", "prompts", "answers", "metrics", "stages.pair", "cli"]
HEAVY = ["torch", "transformers", "trl", "openai", "mlflow", "boto3", "kfp", "matplotlib", "pandas"]


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_import_nothing_heavy(module: str) -> None:
    code = f"import sys, chainsight.{module}; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_file_is_a_drawer_for_odds_and_ends() -> None:
    names = {p.stem for p in (ROOT / "src").rglob("*.py")}
    assert names.isdisjoint({"utils", "helpers", "common", "misc"})


def test_code_that_stays_out_of_the_code_version_is_of_no_stage() -> None:
    """But for what has settings of pods and of promotion, and who is told of a stage."""
    graph = grimp.build_graph("chainsight")
    stages = graph.find_descendants("chainsight.stages") | {
        "chainsight.runner",
        "chainsight.shards",
    }
    used = set.union(*(graph.find_upstream_modules(stage) for stage in stages))
    files = {name.removeprefix("chainsight.").replace(".", "/") for name in used}
    outside = {file for file in files if f"{file}.py".startswith(_WITHOUT_RESULT)}
    told = {file for file in outside if file.split("/")[0] in ("progress", "tracking")}
    assert outside - told == {"config/platform", "config/promotion"}
