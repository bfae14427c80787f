"""Local copies of a remote store's artifacts, kept by content and shared between processes."""

import errno
import shutil
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath

from chainsight.store.base import DAY_SECONDS, unwritable
from chainsight.store.manifest import FileEntry, Manifest, sha256_of_file, walk

Download = Callable[[FileEntry, Path], None]
"""Write one verified file of an artifact to a path, or raise StoreError."""


class Cache:
    """Folders `<root>/<kind>/<content digest>/`: whole, or not there."""

    def __init__(self, root: Path) -> None:
        self._root = root.expanduser().resolve()
        self._verified: set[str] = set()

    def fetch(self, manifest: Manifest, download: Download) -> Path:
        """Give the artifact's folder, downloaded if need be; its copy is verified once per object.

        A damaged copy is downloaded again; StoreError when the disk is full.
        """
        folder = self._root / manifest.kind / manifest.content_digest
        if manifest.content_digest not in self._verified:
            if not _is_intact(folder, manifest):
                self._drop(folder)
                self._fill(folder, manifest, download)
            self._verified.add(manifest.content_digest)
        return folder

    def _drop(self, folder: Path) -> None:
        aside = self._root / f".damaged-{uuid.uuid4().hex}"
        with suppress(FileNotFoundError):  # not there, or another process drops it, too
            folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)

    def _fill(self, folder: Path, manifest: Manifest, download: Download) -> None:
        draft = self._root / f".download-{uuid.uuid4().hex}"
        self._sweep()
        try:
            for entry in manifest.files:
                target = draft / entry.path
                target.parent.mkdir(parents=True, exist_ok=True)
                download(entry, target)
                target.chmod(0o444)
            folder.parent.mkdir(exist_ok=True)
            draft.rename(folder)
        except OSError as error:
            # Not empty: another process was faster, its copy is verified as ours is.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                where = f"cache {folder}"
                raise unwritable(where, self._root, manifest.num_bytes, error) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _sweep(self) -> None:
        """Delete what downloads killed more than a day ago have left."""
        for path in (*self._root.glob(".download-*"), *self._root.glob(".damaged-*")):
            with suppress(FileNotFoundError):  # another process was faster
                if time.time() - path.stat().st_mtime > DAY_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)


def _is_intact(folder: Path, manifest: Manifest) -> bool:
    expected = {PurePosixPath(entry.path): entry.sha256 for entry in manifest.files}
    return (
        folder.is_dir()
        and set(walk(folder)) == set(expected)
        and all(sha256_of_file(folder / path) == expected[path] for path in expected)
    )
