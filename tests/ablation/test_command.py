"""`chainsight ablate` as it is called; what is to be done was done before, by fakes."""

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from chainsight.ablation.execute import execute
from chainsight.ablation.view import Follower, Progress
from chainsight.cli import app
from chainsight.errors import ChainsightError
from chainsight.progress import EventWriter
from tests.ablation.conftest import Bench, Fakes


def test_a_dry_run_counts_and_does_nothing(bench: Bench) -> None:
    done = CliRunner().invoke(app, ["ablate", str(bench.write()), "--dry-run", "--json"])
    told = json.loads(done.stdout)
    assert (told["nodes"], told["found"]) == (22, 0)
    assert not (bench.folder / "home" / "reports").exists()


def test_settings_of_the_command_line_count(bench: Bench) -> None:
    call = ["ablate", str(bench.write()), "--dry-run", "--json"]
    flags = ["--set", "seeds=[4]", "--set", "name=quick", "--set", "sft.epochs=2"]
    told = json.loads(CliRunner().invoke(app, [*call, *flags]).stdout)
    assert (told["name"], told["seeds"]) == ("quick", [4])


def test_a_finished_ablation_is_told_and_written(bench: Bench) -> None:
    bench.done()
    done = CliRunner().invoke(app, ["ablate", str(bench.write()), "--json"])
    assert done.exit_code == 0
    folder = bench.folder / "home" / "reports" / "small"
    assert json.loads(done.stdout) == json.loads((folder / "ablation.json").read_text())
    assert "<h1>small</h1>" in (folder / "ablation.html").read_text()


def test_a_failure_names_the_settings_that_are_lost(bench: Bench) -> None:
    good = {"good": {"recipe": "sft"}}
    bench.done(good)
    path = bench.write(good | {"bad": {"recipe": "sft", "set": {"model.base": "/none"}}})
    done = CliRunner().invoke(app, ["ablate", str(path), "--jobs", "1"])
    assert isinstance(done.exception, ChainsightError)  # exit code 1, by `cli.main`
    assert done.exception.exit_code == 1
    assert "bad: seeds 0, 1" in str(done.exception)
    assert "good" not in str(done.exception)
    assert "mean over" in done.stdout


def test_off_a_terminal_each_stage_is_a_line(bench: Bench) -> None:
    text = StringIO()
    state = bench.state({"both": {"recipe": "sft"}, "again": {"recipe": "sft"}}, seeds=[0])
    fails = Fakes(lambda order: order.stage == "score")
    with Progress(Console(file=text, width=100), state, 1) as view:
        execute(state, 1, fails, view)
    lines = text.getvalue().splitlines()
    assert lines[2].startswith("✓ sft seed 0: both, 1 more")
    assert lines[2].endswith("3 of 4")
    assert lines[3].startswith("✗ score")
    assert lines[4] == "score: it shall fail"


def test_a_follower_reads_whole_events_only(tmp_path: Path) -> None:
    path = tmp_path / "it.events"
    follower = Follower(path)
    follower.follow()
    assert follower.total is None
    with EventWriter(path).task("sft", 40, "steps", done=3):
        with path.open("a") as file:
            file.write('{"event": "at", "done": 9')
        follower.follow()
        assert (follower.done, follower.total, follower.unit) == (3, 40, "steps")
        with path.open("a") as file:
            file.write("}\n")
        follower.follow()
        assert follower.done == 9
    follower.follow()
    assert follower.total is None


@pytest.mark.parametrize("jobs", ["0", "x"])
def test_a_strange_number_of_jobs_is_refused(bench: Bench, jobs: str) -> None:
    assert CliRunner().invoke(app, ["ablate", str(bench.write()), "--jobs", jobs]).exit_code == 2
