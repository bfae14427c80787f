"""The hub: a repository is looked up and one file's head asked for; nothing is downloaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chainsight.config import ModelSection, Source
from chainsight.doctor.check import Check
from chainsight.doctor.checkpoints import model
from chainsight.doctor.services import dataset

Serve = Callable[[dict[str, Any]], Any]
BASE = "owner/vlm"
HEAD = {"ETag": '"abc"', "X-Repo-Commit": "c" * 40}
FILES = [{"rfilename": "config.json"}, {"rfilename": "model.safetensors"}]


@pytest.fixture
def hub(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Any:
    server = serve({"HEAD /owner/vlm/resolve/main/config.json": (200, b"{}", HEAD)})
    server.routes["GET /api/models/owner/vlm"] = (200, {"id": BASE, "siblings": FILES})
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    return server


def look(where: Any = "pod", revision: str | None = None) -> Check:
    (check,) = model(ModelSection(base=BASE, revision=revision), where)
    return check


def test_a_model_that_may_be_read_is_sound_and_stays_where_it_is(hub: Any) -> None:
    assert look().level == "ok"
    ours = [asked for asked, _, _ in hub.seen if BASE in asked]  # its client asks more of its own
    assert ours == [
        "GET /api/models/owner/vlm",
        "HEAD /owner/vlm/resolve/main/config.json",
    ]


def test_a_gated_model_whose_list_everybody_sees_is_told(hub: Any) -> None:
    refusal = (403, b"", {"X-Error-Code": "GatedRepo"})
    hub.routes["HEAD /owner/vlm/resolve/main/config.json"] = refusal
    check = look()
    assert (check.level, "owner/vlm is gated" in check.finding) == ("fail", True)
    assert "accept its licence on its page and set HF_TOKEN" in check.way_out


def test_a_model_of_no_such_name_is_told(hub: Any) -> None:
    hub.routes["GET /api/models/owner/vlm"] = (404, b"", {"X-Error-Code": "RepoNotFound"})
    check = look()
    assert (check.level, "none of that name" in check.finding) == ("fail", True)
    assert "HF_TOKEN" in check.way_out


def test_a_revision_that_is_not_there_is_told(hub: Any) -> None:
    hub.routes["GET /api/models/owner/vlm/revision/v9"] = (
        *(404, b""),
        {"X-Error-Code": "RevisionNotFound"},
    )
    check = look(revision="v9")
    assert (check.level, "owner/vlm@v9" in check.finding) == ("fail", True)
    assert "correct the name or revision" in check.way_out


def test_a_model_with_pickled_weights_only_is_told(hub: Any) -> None:
    hub.routes["GET /api/models/owner/vlm"] = (200, {"id": BASE, "siblings": FILES[:1]})
    check = look()
    assert (check.level, "no .safetensors file" in check.finding) == ("fail", True)


@pytest.mark.parametrize(("where", "level"), [("here", "warn"), ("pod", "fail")])
def test_a_hub_that_is_away_fails_a_pod_and_warns_here(
    nobody: str, monkeypatch: pytest.MonkeyPatch, where: str, level: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", nobody)
    check = look(where)
    assert (check.level, "the hub cannot be asked" in check.finding) == (level, True)
    assert "give a local folder" in check.way_out


def test_a_dataset_without_the_splits_files_is_told_with_those_it_has(hub: Any) -> None:
    route = "GET /api/datasets/owner/charts"
    listed = [{"rfilename": "README.md"}, {"rfilename": "data/val-00000-of-00001.parquet"}]
    hub.routes[route] = (200, {"id": "owner/charts", "siblings": listed})
    source = Source(dataset="chartqa", split="train", source="owner/charts")
    (check,) = dataset(source, "pod")
    assert check.level == "fail"
    assert "has no train-*.parquet; found: README.md, data/val-" in check.finding
    listed[1]["rfilename"] = "data/train-00000-of-00001.parquet"
    (check,) = dataset(source, "pod")
    assert (check.level, check.finding) == ("ok", "chartqa/train: owner/charts at main")


def test_a_dataset_is_asked_for_at_its_revision(hub: Any) -> None:
    source = Source(dataset="mathvision", split="test", revision="abc123")
    (check,) = dataset(source, "pod")
    assert check.level == "fail"
    asked = [request for request, _, _ in hub.seen]
    assert "GET /api/datasets/MathLLMs/MathVision/revision/abc123" in asked


def test_a_prefix_in_s3_without_credentials_is_not_read_from_here(
    nobody: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", nobody)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    (check,) = dataset(Source(dataset="chartqa", source="s3://bucket/chartqa"), "here")
    assert (check.level, "not read from here" in check.finding) == ("warn", True)
    (check,) = dataset(Source(dataset="chartqa", source="s3://bucket/chartqa"), "pod")
    assert (check.level, "check the prefix" in check.way_out) == ("fail", True)
