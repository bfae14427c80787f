"""Which of these tests need helm: they bear the marker `chart` and run by `make chart`."""

from pathlib import Path

import pytest

WITHOUT_HELM = {
    "test_files",
    "test_objectschemas",
    "test_podsecurity",
    "test_policies",
    "test_values",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and item.path.stem not in WITHOUT_HELM:
            item.add_marker(pytest.mark.chart)
