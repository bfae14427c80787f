"""`chainsight upload`: versions that a server lacks, once, and no run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from kfp_server import KfpServer

from chainsight.config import RunConfig
from chainsight.errors import ConfigError, KubeflowError
from pipelines.compiled import PIPELINES, SHAPED_BY, compilers
from pipelines.submit import Target, upload

ROOT = Path(__file__).parents[2]
COMPILERS = compilers()
UPLOADED = [name for name in PIPELINES if name not in SHAPED_BY]


def test_all_pipelines_are_uploaded_once_and_no_run_is_started(
    server: KfpServer, config: RunConfig
) -> None:
    first = list(upload(config, Target(server.url), COMPILERS, allow_tags=True))
    again = list(upload(config, Target(server.url), COMPILERS, allow_tags=True))
    assert [one.pipeline for one in first] == [f"chainsight-{name}" for name in UPLOADED]
    assert [one.uploaded for one in first + again] == [True] * 4 + [False] * 4
    assert [one.version_id for one in first] == [one.version_id for one in again]
    assert len(server.pipelines) == len(server.versions) == 4
    assert server.runs == server.experiments == []


def test_two_uploads_at_once_share_pipeline_and_version(
    server: KfpServer, config: RunConfig
) -> None:
    def send() -> list[bool]:
        return [one.uploaded for one in upload(config, Target(server.url), allow_tags=True)]

    def another_is_quicker() -> None:
        server.before_create = lambda: None
        send()

    server.before_create = another_is_quicker
    assert send() == [False]
    assert len(server.pipelines) == len(server.versions) == 1


def test_an_upload_that_broke_off_is_completed_by_the_next(
    server: KfpServer, config: RunConfig
) -> None:
    next(upload(config, Target(server.url), COMPILERS, allow_tags=True))  # only the first is sent
    done = list(upload(config, Target(server.url), COMPILERS, allow_tags=True))
    assert [one.uploaded for one in done] == [False, True, True, True]


def test_images_without_a_digest_are_refused_before_any_request(
    server: KfpServer, config: RunConfig
) -> None:
    with pytest.raises(ConfigError, match="bear no digest"):
        list(upload(config, Target(server.url)))
    assert server.requests == []


def test_an_unknown_pipeline_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"called 'trian'; known: train, align, evaluate"):
        compilers(["trian"])


def test_the_token_of_a_pods_file_is_sent(
    server: KfpServer, config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.token = "of-the-pod"
    with pytest.raises(KubeflowError, match="does not know you"):
        list(upload(config, Target(server.url), allow_tags=True))
    (tmp_path / "token").write_text("of-the-pod")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    assert [one.uploaded for one in upload(config, Target(server.url), allow_tags=True)] == [True]


def test_the_command_prints_ids_and_takes_the_lock_files_images(
    server: KfpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = "sha256:" + "0" * 64
    stages = ["prepare", "distill", "sft", "sample", "pair", "dpo", "evaluate", "register"]
    images = {stage: {"image": f"team/chainsight-{stage}@{digest}"} for stage in stages}
    (tmp_path / "images.lock.json").write_text(json.dumps({"images": images}))
    monkeypatch.setenv("CHAINSIGHT_IMAGES_LOCK", str(tmp_path / "images.lock.json"))
    flags = ("--host", server.url, "--pipeline", "train", "--pipeline", "evaluate", "--json")
    command = [sys.executable, "-m", "chainsight", "upload", "configs/smoke.yaml", *flags]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert [one["pipeline"] for one in printed] == ["chainsight-train", "chainsight-evaluate"]
    assert [one["version_id"] for one in printed] == [
        version["pipeline_version_id"] for version in server.versions
    ]
    assert f"team/chainsight-sft@{digest}" in json.dumps(server.versions[0])
