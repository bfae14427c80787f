"""What an artifact is: its files with their digests, and where they came from."""

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from chainsight.errors import StoreError

FORMAT = 1
"""Version of the manifest's own layout."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")


def checked_name(name: str) -> str:
    """Return a kind or key that is safe as one folder name; StoreError for any other."""
    if not _NAME.fullmatch(name):
        raise StoreError(f"{name!r} cannot name an artifact: use letters, digits, '-', '_', '.'")
    return name


def checked_path(path: str) -> str:
    """Return a file's path below an artifact; StoreError when it could lead anywhere else."""
    parts = path.split("/")
    if _CONTROL.search(path) or any(part in ("", ".", "..") for part in parts):
        raise StoreError(f"{path!r} cannot be a file of an artifact: it must stay below its folder")
    return path


def _nan_for_null(value: Any) -> Any:
    return math.nan if value is None else value


_Digest = Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\z")]
_Path = Annotated[str, AfterValidator(checked_path)]
_Name = Annotated[str, AfterValidator(checked_name)]
# JSON has no NaN and no infinity: they are written as null and read as NaN.
_Metric = Annotated[float, BeforeValidator(_nan_for_null)]


@dataclass(frozen=True)
class FileEntry:
    """One file: its path below the artifact's folder, size in bytes and sha256."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    path: _Path
    size: Annotated[int, Field(ge=0)]
    sha256: _Digest


@dataclass(frozen=True)
class Manifest:
    """An artifact as committed. Only what a manifest lists exists."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    kind: _Name
    key: _Name
    stage: str
    code_version: str
    config: dict[str, Any]
    """The stage's resolved configuration."""
    inputs: dict[str, str]
    """Store URI of each input artifact, by kind."""
    input_digests: dict[str, str]
    """`content_digest` of each input artifact, by kind."""
    files: tuple[FileEntry, ...]
    attempt: _Name
    """Folder of the files, below the artifact's own folder."""
    metrics: dict[str, _Metric]
    seconds: float
    created: str
    """Moment of the commit, ISO 8601, UTC."""
    siblings: tuple[str, ...] = ()
    """The other kinds that the same execution of the stage wrote."""
    image: str = ""
    """The container image that made it, name@digest; "" outside of one."""

    @property
    def content_digest(self) -> str:
        """sha256 of paths, sizes and sha256 of the files: equal content, equal digest."""
        rows = sorted((entry.path, entry.size, entry.sha256) for entry in self.files)
        return _sha256_of_json(rows)

    @property
    def num_bytes(self) -> int:
        """Size of all files together."""
        return sum(entry.size for entry in self.files)

    def to_json(self) -> str:
        """Write as JSON for people and machines, sealed with its own sha256."""
        body = asdict(self) | {"format": FORMAT, "metrics": _null_for_nan(self.metrics)}
        sealed = body | {"sha256": _sha256_of_json(body)}
        return json.dumps(sealed, indent=1, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "Manifest":
        """Read what `to_json` wrote; StoreError when a single character differs."""
        try:
            body = json.loads(text)
        except ValueError as error:  # a JSONDecodeError or a UnicodeDecodeError
            raise StoreError(f"it is not JSON ({error})") from error
        if not isinstance(body, dict):
            raise StoreError("it is not a JSON object")
        if body.get("format") != FORMAT:
            raise StoreError(f"its format is {body.get('format')!r}, this version reads {FORMAT}")
        expected, found = body.pop("sha256", None), _sha256_of_json(body)
        if expected != found:
            raise StoreError(f"it says sha256 {expected}, but has {found}")
        del body["format"]
        try:
            return _MANIFEST.validate_json(json.dumps(body))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(step) for step in first["loc"])
            raise StoreError(f"field {where}: {first['msg']}") from error


_MANIFEST = TypeAdapter(Manifest)


def _null_for_nan(metrics: dict[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def _sha256_of_json(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Hex sha256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def scan(folder: Path) -> tuple[FileEntry, ...]:
    """List the files below a stage's output folder, sorted by path; empty folders don't count.

    StoreError for a symlink, anything that is neither file nor folder, or no file at all.
    """
    entries = tuple(_entry(folder, path) for path in walk(folder))
    if not entries:
        raise StoreError(f"{folder}: the stage wrote no file, so there is nothing to commit")
    return entries


def walk(folder: Path) -> tuple[PurePosixPath, ...]:
    """Relative paths of the files below `folder`, sorted; StoreError for links and devices."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise StoreError(
                f"{path}: an artifact holds plain files only, this is a link or a device; "
                "let the stage write a copy"
            )
        if path.is_file():
            found.append(PurePosixPath(path.relative_to(folder).as_posix()))
    return tuple(found)


def _entry(folder: Path, relative: PurePosixPath) -> FileEntry:
    path = folder / relative
    return FileEntry(checked_path(str(relative)), path.stat().st_size, sha256_of_file(path))
