"""The estimate as people read it, and the command that gives it."""

import io
import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from chainsight.cli import app
from chainsight.config import Price
from chainsight.distilling import show
from chainsight.errors import ConfigError
from chainsight.teacher.estimate import Allowance, Estimate, Pace
from chainsight.teacher.sizing import Span

FOUND = Estimate(
    teacher="gpt-4o",
    mode="batch",
    num_open=190_000,
    num_answered=3000,
    num_repeated=12,
    num_unsent=1,
    datasets={"chartqa": 190_000},
    spent_usd=12.0,
    num_learned=2000,
    images_known=True,
    image_tokens=Span(1e8, 1e8, 1e8),
    text_tokens=Span(4e7, 5e7, 6e7),
    completion_tokens=Span(2e7, 3e7, 4e7),
    price=Price(prompt=5.0, completion=15.0),
    price_source="OpenAI's pricing page of 2026-05-04",
    ends=None,
    sync_usd=Span(1000.0, 1200.0, 1400.0),
    batch_usd=Span(500.0, 600.0, 700.0),
    most_usd=2345.0,
    retries=2,
    num_files=380,
    paces=(Pace("yours", 3.75, "tokens per minute", 3),),
    budget=Allowance(400.0, "short", 126_666),
)


def shown(found: Estimate) -> str:
    file = io.StringIO()
    show(Console(file=file, width=200), found)
    return " ".join(file.getvalue().split())


def test_people_read_what_is_asked_what_it_costs_and_how_long_it_takes() -> None:
    text = shown(FOUND)
    for said in (
        "190,000 to ask, 3,000 answered already ($12.00), not paid again",
        "12 that repeat others, 1 whose image cannot be read",
        "images 100,000,000 (exact), text about 50,000,000 (40,000,000 to 60,000,000)",
        "$5 in, $15 out a million tokens, a batch's times 0.5 (OpenAI's pricing page of",
        "sync │ $1,200 │ $1,000 │ $1,400 │ 3.8 h, by tokens per minute",
        "batch (as set) │ $600.00 │ $500.00 │ $700.00 │ 380 files, at most 3 days",
        "at most $2,345, if every answer has distill.max_tokens, and all 2 retries are needed",
        "not enough: it stops after about 126,666 more questions, and goes on when it is raised",
        "known from 2,000 answers of this teacher",
    ):
        assert said in text
    assert "note" not in text


def test_what_is_not_known_is_said() -> None:
    unknown = replace(
        FOUND,
        images_known=False,
        num_learned=0,
        price=None,
        sync_usd=None,
        batch_usd=None,
        most_usd=None,
        spent_usd=None,
        budget=None,
    )
    text = shown(unknown)
    assert "$" not in text
    assert "(the model's rule is not known)" in text
    assert "price not known: set distill.price" in text
    assert "--probe 50 asks so many questions" in text


def test_a_model_that_is_shut_down_is_said() -> None:
    assert "OpenAI shut this model down on 2026-10-23" in shown(
        replace(FOUND, ends=date(2026, 10, 23))
    )
    assert "OpenAI shuts this model down on 9999-01-01" in shown(
        replace(FOUND, ends=date(9999, 1, 1))
    )


def test_nothing_to_ask_has_no_table() -> None:
    assert "distill.mode" not in shown(replace(FOUND, num_open=0))


def test_hours_under_openais_tiers_are_a_range_and_named_each() -> None:
    tiers = tuple(Pace(f"tier {n}", 10.0 / n, "tokens per minute", 6 - n) for n in (1, 5))
    text = shown(replace(FOUND, paces=tiers))
    assert "2.0 h to 10.0 h" in text
    assert "tier 1 10.0 h, tier 5 2.0 h" in text
    assert "380 files, at most 1 to 5 days" in text


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(
        f"run: {{name: try, home: {tmp_path / 'home'}, tracking_uri: none}}\n"
        "prepare:\n  examples: [{dataset: bars, limit: 30}]\n"
        "  benchmarks: [{dataset: bars, split: test, limit: 4}]\n"
        "distill: {teacher: scripted}\n"
    )
    return path


def test_the_command_says_what_to_run_first_then_tells_and_probes(config: Path) -> None:
    def call(*arguments: str) -> str:
        result = CliRunner().invoke(app, [*arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    asked = ("distill", str(config), "--estimate")
    with pytest.raises(ConfigError, match="run `chainsight prepare CONFIG`"):
        call(*asked)
    with pytest.raises(ConfigError, match="write --estimate with it"):
        call("distill", str(config), "--probe", "5")
    call("prepare", str(config))
    assert "30 to ask" in call(*asked)
    probed = json.loads(call(*asked, "--probe", "12", "--json"))
    assert (probed["num_open"], probed["num_answered"], probed["num_learned"]) == (18, 12, 12)
    assert json.loads(call("distill", str(config), "--json"))["metrics"]["num_asked"] == 18
    assert json.loads(call(*asked, "--json"))["num_open"] == 0


def test_the_command_shows_what_became_of_the_answers_of_each_dataset(tmp_path: Path) -> None:
    own = ["--set", f"run.home={tmp_path}", "--set", "run.tracking_uri=none"]
    for stage in ("prepare", "distill"):
        done = CliRunner().invoke(app, [stage, "configs/smoke.yaml", *own])
        assert done.exit_code == 0, done.output
    text = " ".join(done.output.split())
    assert "Rationales kept, and why not" in text
    for dataset, asked in (("chartqa", 12), ("mathvision", 8), ("all", 20)):
        assert f"│ {dataset} │ {asked} │" in text
