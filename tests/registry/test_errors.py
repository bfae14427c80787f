"""What goes wrong outside: one clear error each, exit code 1, and nothing is changed."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from desk import Desk, Done
from stack import BUCKET, PASSWORDS, Stack

pytestmark = [pytest.mark.slow, pytest.mark.registry]


def clear(done: Done, *expected: str) -> None:
    """One error in one paragraph, without a traceback, that names the thing and the way out."""
    assert done.code == 1, done.err
    assert "Traceback" not in done.err
    assert done.err.count("error ") == 1, done.err
    (line,) = [line for line in done.err.splitlines() if line.startswith("error ")]
    for pattern in expected:
        assert re.search(pattern, line), line


@pytest.mark.parametrize("variable", ["MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_USERNAME"])
def test_a_wrong_credential_of_mlflow(desk: Desk, variable: str) -> None:
    inputs = desk.candidate(1, 60, small=True)
    before = desk.state()
    done = desk.register(inputs, **{variable: "wrong"})
    print(done.err)
    clear(done, re.escape(desk.stack.mlflow.url), "MLFLOW_TRACKING_USERNAME")
    assert desk.state() == before


def test_a_password_that_was_changed_meanwhile(desk: Desk) -> None:
    inputs = desk.candidate(1, 60, small=True)
    before = desk.state()
    with changed_password(desk.stack, "promoter"):
        done = desk.register(inputs, user="promoter")
        print(done.err)
    clear(done, "MLFLOW_TRACKING_PASSWORD")
    assert desk.state() == before


def test_a_user_who_may_only_read(desk: Desk) -> None:
    desk.register(desk.candidate(1, 60, small=True))
    desk.stack.allow("promoter", desk.name, "READ")
    before = desk.state()
    done = desk.register(desk.candidate(2, 100, small=True), user="promoter")
    print(done.err)
    clear(done, desk.name, "EDIT")
    assert desk.state() == before


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_a_wrong_credential_of_the_store(desk: Desk, variable: str) -> None:
    inputs = desk.candidate(1, 60, small=True)
    before = desk.state()
    done = desk.register(inputs, **{variable: "wrong"})
    print(done.err)
    clear(done, "s3://chainsight/team", "AWS_SECRET_ACCESS_KEY")
    assert desk.state() == before


def test_a_full_database(desk: Desk) -> None:
    desk.register(desk.candidate(1, 60, small=True))
    inputs = desk.candidate(2, 100, small=True)
    before = desk.state()
    desk.stack.postgres.set_full(True)
    try:
        done = desk.register(inputs)
    finally:
        desk.stack.postgres.set_full(False)
    print(done.err)
    clear(done, desk.stack.mlflow.url, "database")
    assert desk.state() == before
    assert desk.register(inputs).json["metrics"]["version"] == 2


def test_a_database_that_is_away(desk: Desk) -> None:
    inputs = desk.candidate(1, 60, small=True)
    desk.stack.postgres.stop()
    try:
        done = desk.register(inputs)
    finally:
        desk.stack.postgres.start()
    print(done.err)
    clear(done, desk.stack.mlflow.url)
    assert desk.state() == {"versions": [], "aliases": {}, "log": []}


def test_a_server_that_is_away(desk: Desk) -> None:
    inputs = desk.candidate(1, 60, small=True)
    desk.stack.mlflow.stop()
    try:
        done = desk.register(inputs)
    finally:
        desk.stack.mlflow.start()
    print(done.err)
    clear(done, desk.stack.mlflow.url, "MLFLOW_TRACKING_URI")
    assert desk.state() == {"versions": [], "aliases": {}, "log": []}


@pytest.mark.parametrize("kind", ["aligned", "predictions"])
@pytest.mark.parametrize("what", ["manifest", "file"])
def test_a_deleted_object(desk: Desk, kind: str, what: str) -> None:
    desk.register(desk.candidate(1, 60, small=True))
    number = 10 + 2 * (kind == "aligned") + (what == "file")
    inputs = desk.candidate(number, 100, small=True)
    before = desk.state()
    prefix = inputs[kind].removeprefix(f"s3://{BUCKET}/")
    names = desk.stack.s3.names(prefix)
    (gone,) = [n for n in names if n.endswith(ENDS[kind] if what == "file" else "manifest.json")]
    desk.stack.s3.client.delete_object(Bucket=BUCKET, Key=gone)
    done = desk.register(inputs)
    print(done.err)
    clear(done, re.escape(inputs[kind]))
    assert desk.state() == before


ENDS = {"aligned": "model.safetensors", "predictions": "predictions.parquet"}


@contextmanager
def changed_password(stack: Stack, user: str) -> Iterator[None]:
    """The server knows another password than the user's processes do."""
    path = "2.0/mlflow/users/update-password"
    stack.mlflow.call("PATCH", path, {"username": user, "password": "a new one, long enough"})
    try:
        yield
    finally:
        stack.mlflow.call("PATCH", path, {"username": user, "password": PASSWORDS[user]})
