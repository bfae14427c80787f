"""A store in S3 for whole runs."""

from collections.abc import Iterator

import boto3
import pytest
from moto.server import ThreadedMotoServer

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A server with one bucket, `chainsight`; gives the environment that reaches it."""
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    environment = CREDENTIALS | {"AWS_ENDPOINT_URL_S3": f"http://{host}:{port}"}
    for name, value in environment.items():  # the test itself reads the store, too
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="chainsight")
    yield environment
    server.stop()
