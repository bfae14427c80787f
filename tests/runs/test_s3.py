"""The same run with its store in S3: the same keys, the same results."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from workplace import Workplace, contents

from chainsight.runner import StageRun
from chainsight.stages import STAGES

CONFIG = "configs/smoke.yaml"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A server with one bucket; gives the environment that reaches it."""
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    environment = CREDENTIALS | {"AWS_ENDPOINT_URL_S3": f"http://{host}:{port}"}
    for name, value in environment.items():  # the test itself reads the store, too
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="chainsight")
    yield environment
    server.stop()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_run_through_s3_has_the_same_keys_and_results(tmp_path: Path, s3: dict[str, str]) -> None:
    local = Workplace(tmp_path / "local", {"MLFLOW_TRACKING_URI": ""})
    remote = Workplace(tmp_path / "remote", s3 | {"MLFLOW_TRACKING_URI": ""})
    bucket = "s3://chainsight/runs"
    here, _ = local.run(CONFIG)
    there, _ = remote.run(CONFIG, run__store=bucket)
    assert there["models"] == here["models"]
    stages, others = local.resolve(CONFIG), remote.resolve(CONFIG, run__store=bucket)
    for found in (stages, others):
        del found["register"]  # its decision belongs to one registry, and these have one each
    assert list(stages) == list(others) == [*STAGES][:-1]
    assert keys(stages) == keys(others)
    assert contents(stages) == contents(others)


def keys(stages: dict[str, StageRun]) -> dict[str, str]:
    return {k: m.key for run in stages.values() for k, m in run.outputs.items()}
