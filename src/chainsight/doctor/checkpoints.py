"""The base model: a folder is looked at without loading it, a hub id asked for.

Of weights only the headers are read: milliseconds for any size, and no torch. What a header does
not show (a flipped bit, a tensor that a single file without an index lacks) is found when the
model is loaded.
"""

import json
import struct
from pathlib import Path
from typing import Any

from chainsight.config import ModelSection
from chainsight.doctor import hub
from chainsight.doctor.check import Checks, Where, fail, ok, told
from chainsight.errors import CheckpointError
from chainsight.vlm import files

INDEX = "model.safetensors.index.json"
LARGEST_HEADER = 100 * 2**20
"""The format's own bound."""


def model(config: ModelSection, where: Where) -> Checks:
    """Whether the base model is there, safe and whole, as far as its files' headers tell."""
    base = config.base
    if base != "builtin:tiny" and not Path(base).is_dir():
        if files.HUB_ID.fullmatch(base):
            yield hub.model(base, config.revision, where)
        else:
            yield fail(
                "model",
                f"{base}: no such checkpoint folder",
                "correct model.base: builtin:tiny, a checkpoint folder or owner/name of a hub",
            )
        return
    folder = files.resolve(base)
    try:
        files.check_files(folder, digests=False)
        num_tensors = _check_weights(folder)
    except CheckpointError as error:
        yield told("model", error)
    else:
        yield ok("model", f"{base} in {config.dtype}: {num_tensors} tensors, sha256 not compared")


def _check_weights(folder: Path) -> int:
    """Count the tensors; CheckpointError for a cut file or a tensor that the index promises."""
    found = {path.name: set(_tensors(path)) for path in sorted(folder.glob("*.safetensors"))}
    if (folder / INDEX).is_file():
        promised = files.read_json(folder / INDEX).get("weight_map")
        for tensor, name in sorted((promised if isinstance(promised, dict) else {}).items()):
            if tensor not in found.get(name, set()):
                raise CheckpointError(
                    f"{folder / str(name)}: tensor {tensor} is missing, though {INDEX} lists it; "
                    "copy the checkpoint again"
                )
    return len(set().union(*found.values()))


def _tensors(path: Path) -> list[str]:
    """The names in a safetensors file, which must be as long as its header says."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header: dict[str, Any] = json.loads(file.read(min(length, LARGEST_HEADER)))
        header.pop("__metadata__", None)
        ends = [int(tensor["data_offsets"][1]) for tensor in header.values()]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, struct.error) as error:
        raise CheckpointError(f"{path}: damaged ({error}); copy it again") from None
    wanted = 8 + length + max(ends, default=0)
    if path.stat().st_size != wanted:
        raise CheckpointError(
            f"{path}: {path.stat().st_size} bytes, its header promises {wanted}; copy it again"
        )
    return list(header)
