"""The stack is what it says: users, signatures, sources; it survives what it is put through."""

import urllib.error

import pytest
from desk import Desk
from stack import STORE, Stack

SOURCES = {"bucket": "s3://elsewhere/aligned", "kind": f"{STORE}/policy/x", "file": "file:///etc"}
pytestmark = [pytest.mark.slow, pytest.mark.registry]


def test_a_version_outlives_mlflow_and_postgresql_killed(desk: Desk) -> None:
    done = desk.register(desk.candidate(1, 60, small=True))
    before = desk.state()
    assert done.json["metrics"]["version"] == 1
    desk.stack.mlflow.restart(kill=True)
    desk.stack.postgres.restart(kill=True)
    assert desk.state() == before
    assert before["aliases"] == {"challenger": 1, "champion": 1}


@pytest.mark.parametrize("source", SOURCES.values(), ids=[*SOURCES])
def test_files_from_elsewhere_are_no_version(stack: Stack, source: str, desk: Desk) -> None:
    body = {"name": desk.name, "source": source}
    stack.mlflow.call("POST", "2.0/mlflow/registered-models/create", {"name": desk.name})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        stack.mlflow.call("POST", "2.0/mlflow/model-versions/create", body)
