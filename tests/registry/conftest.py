"""One stack for all tests here."""

from collections.abc import Iterator
from pathlib import Path

import postgres
import pytest
from desk import Desk
from stack import Stack, running


@pytest.fixture(scope="session")
def stack(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Stack]:
    """PostgreSQL, S3 and MLflow, up until the last test is done."""
    if postgres.tools() is None:
        if not request.config.getoption("--if-possible", default=False):
            pytest.exit(postgres.MISSING, returncode=1)
        pytest.skip(f"NOTHING OF THE REGISTRY WAS SHOWN HERE: {postgres.MISSING}")
    with running(tmp_path_factory.mktemp("stack")) as found:
        yield found


@pytest.fixture
def desk(
    stack: Stack,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Desk:
    """A model named after the test; the test's own process acts as the trainer."""
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    name = request.node.name.removeprefix("test_")[:80].replace("[", "-").rstrip("]")
    return Desk(stack, tmp_path, name)
