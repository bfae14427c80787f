"""The built images, and a way to run Python in them."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from locked_down import LOCKED_DOWN

Probe = Callable[..., str]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.slow)
            if not os.environ.get("CHAINSIGHT_CONTAINERS"):
                item.add_marker(pytest.mark.skip(reason="needs images: `make containers` runs it"))


@pytest.fixture(scope="session")
def lock() -> dict[str, Any]:
    """What docker/build.sh recorded of the images."""
    content: dict[str, Any] = json.loads(Path(os.environ["CHAINSIGHT_IMAGES_LOCK"]).read_text())
    return content


@pytest.fixture(scope="session")
def engine() -> Iterator[Any]:
    import docker

    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture
def probe(engine: Any, lock: dict[str, Any]) -> Probe:
    """Runs Python in the image of a stage or service, locked down; returns what it printed."""

    def run(target: str, program: str, *arguments: str) -> str:
        output: bytes = engine.containers.run(
            (lock["images"] | lock["services"])[target]["image"],
            ["python", "-c", program, *arguments],
            remove=True,
            **LOCKED_DOWN,
        )
        return output.decode()

    return run
