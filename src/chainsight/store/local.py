"""A store in a local folder (or on any mounted file system that has hard links)."""

import errno
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from chainsight.errors import StoreError
from chainsight.store.base import ATTEMPT, Attempt, Store, unwritable
from chainsight.store.manifest import FileEntry, Manifest, checked_path, sha256_of_file, walk

MLFLOWS_NOTE = PurePosixPath("registered_model_meta")
"""What MLflow writes into a local model's own folder when it loads it from the registry."""
_DRAFT = ".draft-"
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP)


def place(source: Path, target: Path) -> None:
    """Bring one file into the store: linked where possible, as it may be of many gigabytes."""
    # A file that has another name already (a cache's) can be changed through that name: copied.
    if source.stat().st_nlink > 1 or not _linked(source, target):
        shutil.copyfile(source, target)
    target.chmod(0o444)
    _sync(target)


class LocalStore(Store):
    """Artifacts in a folder; read in place, verified once per store object."""

    def __init__(self, root: Path, place: Callable[[Path, Path], None] = place) -> None:
        self._root = root.expanduser().resolve()
        self._place = place
        self._verified: set[tuple[str, str]] = set()
        self.uri = str(self._root)

    def _read_manifest(self, kind: str, key: str) -> bytes | None:
        try:
            return (self._root / kind / key / "manifest.json").read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            where = self.artifact_uri(kind, key)
            raise StoreError(f"{where}: cannot be read ({error}); check the rights") from error

    def probe(self) -> None:
        """StoreError when the address is one of a file."""
        if self._root.exists() and not self._root.is_dir():
            raise StoreError(f"{self.uri}: the store must be a folder, this is a file")

    def put(self, path: Path, name: str) -> None:
        target = self._root / checked_path(name)
        draft = target.with_name(f"{_DRAFT}{uuid.uuid4().hex}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if not _linked(path, draft):
                shutil.copyfile(path, draft)
            _sync(draft)
            draft.replace(target)
        except OSError as error:
            size = path.stat().st_size
            raise unwritable(f"{self.uri}/{name}", self._root, size, error) from error
        finally:
            draft.unlink(missing_ok=True)

    def get(self, name: str, path: Path) -> None:
        try:
            shutil.copyfile(self._root / checked_path(name), path)
        except FileNotFoundError as error:
            raise StoreError(f"{self.uri}/{name}: there is no such file") from error

    def create(self, name: str, data: bytes) -> bool:
        target = self._root / checked_path(name)
        draft = target.with_name(f"{_DRAFT}{uuid.uuid4().hex}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(data)
            _sync(draft)
            os.link(draft, target)
            _sync(target.parent)
        except FileExistsError:
            return False
        except OSError as error:
            raise unwritable(f"{self.uri}/{name}", self._root, len(data), error) from error
        finally:
            draft.unlink(missing_ok=True)
        return True

    def read(self, name: str) -> bytes | None:
        try:
            return (self._root / checked_path(name)).read_bytes()
        except FileNotFoundError:
            return None

    def sizes(self, prefix: str) -> dict[str, int]:
        found: dict[str, int] = {}
        for path in (self._root / checked_path(prefix)).rglob("*"):
            with suppress(FileNotFoundError):  # dropped just now
                if path.is_file() and not path.name.startswith(_DRAFT):
                    found[path.relative_to(self._root).as_posix()] = path.stat().st_size
        return found

    def drop(self, name: str) -> None:
        path = self._root / checked_path(name)
        path.unlink(missing_ok=True)
        with suppress(OSError):  # until one is not empty
            for folder in path.parents:
                if folder == self._root:
                    return
                folder.rmdir()

    def _upload(self, folder: Path, manifest: Manifest) -> None:
        target, draft = self._folder(manifest), self._draft(manifest)
        try:
            for entry in manifest.files:
                (target / entry.path).parent.mkdir(parents=True, exist_ok=True)
                self._place(folder / entry.path, target / entry.path)
            draft.write_text(manifest.to_json(), encoding="utf-8")
            draft.chmod(0o444)
            for path in (draft, *_folders(target), target.parent, target.parent.parent, self._root):
                _sync(path)
        except OSError as error:
            raise self._unwritable(manifest, error) from error

    def _write_manifest(self, manifest: Manifest) -> None:
        draft = self._draft(manifest)
        try:
            # The one step that publishes: atomic, and refused when the name is taken.
            os.link(draft, draft.with_name("manifest.json"))
        except FileExistsError:
            pass  # the base class reads who won
        except OSError as error:
            if error.errno in _NO_LINK:
                raise StoreError(
                    f"{self.uri}: this file system has no hard links, which a commit needs; "
                    "put the store on another one or in S3"
                ) from error
            raise self._unwritable(manifest, error) from error
        draft.unlink()
        _sync(draft.parent)

    def _unwritable(self, manifest: Manifest, error: OSError) -> StoreError:
        where = self.artifact_uri(manifest.kind, manifest.key)
        return unwritable(where, self._root, manifest.num_bytes, error)

    def _discard(self, kind: str, key: str, attempt: str) -> None:
        folder = self._root / kind / key
        # What cannot be deleted now is invisible, and swept another day.
        shutil.rmtree(folder / attempt, ignore_errors=True)
        (folder / f"{attempt}.json").unlink(missing_ok=True)

    def _fetch(self, manifest: Manifest, files: tuple[FileEntry, ...]) -> Path:
        folder = self._folder(manifest)
        todo = [entry for entry in files if (manifest.attempt, entry.path) not in self._verified]
        for entry in todo:
            self._verify(manifest, entry, folder / entry.path)
            self._verified.add((manifest.attempt, entry.path))
        if todo:
            self._refuse_strangers(manifest, folder)
        return folder

    def _refuse_strangers(self, manifest: Manifest, folder: Path) -> None:
        known = {PurePosixPath(entry.path) for entry in manifest.files}
        if strangers := set(walk(folder)) - known - {MLFLOWS_NOTE}:
            raise StoreError(
                f"{folder / min(strangers)}: this file is not of the artifact, which nobody may "
                "change; delete the file"
            )

    def _size(self, manifest: Manifest, entry: FileEntry) -> int | None:
        path = self._folder(manifest) / entry.path
        return path.stat().st_size if path.is_file() else None

    def _sha256(self, manifest: Manifest, entry: FileEntry) -> str:
        path = self._folder(manifest) / entry.path
        try:
            return sha256_of_file(path)
        except FileNotFoundError as error:
            raise self._damaged_file(manifest, entry, "it is missing") from error
        except OSError as error:
            raise StoreError(f"{path}: cannot be read ({error}); check the rights") from error

    def _keys(self, kind: str) -> tuple[str, ...]:
        return tuple(
            sorted(path.parent.name for path in self._root.glob(f"{kind}/*/manifest.json"))
        )

    def _attempts(self, kind: str) -> Iterator[Attempt]:
        for path in sorted(self._root.glob(f"{kind}/*/attempt-*")):
            if ATTEMPT.fullmatch(path.name):
                with suppress(FileNotFoundError):  # its writer has just dropped it
                    # A linked file keeps its old time: only folders tell of work going on.
                    age = time.time() - max(item.stat().st_mtime for item in _folders(path))
                    yield Attempt(kind, path.parent.name, path.name, age)

    def _draft(self, manifest: Manifest) -> Path:
        return self._folder(manifest).with_name(f"{manifest.attempt}.json")

    def _folder(self, manifest: Manifest) -> Path:
        return self._root / manifest.kind / manifest.key / manifest.attempt


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        return False
    return True


def _folders(path: Path) -> tuple[Path, ...]:
    return (path, *(item for item in path.rglob("*") if item.is_dir()))


def _sync(path: Path) -> None:
    """Wait until a file's content or a folder's list of names is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
