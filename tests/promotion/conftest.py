"""One MLflow database for all tests of promotion, each with a model of its own."""

import re
from pathlib import Path

import pytest
from bench import Bench

from chainsight.tracking import Registry


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return Registry(f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db")


@pytest.fixture
def bench(tmp_path: Path, registry: Registry, request: pytest.FixtureRequest) -> Bench:
    return Bench(tmp_path, registry, re.sub(r"[^\w.-]+", "-", request.node.name[:90]))
