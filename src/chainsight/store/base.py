"""The commit protocol and the reading rules, the same for every kind of store."""

import errno
import re
import shutil
import uuid
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chainsight.errors import ArtifactError, StoreError
from chainsight.store.manifest import FileEntry, Manifest, checked_name, scan, sha256_of_file

DAY_SECONDS = 86_400.0
WEIGHTS = ".safetensors"
ATTEMPT = re.compile(r"attempt-[0-9a-f]{32}")


@dataclass(frozen=True)
class Attempt:
    """The files of one commit, published or not."""

    kind: str
    key: str
    name: str
    age_seconds: float


def unwritable(where: str, folder: Path, num_bytes: int, error: OSError) -> StoreError:
    """Say why `num_bytes` of files did not fit or could not be written below `folder`."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(f"{where}: cannot be written ({error}); check the folder's rights")
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return StoreError(
        f"{where}: the disk of {folder} is full: {num_bytes} bytes are needed, "
        f"{shutil.disk_usage(existing).free} are free; make room or move the folder, then run again"
    )


class Store(ABC):
    """Immutable artifacts at `<store>/<kind>/<key>/`."""

    uri: str
    """The store's own address, without a slash at the end."""

    def artifact_uri(self, kind: str, key: str) -> str:
        """Address of an artifact, whether it is there or not."""
        return f"{self.uri}/{kind}/{key}"

    def find(self, kind: str, key: str) -> Manifest | None:
        """Look an artifact up; StoreError when its manifest is damaged."""
        data = self._read_manifest(checked_name(kind), checked_name(key))
        return None if data is None else self._parse(kind, key, data)

    def load(self, uri: str) -> Manifest:
        """Read the manifest at an artifact's address; StoreError when there is none."""
        kind, key = self._split(uri)
        manifest = self.find(kind, key)
        if manifest is None:
            raise ArtifactError(
                f"{uri}: there is no such artifact; run the stage that writes {kind}"
            )
        return manifest

    def list(self, kind: str) -> Iterator[Manifest]:
        """Give the manifests of all artifacts of one kind, the oldest first."""
        found = [self.find(kind, key) for key in self._keys(checked_name(kind))]
        yield from sorted((item for item in found if item), key=lambda item: item.created)

    def fetch(self, artifact: str | Manifest) -> Path:
        """Give a local folder with the artifact's files, their sha256 verified.

        StoreError names a missing or damaged file. The folder must not be written to.
        """
        manifest = artifact if isinstance(artifact, Manifest) else self.load(artifact)
        return self._fetch(manifest, manifest.files)

    def fetch_light(self, artifact: str | Manifest) -> Path:
        """As `fetch`, without weights (`*.safetensors`): what reports and the registry look at."""
        manifest = artifact if isinstance(artifact, Manifest) else self.load(artifact)
        light = tuple(entry for entry in manifest.files if not entry.path.endswith(WEIGHTS))
        return self._fetch(manifest, light)

    def check(self, manifest: Manifest) -> None:
        """StoreError names a file that is missing or of another size; no file is read."""
        self._check_sizes(manifest)

    def verify(self, artifact: str | Manifest) -> Manifest:
        """Read every byte of an artifact where it lies and compare sizes and sha256.

        No local copy is made, and none that was made before is trusted. ArtifactError names a
        missing, damaged or strange file; StoreError when the store itself does not answer.
        """
        manifest = artifact if isinstance(artifact, Manifest) else self.load(artifact)
        self._check_sizes(manifest)
        folder = f"{manifest.kind}/{manifest.key}/{manifest.attempt}"
        known = {f"{folder}/{entry.path}" for entry in manifest.files}
        if strangers := set(self.names(folder)) - known:
            raise ArtifactError(
                f"{self.uri}/{min(strangers)}: this file is not of the artifact, which nobody may "
                "change; delete the file"
            )
        for entry in manifest.files:
            if (found := self._sha256(manifest, entry)) != entry.sha256:
                what = f"expected sha256 {entry.sha256}, found {found}"
                raise self._damaged_file(manifest, entry, what)
        return manifest

    def commit(
        self,
        folder: Path,
        *,
        kind: str,
        key: str,
        stage: str,
        code_version: str,
        config: Mapping[str, Any],
        inputs: Mapping[str, str],
        input_digests: Mapping[str, str],
        metrics: Mapping[str, float],
        seconds: float,
        siblings: Iterable[str] = (),
        image: str = "",
    ) -> Manifest:
        """Publish the files of `folder` as an artifact, all or nothing.

        Whoever publishes a key first wins: later writers drop their files and get the winner's
        manifest. The folder belongs to the store afterwards: a local one links its files.
        """
        winner = self.find(kind, key)
        if winner is None:
            self.sweep(kind)
            own = Manifest(
                kind=kind,
                key=key,
                stage=stage,
                code_version=code_version,
                config=dict(config),
                inputs=dict(inputs),
                input_digests=dict(input_digests),
                files=scan(folder),
                attempt=f"attempt-{uuid.uuid4().hex}",
                metrics={name: float(value) for name, value in metrics.items()},
                seconds=float(seconds),
                created=datetime.now(UTC).isoformat(timespec="microseconds"),
                siblings=tuple(siblings),
                image=image,
            )
            winner = self._publish(folder, own)
        self._check_sizes(winner)
        return winner

    def names(self, prefix: str) -> tuple[str, ...]:
        """Names of the kept files below `<store>/<prefix>/`, sorted."""
        return tuple(sorted(self.sizes(prefix)))

    def sweep(self, kind: str, older_than: float = DAY_SECONDS) -> int:
        """Delete the files of attempts that died before they were published; count them.

        `older_than` (seconds) must exceed the longest upload: a younger attempt may be alive.
        """
        attempts, committed = tuple(self._attempts(kind)), set(self._keys(kind))
        num_attempts = Counter(item.key for item in attempts)
        swept = [
            item
            for item in attempts
            if item.age_seconds >= older_than
            # The only attempt of a committed key is the published one: no need to read on.
            and not (item.key in committed and num_attempts[item.key] == 1)
            and not self._is_published(item)
        ]
        for item in swept:
            self._discard(item.kind, item.key, item.name)
        return len(swept)

    # What a kind of store has to bring:

    @abstractmethod
    def put(self, path: Path, name: str) -> None:
        """Keep a file at `<store>/<name>`, in place of what is there: work, not an artifact."""

    @abstractmethod
    def get(self, name: str, path: Path) -> None:
        """Copy what `put` has kept to `path`; StoreError when there is nothing of that name."""

    @abstractmethod
    def create(self, name: str, data: bytes) -> bool:
        """Keep `data` at `<store>/<name>` unless the name is taken; whether it was free.

        Of several writers of one name exactly one gets True, if their data differ.
        """

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """What `create` or `put` has kept, or None."""

    @abstractmethod
    def sizes(self, prefix: str) -> dict[str, int]:
        """Bytes of each kept file below `<store>/<prefix>/`, by its name."""

    @abstractmethod
    def drop(self, name: str) -> None:
        """Delete what `put` has kept, if it is there."""

    @abstractmethod
    def probe(self) -> None:
        """StoreError when the store cannot be used or cannot keep the commit protocol."""

    @abstractmethod
    def _read_manifest(self, kind: str, key: str) -> bytes | None: ...

    @abstractmethod
    def _write_manifest(self, manifest: Manifest) -> None:
        """Write it if there is none; say nothing when there is one already."""

    @abstractmethod
    def _upload(self, folder: Path, manifest: Manifest) -> None: ...

    @abstractmethod
    def _discard(self, kind: str, key: str, attempt: str) -> None: ...

    @abstractmethod
    def _fetch(self, manifest: Manifest, files: tuple[FileEntry, ...]) -> Path:
        """Give a folder with `files` of the artifact, verified."""

    @abstractmethod
    def _size(self, manifest: Manifest, entry: FileEntry) -> int | None: ...

    @abstractmethod
    def _sha256(self, manifest: Manifest, entry: FileEntry) -> str:
        """Of the file's bytes as they lie in the store now."""

    @abstractmethod
    def _keys(self, kind: str) -> Iterable[str]:
        """Keys that have a manifest."""

    @abstractmethod
    def _attempts(self, kind: str) -> Iterable[Attempt]: ...

    # What they share:

    def _publish(self, folder: Path, own: Manifest) -> Manifest:
        try:
            self._upload(folder, own)
        except BaseException:  # also Ctrl-C: nothing is published yet, so nothing may stay
            self._discard(own.kind, own.key, own.attempt)
            raise
        self._write_manifest(own)
        # Who won is read back, never concluded from the answer to the write: a repeated request
        # can be refused because its own first try had succeeded.
        winner = self.load(self.artifact_uri(own.kind, own.key))
        if winner.attempt != own.attempt:
            self._discard(own.kind, own.key, own.attempt)
        return winner

    def _parse(self, kind: str, key: str, data: bytes) -> Manifest:
        where = self.artifact_uri(kind, key)
        try:
            manifest = Manifest.from_json(data)
        except StoreError as error:
            raise self._damaged(where, f"manifest.json is damaged: {error}") from error
        if (manifest.kind, manifest.key) != (kind, key):
            named = f"{manifest.kind}/{manifest.key}"
            raise self._damaged(where, f"manifest.json is the one of {named}")
        return manifest

    def _split(self, uri: str) -> tuple[str, str]:
        kind, _, key = uri.removeprefix(f"{self.uri}/").rstrip("/").partition("/")
        if not uri.startswith(f"{self.uri}/") or not key or "/" in key:
            raise ArtifactError(
                f"{uri}: not an artifact of this store, expected {self.uri}/KIND/KEY. "
                "Artifacts name each other in full: a store that was moved must go back to its "
                "place, or the run be done again in a new one (run.store)"
            )
        return kind, key

    def _is_published(self, attempt: Attempt) -> bool:
        try:
            manifest = self.find(attempt.kind, attempt.key)
        except StoreError:
            return True  # not to be judged; whoever asks for this artifact is told
        return manifest is not None and manifest.attempt == attempt.name

    def _check_sizes(self, manifest: Manifest) -> None:
        for entry in manifest.files:
            if (size := self._size(manifest, entry)) != entry.size:
                found = "it is missing" if size is None else f"found {size} bytes"
                raise self._damaged_file(manifest, entry, f"expected {entry.size} bytes, {found}")

    def _verify(self, manifest: Manifest, entry: FileEntry, path: Path) -> None:
        if not path.is_file():
            raise self._damaged_file(manifest, entry, "it is missing")
        if (found := sha256_of_file(path)) != entry.sha256:
            raise self._damaged_file(
                manifest, entry, f"expected sha256 {entry.sha256}, found {found}"
            )

    def _damaged_file(self, manifest: Manifest, entry: FileEntry, what: str) -> ArtifactError:
        where = self.artifact_uri(manifest.kind, manifest.key)
        return self._damaged(where, f"{manifest.attempt}/{entry.path}: {what}")

    def _damaged(self, where: str, what: str) -> ArtifactError:
        return ArtifactError(f"{where}: {what}; delete the folder {where} and run again")
