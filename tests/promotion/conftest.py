"""A model of its own for each test: on MLflow in memory, or on its own registry in SQLite."""

import re
from pathlib import Path

import pytest
from bench import Bench
from memory import MemoryRegistry

from chainsight.tracking import Registry

IN_SQLITE = ("test_commands", "test_promoting", "test_races")


@pytest.fixture(scope="session")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return Registry(f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db")


@pytest.fixture
def registry(request: pytest.FixtureRequest) -> Registry:
    if request.path.stem in IN_SQLITE:
        found: Registry = request.getfixturevalue("sqlite")
        return found
    return MemoryRegistry()


@pytest.fixture
def bench(tmp_path: Path, registry: Registry, request: pytest.FixtureRequest) -> Bench:
    return Bench(tmp_path, registry, re.sub(r"[^\w.-]+", "-", request.node.name[:90]))
