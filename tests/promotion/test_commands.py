"""The commands as people call them, on a configuration of their own."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from bench import Bench
from typer.testing import CliRunner, Result

from chainsight.cli import app
from chainsight.errors import ConfigError
from chainsight.promotion import author, promote
from chainsight.promotion.diff import compare, named
from chainsight.records import Prediction
from chainsight.tracking import CHALLENGER, OVERRIDE


@pytest.fixture
def config(bench: Bench, tmp_path: Path) -> Path:
    """A configuration of the bench's store, registry and model."""
    prepare = {"examples": [{"dataset": "bars"}], "benchmarks": [{"dataset": "bars"}]}
    content = {
        "run": {
            "store": str(tmp_path / "store"),
            "home": str(tmp_path / "home"),
            "tracking_uri": bench.registry.uri,
        },
        "prepare": prepare,
        "register": {"model_name": bench.model},
    }
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def call(*arguments: object) -> Result:
    runner = CliRunner(env={"COLUMNS": "200", "CHAINSIGHT_USER": "ann"})
    return runner.invoke(app, [str(one) for one in arguments])


def test_promote_says_what_it_did_and_history_shows_it(bench: Bench, config: Path) -> None:
    version = bench.version(0.5)
    bench.move(version, CHALLENGER)
    done = call("promote", config, "--why", "the first")
    assert done.exit_code == 0, done.output
    assert f"{version.uri} is champion (there was none before)" in done.output
    shown = call("history", config)
    for word in ("promoted", "ann", "the first;", "champion  1, previous  -"):
        assert word in shown.output
    entry = json.loads(call("history", config, "--json").output)["entries"][0]
    assert (entry["who"], entry["to_version"], entry["by"]) == ("ann", 1, "command")


def test_a_refused_promotion_ends_with_the_verdict_and_1(bench: Bench, config: Path) -> None:
    version = bench.version(0.5, gate="refused")
    done = call("promote", config, "--version", version.number)
    assert done.exit_code == 1
    assert "does not become champion: refused: 0.5" in done.output
    as_json = call("promote", config, "--version", version.number, "--json")
    assert json.loads(as_json.output)["entry"]["action"] == "refused"


def test_force_by_and_dry_run(bench: Bench, config: Path) -> None:
    version = bench.version(0.5, gate="refused")
    forced = ["--version", version.number, "--force", "--why", "a fix", "--by", "bob"]
    assert call("promote", config, *forced, "--dry-run").exit_code == 0
    assert bench.log() == []
    assert call("promote", config, *forced).exit_code == 0
    assert bench.log()[0].who == "bob"
    assert isinstance(call("promote", config, "--force").exception, ConfigError)


def test_rollback_goes_back(bench: Bench, config: Path) -> None:
    for score in (0.1, 0.2):
        promote(bench.place(), version=bench.version(score).number)
    done = call("rollback", config, "--why", "slow")
    assert done.exit_code == 0, done.output
    assert "is champion again, in place of version 2" in done.output
    assert bench.champion == 1


def test_history_says_when_the_alias_or_the_chain_is_not_as_it_should_be(
    bench: Bench, config: Path, tmp_path: Path
) -> None:
    for score in (0.1, 0.2):
        promote(bench.place(), version=bench.version(score).number)
    bench.move(1)
    shown = call("history", config)
    assert shown.exit_code == 0
    assert "is at version 1, the log says at version 2" in shown.output
    path = tmp_path / "store/promotions" / bench.model / "000000000001.json"
    path.write_text(path.read_text().replace("ann", "eve"))
    path.write_text(path.read_text().replace('"who": "', '"who": "x'))
    shown = call("history", config)
    assert shown.exit_code == 1
    assert "it was changed" in shown.output
    assert "promoted" in shown.output  # the rest is shown


def test_watch_registry_once_mends_and_ends(bench: Bench, config: Path) -> None:
    promote(bench.place(), version=bench.version(0.1).number)
    bench.move(bench.version(0.9, gate="refused"))
    assert call("watch-registry", config, "--once").exit_code == 0
    assert (bench.champion, bench.actions()[-1]) == (1, "reverted")


def test_watch_registry_ends_when_asked(bench: Bench, config: Path) -> None:
    command = [sys.executable, "-m", "chainsight", "watch-registry", str(config)]
    with subprocess.Popen(
        [*command, "--hook-port", "0"], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert f"watching {bench.model} every 20 s, http://127.0.0.1:" in line


def test_who_promotes_is_asked_in_this_order(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHAINSIGHT_USER", "MLFLOW_TRACKING_USERNAME"):
        monkeypatch.delenv(name, raising=False)
    assert "@" in author()
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "mary")
    assert author() == "mary"
    monkeypatch.setenv("CHAINSIGHT_USER", "ann")
    assert author() == "ann"
    assert author("bob") == "bob"


def rows(scores: dict[str, tuple[float, str]], mode: str = "cot") -> list[Prediction]:
    """The answers of a model; those of another model in the same file count nowhere."""
    return [
        Prediction(model, name, mode, f"Q {name}?", "text", answer, "marker", score, 7)
        for name, (score, answer) in scores.items()
        for model in ("aligned", "policy")
    ]


@pytest.fixture
def pair(bench: Bench) -> tuple[Any, Any]:
    """Two versions that differ in answers and in a setting of dpo."""
    first = {"a/1": (1.0, "yes"), "a/2": (0.0, "7"), "b/1": (1.0, "red"), "b/2": (0.0, "")}
    second = {"a/1": (1.0, "yes"), "a/2": (1.0, "8"), "b/1": (0.0, "blue"), "b/2": (1.0, "x")}
    made = []
    for score, answers, beta in ((0.5, first, 0.1), (0.75, second, 0.2)):
        examples = bench.commit("examples", "prepare", {"x": b"same"}, {"limit": 3})
        aligned = bench.commit(
            "aligned", "dpo", {"w": str(score).encode()}, {"beta": beta}, examples=examples
        )
        tags = bench.answered(rows(answers)) | {"chainsight.aligned_uri": aligned}
        made.append(bench.version(score, **tags))
    return made[0], made[1]


def test_diff_shows_scores_flips_settings_and_verdicts(bench: Bench, pair: tuple[Any, Any]) -> None:
    found = compare(bench.place(), *pair)
    overall = found.scores["cot"]["all"]
    assert (overall["before"].value, overall["after"].value) == (0.5, 0.75)  # type: ignore[union-attr]
    assert overall["before"].standard_error == pytest.approx(0.5 / 2**0.5)  # type: ignore[union-attr]
    assert set(found.scores["cot"]) == {"all", "a", "b"}
    assert [(f.example_id, f.before, f.after) for f in found.won] == [
        ("a/2", "7", "8"),
        ("b/2", "", "x"),
    ]
    assert [f.example_id for f in found.lost] == ["b/1"]
    assert found.num_shared == 4
    assert [(s.name, s.before, s.after) for s in found.settings] == [("dpo.config.beta", 0.1, 0.2)]
    assert found.gate["after"] == "passed: 0.75"
    assert found.gate["after_against_before"] == "passed: 0.75 against 0.5"


def test_diff_names_versions_by_number_alias_or_reference(
    bench: Bench, pair: tuple[Any, Any]
) -> None:
    bench.move(pair[1], CHALLENGER)
    place = bench.place(candidates=bench.model)
    for reference in ("2", "challenger", "@challenger", f"models:/{bench.model}/2"):
        assert named(place, reference).number == 2
    with pytest.raises(ConfigError, match="'nobody' is no version number and no alias"):
        named(place, "nobody")


def test_diff_as_table_and_as_json(bench: Bench, pair: tuple[Any, Any], config: Path) -> None:
    shown = call("diff", config, "1", "2", "--limit", "1")
    assert shown.exit_code == 0, shown.output
    for words in ("50.0 ± 35.4 (4)", "+25.0", "won (the first 1 of 2)", "a/2", "dpo.config.beta"):
        assert words in shown.output
    body = json.loads(call("diff", config, "1", "2", "--json", "--limit", "1").output)
    assert (body["num_won"], len(body["won"]), body["num_lost"]) == (2, 1, 1)
    assert body["won"][0]["prompt"] == "Q a/2?"


def test_diff_of_a_version_without_answers_says_so(bench: Bench, config: Path) -> None:
    bench.version(0.1, **{OVERRIDE: "x"})
    done = call("diff", config, "1", "1")
    assert "has no tag chainsight.predictions_uri" in str(done.exception)


def test_the_gate_decides_again_on_the_rows_that_both_were_registered_with(
    bench: Bench, config: Path
) -> None:
    """The gate passed both when there was no champion; the second is no better than the first."""
    right = {f"a/{i}": (1.0, "yes") for i in range(40)}
    better = right | {f"b/{i}": (1.0, "yes") for i in range(20)}
    worse = right | {f"b/{i}": (0.0, "no") for i in range(20)}
    for score, answers in ((0.5, worse), (0.4, worse), (0.9, better)):
        bench.version(score, **bench.answered(rows(answers)))
    codes = [call("promote", config, "--version", number).exit_code for number in (1, 2, 3)]
    assert codes == [0, 1, 0]
    assert bench.actions() == ["promoted", "refused", "promoted"]
    decision = bench.log()[-1].decision
    assert decision is not None
    assert (decision["wins"], decision["losses"]) == (20, 0)
