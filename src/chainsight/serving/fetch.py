"""A registered version as a plain folder, for a server of another kind (vLLM)."""

import json
import shutil
from pathlib import Path

from chainsight.errors import CheckpointError, ConfigError
from chainsight.serving.find import Found
from chainsight.vlm import files

DOWNLOAD = ".download"
"""Folder below the target for what comes from S3, on the target's own file system."""


def place(found: Found, folder: Path, *, dtype: str) -> int:
    """Put the verified files of `found` into `folder`; an adapter is merged with its base.

    Returns:
        The number of files.

    Raises:
        ConfigError: `folder` holds something else.
        CheckpointError: what was written does not verify.
    """
    folder = folder.resolve()
    _clear(folder)
    if files.is_adapter(found.folder):
        _merge(found, folder, dtype)
    else:
        _copy(found.folder, folder)
    shutil.rmtree(folder / DOWNLOAD, ignore_errors=True)
    files.check_files(folder, digests=True)
    return sum(1 for _ in folder.iterdir())


def _clear(folder: Path) -> None:
    """Remove what an earlier call has left; refuse to remove anything else."""
    folder.mkdir(parents=True, exist_ok=True)
    present = {path.name for path in folder.iterdir()} - {DOWNLOAD, files.SEAL, "lost+found"}
    listed = _listed(folder) | {"history.jsonl"}
    if strange := sorted(present - listed):
        raise ConfigError(
            f"{folder}: holds {strange[0]}, which chainsight fetch did not write; give an empty "
            "folder"
        )
    for name in (present & listed) | {files.SEAL}:
        (folder / name).unlink(missing_ok=True)


def _listed(folder: Path) -> set[str]:
    try:
        seal = json.loads((folder / files.SEAL).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    return set(seal.get("files", {}))


def _copy(source: Path, folder: Path) -> None:
    """The seal goes first: a call after a kill knows by it what to remove."""
    paths = sorted(path for path in source.iterdir() if path.is_file())
    for path in sorted(paths, key=lambda path: path.name != files.SEAL):
        if source.is_relative_to(folder):
            path.replace(folder / path.name)
        else:
            shutil.copyfile(path, folder / path.name)


def _merge(found: Found, folder: Path, dtype: str) -> None:
    from chainsight.vlm import checkpoint

    try:
        loaded = checkpoint.load(found.folder, dtype=dtype, fetch=found.store.fetch)
    except ImportError as error:
        raise CheckpointError(
            f"{found.version.uri} is an adapter, and merging it needs {error.name}; use the image "
            "of evaluate"
        ) from None
    checkpoint.save(loaded, folder, base=found.version.uri, kind="lora-merged", dtype=dtype)
