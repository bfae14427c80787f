"""A checkpoint's files: where they are, what identifies them, which are refused.

A checkpoint is whole (config.json and all weights) or an adapter (adapter_config.json and the
low-rank change of a base, which its seal names).

Imports neither torch nor transformers: stage keys hold a base model's fingerprint, which must
cost no second, and the doctor looks at checkpoints where neither is installed.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chainsight.errors import CheckpointError
from chainsight.store import open_store

SEAL = "chainsight.json"
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MLMODEL = "MLmodel"
"""What MLflow reads first when it loads a model; no part of the model."""
BUILTIN = Path(__file__).parent.parent / "demo" / "base"
"""`builtin:tiny`."""
READ_BY_LOADERS = frozenset({".safetensors", ".json", ".jinja", ".model", ".txt"})
NOT_THE_MODEL = frozenset({SEAL, "manifest.json", "summary.json"})
"""JSON files that may stand beside a checkpoint without being listed in its seal."""
FORMAT = 1
"""Of the seal."""
PICKLED = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz"})
CODE = frozenset({".py", ".pyc", ".so"})
CODE_KEYS = frozenset(
    {"auto_map", "_attn_implementation_internal", "custom_pipelines", "trust_remote_code"}
)
"""Configuration keys by which transformers would fetch or run code of the checkpoint."""
NO_SAFE = "save it again with save_pretrained, which writes safetensors"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def resolve(ref: str | Path, revision: str | None = None) -> Path:
    """The local folder of a checkpoint reference; a hub id is downloaded (no code, no pickles)."""
    if str(ref) == "builtin:tiny":
        return BUILTIN
    folder = Path(ref)
    if folder.is_dir():
        return folder
    if not HUB_ID.fullmatch(str(ref)):
        raise CheckpointError(
            f"{ref}: no such folder; give builtin:tiny, a checkpoint folder or owner/name of a hub"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    wanted = [f"*{suffix}" for suffix in sorted(READ_BY_LOADERS)]
    try:
        return Path(snapshot_download(str(ref), revision=revision, allow_patterns=wanted))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(
            f"{ref}: not downloaded at revision {revision or 'main'} ({type(error).__name__}); "
            "check the name, the network and the access token, or give a local folder"
        ) from error


def fingerprint(ref: str | Path, revision: str | None = None) -> str:
    """sha256 over the files of a folder, or `id@revision` of a hub id (nothing is downloaded)."""
    if str(ref) != "builtin:tiny" and not Path(ref).is_dir() and HUB_ID.fullmatch(str(ref)):
        return f"{ref}@{revision or 'main'}"
    folder = resolve(ref)
    return content_digest(folder, _base_of(folder))


def content_digest(folder: Path, seal: Mapping[str, Any]) -> str:
    """sha256 over a folder's files, and over what an adapter's base is.

    Digests that `seal` lists are taken from it: pass one only if the files were compared with it.
    """
    listed, digest = seal.get("files", {}), hashlib.sha256()
    for path in model_files(folder):
        found = listed[path.name]["sha256"] if path.name in listed else sha256(path)
        digest.update(f"{path.name}\0{found}\n".encode())
    if "base_model" in seal:
        digest.update(json.dumps(seal["base_model"], sort_keys=True).encode())
    return digest.hexdigest()


def _base_of(folder: Path) -> dict[str, Any]:
    seal = read_json(folder / SEAL) if is_adapter(folder) and (folder / SEAL).exists() else {}
    return {key: value for key, value in seal.items() if key == "base_model"}


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds the change of a base, not a whole model."""
    return (folder / ADAPTER_CONFIG).is_file()


def fetch_artifact(uri: str) -> Path:
    """The verified local folder of an artifact's store URI, opened for reading.

    Copies of what lies in S3 are kept below `XDG_CACHE_HOME` (`~/.cache`).
    """
    root = uri.rstrip("/").rsplit("/", 2)[0]
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return open_store(root, caches / "chainsight", read_only=True).fetch(uri)


def model_files(folder: Path) -> Iterator[Path]:
    """The files that make up a checkpoint, sorted by name."""
    for path in sorted(folder.iterdir()):
        if path.suffix in READ_BY_LOADERS and path.name not in NOT_THE_MODEL:
            yield path


def sealed_files(folder: Path) -> Iterator[Path]:
    """The files that a seal lists: the model's, and what leads MLflow to it."""
    yield from model_files(folder)
    if (folder / MLMODEL).is_file():
        yield folder / MLMODEL


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_files(folder: Path, *, digests: bool) -> dict[str, Any]:
    """Refuse a folder whose files are unsafe, or other than its seal says; returns the seal.

    Without `digests` sizes are compared and no weights read. The seal is empty if there is none.

    Raises:
        CheckpointError: pickled weights, code, an unreadable or unlisted file, a wrong digest.
    """
    if (folder / "config.json").is_file() == is_adapter(folder):
        found = f"config.json and {ADAPTER_CONFIG}" if is_adapter(folder) else "no config.json"
        raise CheckpointError(
            f"{folder}: {found}, so this is no checkpoint; give the folder that "
            "save_pretrained wrote"
        )
    files = sorted(path for path in folder.iterdir() if path.is_file())
    for path in files:
        _refuse_unsafe(path)
    if not any(path.suffix == ".safetensors" for path in files):
        raise CheckpointError(f"{folder}: no .safetensors file; {NO_SAFE}")
    seal = read_json(folder / SEAL) if (folder / SEAL).exists() else {}
    if seal:
        _check_seal(folder, seal, digests)
    return seal


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a checkpoint; CheckpointError if it cannot be read, {} if it is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not readable as JSON ({error}); copy it again") from None
    return content if isinstance(content, dict) else {}


def _refuse_unsafe(path: Path) -> None:
    if path.suffix in PICKLED:
        raise CheckpointError(f"{path}: pickled weights can run code and are refused; {NO_SAFE}")
    if path.suffix in CODE:
        raise CheckpointError(
            f"{path}: code in a checkpoint is refused; use one whose architecture transformers has"
        )
    if path.name.endswith("config.json"):
        found = CODE_KEYS.intersection(_keys(read_json(path)))
        if found:
            raise CheckpointError(
                f"{path}: key {min(found)!r} would run foreign code and is refused; remove it if "
                "transformers has the architecture, else use another checkpoint"
            )


def _keys(node: Any) -> Iterator[str]:
    """Keys with a value, at any depth: `trust_remote_code: false` is harmless."""
    if isinstance(node, dict):
        yield from (key for key, value in node.items() if value)
        for value in node.values():
            yield from _keys(value)
    elif isinstance(node, list):
        for value in node:
            yield from _keys(value)


def _check_seal(folder: Path, seal: dict[str, Any], digests: bool) -> None:
    listed = seal.get("files")
    if seal.get("format") != FORMAT or not isinstance(listed, dict):
        raise CheckpointError(
            f"{folder / SEAL}: format {seal.get('format')!r}, this version reads {FORMAT}; upgrade"
        )
    for path in sealed_files(folder):
        if path.name not in listed:
            raise CheckpointError(f"{path}: not listed in {SEAL}; remove it or seal again")
    for name, entry in sorted(listed.items()):
        path = folder / name
        if path.parent != folder or not path.is_file():
            raise CheckpointError(f"{path}: missing, though {SEAL} lists it; copy it again")
        if path.stat().st_size != entry["size"]:
            found = f"{path.stat().st_size} bytes, {SEAL} says {entry['size']}"
            raise CheckpointError(f"{path}: {found}; copy it again")
        if digests and sha256(path) != entry["sha256"]:
            raise CheckpointError(f"{path}: sha256 differs from {SEAL}: damaged; copy it again")
