"""The columns of a run's Parquet artifacts, nothing where one is missing."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq


def column(folders: Mapping[str, Path], kind: str, name: str) -> list[Any] | None:
    """A column of `KIND/KIND.parquet`; None: there is no such file."""
    path = folders[kind] / f"{kind}.parquet" if kind in folders else None
    if path is None or not path.is_file():
        return None
    values: list[Any] = pq.read_table(path, columns=[name])[name].to_pylist()
    return values


def rows(
    folders: Mapping[str, Path],
    kind: str,
    columns: Sequence[str],
    name: str = "",
    wanted: Collection[str] | None = None,
) -> list[dict[str, Any]]:
    """Rows of `KIND/NAME.parquet`, all or those of the `wanted` example ids."""
    path = folders[kind] / f"{name or kind}.parquet" if kind in folders else None
    if path is None or not path.is_file():
        return []
    known = None if wanted is None else [("example_id", "in", set(wanted))]
    found: list[dict[str, Any]] = pq.read_table(
        path, columns=list(columns), filters=known
    ).to_pylist()
    return found
