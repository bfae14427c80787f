"""A teacher with a Batch API."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from calling import Place

from chainsight.demo import teacher


@pytest.fixture
def place(tmp_path: Path) -> Callable[..., Any]:
    """`place(**batching)` starts a teacher whose Batch API behaves so."""

    @contextmanager
    def start(*, store: bool = True, **behaviour: Any) -> Iterator[Place]:
        batching = behaviour.pop("batch", {})
        with teacher.serve(batch=teacher.Batching(**batching), **behaviour) as server:
            yield Place(tmp_path / "home", tmp_path / "store" if store else None, server)

    return start
