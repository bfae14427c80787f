"""Parquet files of a dataset split: in a local folder, under an `s3://` prefix or on the hub.

Files of a split are `<split>-*.parquet` or `data/<split>-*.parquet`, as the hub names them.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from chainsight.errors import ConfigError

ROWS_PER_BATCH = 32
READ_BYTES = 1 << 20
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Files:
    """The Parquet files of one split, in order."""

    source: str
    filesystem: pyarrow.fs.FileSystem
    paths: tuple[str, ...]

    def open(self, path: str) -> pq.ParquetFile:
        """One file, read in small pieces: memory does not grow with its row groups."""
        try:
            return pq.ParquetFile(
                self.filesystem.open_input_file(path), pre_buffer=False, buffer_size=READ_BYTES
            )
        except (pa.ArrowInvalid, OSError) as error:
            raise ConfigError(f"{self.source}: {path} is no readable Parquet: {error}") from None


def is_hub_id(source: str) -> bool:
    """Whether `source` names a hub dataset: `owner/name`, and no such folder is here."""
    return HUB_ID.fullmatch(source) is not None and not Path(source).is_dir()


def find(source: str, split: str, revision: str | None) -> Files:
    """Find the files of `split`.

    Raises:
        ConfigError: the place is missing or has none; the message lists what it has.
    """
    if source.startswith("s3://"):
        return _in_folder(source, _s3(), source.removeprefix("s3://").rstrip("/"), split)
    if is_hub_id(source):
        return _on_hub(source, split, revision)
    if not Path(source).is_dir():
        raise ConfigError(
            f"{source}: no such folder; a source is a folder, an s3:// prefix or a hub id"
        )
    folder = Path(source).resolve().as_posix()
    return _in_folder(source, pyarrow.fs.LocalFileSystem(), folder, split)


def _s3() -> pyarrow.fs.FileSystem:
    """AWS's own names: the endpoint of S3 alone wins over that of all services."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return pyarrow.fs.S3FileSystem(
        endpoint_override=endpoint, region=os.environ.get("AWS_REGION") or "us-east-1"
    )


def _in_folder(source: str, filesystem: pyarrow.fs.FileSystem, folder: str, split: str) -> Files:
    try:
        names = [
            path[len(folder) + 1 :]
            for place in (folder, f"{folder}/data")
            for path in _list(filesystem, place)
        ]
    except OSError as error:
        raise ConfigError(f"{source}: cannot be listed: {error}") from None
    chosen = _of_split(source, names, split)
    return Files(source, filesystem, tuple(f"{folder}/{name}" for name in chosen))


def _list(filesystem: pyarrow.fs.FileSystem, folder: str) -> list[str]:
    selector = pyarrow.fs.FileSelector(folder, allow_not_found=True)
    return [info.path for info in filesystem.get_file_info(selector) if info.is_file]


def _of_split(source: str, names: Sequence[str], split: str) -> list[str]:
    pattern = re.compile(rf"(?:data/)?{re.escape(split)}-[^/]*\.parquet")
    chosen = sorted(name for name in names if pattern.fullmatch(name))
    if not chosen:
        found = ", ".join(sorted(names)[:12]) or "no files at all"
        raise ConfigError(
            f"{source}: no files of split {split!r} ({split}-*.parquet or "
            f"data/{split}-*.parquet); found: {found}"
        )
    return chosen


def _on_hub(hub_id: str, split: str, revision: str | None) -> Files:
    try:
        import huggingface_hub
    except ImportError:
        raise ConfigError(
            f"{hub_id}: reading from the hub needs the package huggingface_hub; install "
            "chainsight[train], or name a local folder as the source"
        ) from None
    hub = huggingface_hub.HfApi()
    try:
        names = hub.list_repo_files(hub_id, repo_type="dataset", revision=revision)
        paths = [
            huggingface_hub.hf_hub_download(hub_id, name, repo_type="dataset", revision=revision)
            for name in _of_split(hub_id, names, split)
        ]
    except (OSError, huggingface_hub.errors.HTTPError) as error:  # type: ignore[attr-defined]
        wanted = f" at revision {revision}" if revision else ""
        raise ConfigError(
            f"{hub_id}{wanted}: no such folder here, and the hub cannot be read "
            f"({type(error).__name__}: {error}). Offline, name as the source a local folder or "
            "s3:// prefix with the hub's Parquet files"
        ) from None
    return Files(hub_id, pyarrow.fs.LocalFileSystem(), tuple(paths))


def num_rows(files: Files) -> int:
    """Rows in all files, from their footers."""
    total = 0
    for path in files.paths:
        with files.open(path) as file:
            total += file.metadata.num_rows
    return total


def digest(files: Files) -> str:
    """sha256 over the files' names and contents."""
    total = hashlib.sha256()
    for path in files.paths:
        content = hashlib.sha256()
        with files.filesystem.open_input_stream(path) as stream:
            while piece := stream.read(READ_BYTES):
                content.update(piece)
        total.update(f"{content.hexdigest()}  {Path(path).name}\n".encode())
    return total.hexdigest()


def read_rows(files: Files, columns: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of all files, `columns` only.

    Raises:
        ConfigError: a column is missing; the message lists those that are there.
    """
    for path in files.paths:
        with files.open(path) as file:
            _require_columns(files.source, Path(path).name, file.schema_arrow.names, columns)
            for batch in _batches(files, path, file, columns):
                yield from (Cells(batch, number) for number in range(batch.num_rows))


def _batches(
    files: Files, path: str, file: pq.ParquetFile, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    try:
        yield from file.iter_batches(batch_size=ROWS_PER_BATCH, columns=list(columns))
    except (pa.ArrowInvalid, OSError) as error:
        raise ConfigError(f"{files.source}: {path} is damaged: {error}; fetch it again") from None


def _require_columns(source: str, name: str, found: Sequence[str], wanted: Sequence[str]) -> None:
    missing = [column for column in wanted if column not in found]
    if missing:
        raise ConfigError(
            f"{source}: {name} has no column {', '.join(map(repr, missing))}; wanted: "
            f"{', '.join(wanted)}; found: {', '.join(found)}"
        )


class Cells(Mapping[str, Any]):
    """One row of a batch, each cell converted when it is asked for.

    So a cell that cannot be converted (text that is no UTF-8) spoils its own row alone.
    """

    def __init__(self, batch: pa.RecordBatch, number: int) -> None:
        self.batch, self.number = batch, number

    def __getitem__(self, column: str) -> Any:
        return self.batch.column(column)[self.number].as_py()

    def __iter__(self) -> Iterator[str]:
        return iter(self.batch.schema.names)

    def __len__(self) -> int:
        return int(self.batch.num_columns)
