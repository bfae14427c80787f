"""What may be broken around a command, and mended afterwards."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from stack import BUCKET, PASSWORDS, Stack

Variables = Mapping[str, str]
Break = Callable[[Stack, str, str], AbstractContextManager[Variables]]
"""Given who calls and the artifact that the command is about; gives what its process sees else."""


def environment(name: str) -> Break:
    @contextmanager
    def wrong(_stack: Stack, _user: str, _artifact: str) -> Iterator[Variables]:
        yield {name: "wrong"}

    return wrong


@contextmanager
def changed_password(stack: Stack, user: str, _artifact: str) -> Iterator[Variables]:
    """The server knows another password than the user's processes do."""
    path = "2.0/mlflow/users/update-password"
    stack.mlflow.call("PATCH", path, {"username": user, "password": "a new one, long enough"})
    try:
        yield {}
    finally:
        stack.mlflow.call("PATCH", path, {"username": user, "password": PASSWORDS[user]})


@contextmanager
def full_database(stack: Stack, _user: str, _artifact: str) -> Iterator[Variables]:
    stack.postgres.set_full(True)
    try:
        yield {}
    finally:
        stack.postgres.set_full(False)


@contextmanager
def no_database(stack: Stack, _user: str, _artifact: str) -> Iterator[Variables]:
    stack.postgres.stop()
    try:
        yield {}
    finally:
        stack.postgres.start()


@contextmanager
def no_server(stack: Stack, _user: str, _artifact: str) -> Iterator[Variables]:
    stack.mlflow.stop()
    try:
        yield {}
    finally:
        stack.mlflow.start()


def deleted(end: str) -> Break:
    """An object of the artifact is gone, as after a lifecycle rule that was too eager."""

    @contextmanager
    def gone(stack: Stack, _user: str, artifact: str) -> Iterator[Variables]:
        names = stack.s3.names(artifact.removeprefix(f"s3://{BUCKET}/"))
        (name,) = [name for name in names if name.endswith(end)]
        s3 = stack.s3.client
        content = s3.get_object(Bucket=BUCKET, Key=name)
        body, metadata = content["Body"].read(), content["Metadata"]
        s3.delete_object(Bucket=BUCKET, Key=name)
        try:
            yield {}
        finally:
            s3.put_object(Bucket=BUCKET, Key=name, Body=body, Metadata=metadata)

    return gone


BREAKAGES: dict[str, tuple[Break, tuple[str, ...]]] = {
    "password": (environment("MLFLOW_TRACKING_PASSWORD"), ("MLFLOW_TRACKING_PASSWORD",)),
    "user": (environment("MLFLOW_TRACKING_USERNAME"), ("MLFLOW_TRACKING_USERNAME", "'wrong'")),
    "changed password": (changed_password, ("MLFLOW_TRACKING_PASSWORD", r"\(401\)")),
    "key": (environment("AWS_ACCESS_KEY_ID"), ("s3://chainsight/team", "AWS_ACCESS_KEY_ID")),
    "secret": (environment("AWS_SECRET_ACCESS_KEY"), ("s3://chainsight/team", "AWS_SECRET")),
    "full database": (full_database, ("database, which is full or read-only", "make room")),
    "no database": (no_database, ("cannot use its database", "run again")),
    "no server": (no_server, ("does not answer", "MLFLOW_TRACKING_URI")),
    "deleted weights": (deleted("model.safetensors"), ("s3://.*/aligned/.*", "missing")),
    "deleted manifest": (deleted("manifest.json"), ("s3://.*/aligned/.*", "no such artifact")),
}
"""What is broken, and what the one error must say."""
