"""A tiny checkpoint of each model family."""

from pathlib import Path

import pytest
import tiny_families


@pytest.fixture(scope="session")
def family_folders(
    tmp_path_factory: pytest.TempPathFactory, student_folder: Path
) -> dict[str, Path]:
    """By `model_type`; sealed, read only."""
    root = tmp_path_factory.mktemp("families")
    made = {name: make(root / name) for name, make in tiny_families.MADE.items()}
    return made | {"llava_next": student_folder}
