"""MLflow in a SQLite file: runs are best effort, the registry is not."""

import logging
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from chainsight.errors import TrackingError
from chainsight.tracking import NO_TRACKING, PARENT_VARIABLE, Registry, Tracking
from chainsight.tracking.connection import Link
from chainsight.tracking.runs import flatten

AWAY = "http://127.0.0.1:9"  # the discard port: nobody answers


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all tests here: making one takes a second."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/sub/mlflow.db"


@pytest.fixture(scope="module")
def client(uri: str) -> mlflow.MlflowClient:
    Registry(uri)
    return mlflow.MlflowClient(uri, uri)


@pytest.fixture(autouse=True)
def no_inherited_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_RUN_ID", PARENT_VARIABLE):
        monkeypatch.delenv(name, raising=False)


def test_a_stage_is_nested_in_its_pipeline_run(
    uri: str, client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    report = tmp_path / "report.html"
    report.write_text("<p>")
    tracking = Tracking(uri, "nesting")
    with tracking.stage("sft", "demo-1") as run:
        run.params({"config": {"epochs": 2, "list": [1, 2]}, "seed": 0})
        run.log({"loss": 2.0}, step=1)
        run.log({"loss": 1.0, "odd@name": 3.0}, step=2)
        run.tags({"artifact.policy": "s3://b/policy/1"})
        run.artifact(report)
    assert run.run_id is not None
    found = client.get_run(run.run_id)
    parent = tracking.parent("demo-1")
    assert found.data.tags["mlflow.parentRunId"] == parent.run_id
    assert found.info.run_name == "sft"
    assert found.info.status == "FINISHED"
    assert found.data.params == {"config.epochs": "2", "config.list": "[1, 2]", "seed": "0"}
    assert found.data.metrics == {"loss": 1.0, "odd_name": 3.0}
    assert [m.step for m in client.get_metric_history(run.run_id, "loss")] == [1, 2]
    assert found.data.tags["artifact.policy"] == "s3://b/policy/1"
    assert [f.path for f in client.list_artifacts(run.run_id)] == ["report.html"]


def test_stages_of_one_pipeline_run_share_a_parent(uri: str, client: mlflow.MlflowClient) -> None:
    parents = set()
    for stage in ("prepare", "distill"):
        with Tracking(uri, "sharing").stage(stage, "demo-2") as run:
            pass
        parents.add(client.get_run(str(run.run_id)).data.tags["mlflow.parentRunId"])
    assert len(parents) == 1


def test_a_given_parent_is_used(
    uri: str, client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = Tracking(uri, "given").parent("demo-3")
    monkeypatch.setenv(PARENT_VARIABLE, str(parent.run_id))
    with Tracking(uri, "given").stage("sft", "another name") as run:
        pass
    assert client.get_run(str(run.run_id)).data.tags["mlflow.parentRunId"] == parent.run_id
    parent.close("FINISHED")
    assert client.get_run(str(parent.run_id)).info.status == "FINISHED"


def test_a_given_run_is_joined_and_left_open(
    uri: str, client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = client.create_run(client.create_experiment("kfp"), run_name="of kfp").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", own)
    with Tracking(uri, "joined").stage("sft", "demo-4") as run:
        run.log({"loss": 1.0})
    assert run.run_id == own
    assert client.get_run(own).info.status == "RUNNING"
    assert client.get_run(own).data.metrics == {"loss": 1.0}


def _fail(tracking: Tracking, seen: list[str | None]) -> None:
    with tracking.stage("sft", "demo-5") as run:
        seen.append(run.run_id)
        run.log({"loss": 1.0})
        _ = 1 / 0


def test_a_failing_stage_is_marked_and_its_error_goes_on(
    uri: str, client: mlflow.MlflowClient
) -> None:
    seen: list[str | None] = []
    with pytest.raises(ZeroDivisionError):
        _fail(Tracking(uri, "failing"), seen)
    found = client.get_run(str(seen[0]))
    assert found.info.status == "FAILED"
    assert found.data.metrics == {"loss": 1.0}


def test_long_values_are_cut(uri: str, client: mlflow.MlflowClient) -> None:
    with Tracking(uri, "long").stage("sft") as run:
        run.params({"long": "x" * 7000, **{f"p{i}": i for i in range(150)}})
        run.tags({"long": "x" * 9000})
    found = client.get_run(str(run.run_id)).data
    assert len(found.params["long"]) == 6000
    assert len(found.params) == 151
    assert len(found.tags["long"]) == 5000


def test_without_a_server_the_work_goes_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with caplog.at_level(logging.WARNING), Tracking(AWAY, "away").stage("sft", "demo") as run:
        run.params({"a": 1})
        run.log({"loss": 1.0})
        result = "the work"
    assert result == "the work"
    assert run.run_id is None
    warnings = [r.message for r in caplog.records if r.name == "chainsight.tracking"]
    assert len(warnings) == 1
    assert AWAY in warnings[0]


def test_an_unwritable_place_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrackingError, match="does not answer"):
        Registry(f"sqlite:///{tmp_path}/file/mlflow.db")


def test_values_measured_while_mlflow_is_away_are_sent_later(
    uri: str, client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The link is cut and mended by hand; the clock is a parameter."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    now = [0.0]
    link = Link(uri, clock=lambda: now[0])
    with Tracking(uri, "flaky", link=link).stage("sft") as run:
        link.uri = AWAY
        link.forget()
        run.log({"loss": 3.0}, step=1)
        run.flush()
        link.uri = uri
        run.flush()
        assert client.get_run(str(run.run_id)).data.metrics == {}  # still left alone
        now[0] = 61.0
    assert client.get_run(str(run.run_id)).data.metrics == {"loss": 3.0}


def test_tracking_can_be_switched_off(caplog: pytest.LogCaptureFixture) -> None:
    with Tracking(NO_TRACKING, "off").stage("sft", "demo") as run:
        run.log({"loss": 1.0})
    assert run.run_id is None
    assert not caplog.records
    with pytest.raises(TrackingError, match="set an MLflow server"):
        Registry(NO_TRACKING)


OPEN_A_RUN = """
import sys
from chainsight.tracking import Tracking
with Tracking(sys.argv[1], "race").stage("sft", "demo") as run:
    print(run.run_id)
"""


def test_a_race_for_a_fresh_database_has_no_loser(tmp_path: Path) -> None:
    """MLflow's own migrations crash here, and a kill leaves a file that cannot be mended."""
    (tmp_path / ".mlflow.db.new").write_bytes(b"half a database, of a killed process")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    command = [sys.executable, "-c", OPEN_A_RUN, uri]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    runs = [racer.communicate(timeout=90)[0].strip() for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0]
    assert len({run for run in runs if run}) == 2
    client = mlflow.MlflowClient(uri, uri)
    parents = {client.get_run(run).data.tags["mlflow.parentRunId"] for run in runs}
    assert len(parents) == 1


def test_settings_become_dotted_keys() -> None:
    assert flatten({"a": {"b": {"c": 1}}, "d": {}, "e": None}) == {
        "a.b.c": "1",
        "d": "{}",
        "e": "None",
    }


# --- the registry -----------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "a folder" / "files"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def test_a_version_is_found_again_by_tag_and_alias(uri: str, files: Path) -> None:
    registry = Registry(uri)
    made = registry.create(
        "m1", files.as_uri(), run_id=None, tags={"digest": "x"}, description="of a test"
    )
    assert made.number == 1
    assert registry.find("m1", "digest", "x") == made
    assert registry.find("m1", "digest", "y") is None
    assert registry.by_alias("m1", "champion") is None
    registry.set_alias(made, "champion")
    assert registry.by_alias("m1", "champion") == made
    assert registry.resolve("models:/m1@champion") == made
    assert registry.resolve("models:/m1/1") == made
    registry.delete_alias("m1", "champion")
    assert registry.aliases("m1") == {}


def test_the_files_come_back_from_the_registry(uri: str, files: Path, tmp_path: Path) -> None:
    registry = Registry(uri)
    made = registry.create("m2", files.as_uri(), run_id=None, tags={}, description="")
    registry.set_alias(made, "champion")
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    got = mlflow.artifacts.download_artifacts("models:/m2@champion", dst_path=str(tmp_path / "to"))
    assert (Path(got) / "config.json").read_text() == "{}"


def test_versions_come_oldest_first(uri: str, files: Path) -> None:
    registry = Registry(uri)
    for _ in range(11):
        registry.create("m3", files.as_uri(), run_id=None, tags={}, description="")
    assert [v.number for v in registry.versions("m3")] == list(range(1, 12))


def test_what_does_not_exist_is_named(uri: str) -> None:
    registry = Registry(uri)
    with pytest.raises(TrackingError, match="has no alias 'champion'; its aliases: none"):
        registry.resolve("models:/nobody@champion")
    with pytest.raises(TrackingError, match="no version 7 of 'nobody'"):
        registry.resolve("models:/nobody/7")
    with pytest.raises(TrackingError, match="write models:/NAME@ALIAS"):
        registry.resolve("models:/nobody")
