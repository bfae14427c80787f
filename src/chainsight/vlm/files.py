"""Where a checkpoint's files are and what identifies them; imports neither torch nor transformers.

Stage keys hold a base model's fingerprint, so that this must cost no second.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from chainsight.errors import CheckpointError

SEAL = "chainsight.json"
BUILTIN = Path(__file__).parent.parent / "demo" / "base"
"""`builtin:tiny`."""
READ_BY_LOADERS = frozenset({".safetensors", ".json", ".jinja", ".model", ".txt"})
NOT_THE_MODEL = frozenset({SEAL, "manifest.json", "summary.json"})
"""JSON files that may stand beside a checkpoint without being listed in its seal."""
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
    digest = hashlib.sha256()
    for path in model_files(resolve(ref)):
        digest.update(f"{path.name}\0{sha256(path)}\n".encode())
    return digest.hexdigest()


def model_files(folder: Path) -> Iterator[Path]:
    """The files that make up a checkpoint, sorted by name."""
    for path in sorted(folder.iterdir()):
        if path.suffix in READ_BY_LOADERS and path.name not in NOT_THE_MODEL:
            yield path


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
