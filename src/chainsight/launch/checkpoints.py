"""Checkpoints that outlive their pod: copied to the store, and back to wherever work goes on.

`<store>/work/<stage key>/checkpoint-<step>/` has the files of one, and `files.json`, written last,
with their sha256: without it a checkpoint is not there. They are resume files of torch, hence as
trustworthy as those who may write below `<store>/work`.
"""

import json
import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from chainsight.errors import StoreError
from chainsight.job import Job
from chainsight.store import FileEntry, Store
from chainsight.store.manifest import scan, sha256_of_file

KEPT = 2
"""So many of the newest stay: while one is copied, the one before it is whole."""
LIST = "files.json"
COMPLETE = "complete"
"""What the training writes last into a local checkpoint (`chainsight.training`)."""
Say = Callable[[str], None]
_ENTRIES = TypeAdapter(list[FileEntry])


@contextmanager
def mirrored(
    job: Job, work: Path, environment: Mapping[str, str], say: Say
) -> Iterator[dict[str, Any]]:
    """Bring a job's newest checkpoint to `work`, and copy new ones to the store meanwhile.

    Only the process that writes checkpoints does this. Gives the fields of the stage's context;
    once left without an error, that is after the commit, the copies are deleted.
    """
    if not wanted(job.store.uri, environment):
        yield {}
        return
    mirror = Mirror(job.store, job.key, say)
    mirror.restore(work / "checkpoints")
    try:
        yield {"saved": mirror.saved}
    except BaseException:  # also SystemExit: the last copy is what the next pod goes on from
        mirror.wait()
        raise
    mirror.remove()


def wanted(store_uri: str, environment: Mapping[str, str]) -> bool:
    """Whether the store outlives this machine's disk: in S3, or anywhere seen from a pod."""
    return store_uri.startswith("s3://") or "KUBERNETES_SERVICE_HOST" in environment


class Mirror:
    """The copies of one training's checkpoints; failures of the store are said, not raised."""

    def __init__(self, store: Store, key: str, say: Say, kept: int = KEPT) -> None:
        self._store, self._say, self._kept = store, say, kept
        self._prefix = f"work/{key}"
        self._thread: threading.Thread | None = None

    def restore(self, folder: Path) -> Path | None:
        """Copy the newest whole checkpoint into `folder`, unless an equal or newer one is there.

        A damaged one is passed over for the one before it.
        """
        local = [_step(p.name) for p in folder.glob("checkpoint-*") if (p / COMPLETE).exists()]
        for step in reversed(self._whole()):
            if step <= max(local, default=-1):
                return None
            try:
                return self._fetch(step, folder)
            except StoreError as error:
                self._say(f"checkpoint-{step} cannot be resumed from: {error}")
        return None

    def saved(self, folder: Path) -> None:
        """Begin to copy a complete checkpoint; waits for the copy of the one before it."""
        self.wait()
        self._thread = threading.Thread(target=self._copy, args=(folder,), name="checkpoint-copy")
        self._thread.start()

    def wait(self) -> None:
        """Let the copy under way end."""
        if self._thread:
            self._thread.join()
            self._thread = None

    def remove(self) -> None:
        """Delete all copies: their training has committed its result."""
        self.wait()
        try:
            for name in self._names():
                self._store.drop(name)
        except StoreError as error:
            self._say(f"checkpoints stay in {self._store.uri}/{self._prefix}: {error}")

    def _copy(self, folder: Path) -> None:
        try:
            entries = scan(folder)
            self._store.drop(f"{self._prefix}/{folder.name}/{LIST}")  # of an equal step before
            for entry in entries:
                self._store.put(folder / entry.path, f"{self._prefix}/{folder.name}/{entry.path}")
            self._put_list(entries, folder.name)
            self._prune()
        except StoreError as error:
            self._say(
                f"{folder.name} could not be copied to the store ({error}); the training goes on, "
                "but on a lost pod's successor from an older checkpoint"
            )

    def _put_list(self, entries: tuple[FileEntry, ...], checkpoint: str) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / LIST
            path.write_text(json.dumps([asdict(entry) for entry in entries]), encoding="utf-8")
            self._store.put(path, f"{self._prefix}/{checkpoint}/{LIST}")

    def _prune(self) -> None:
        """Delete all but the newest whole ones, their lists first, so that none is half there."""
        kept = {f"checkpoint-{step}" for step in self._whole()[-self._kept :]}
        old = [
            n for n in self._names() if n.removeprefix(f"{self._prefix}/").split("/")[0] not in kept
        ]
        for name in sorted(old, key=lambda name: not name.endswith(f"/{LIST}")):
            self._store.drop(name)

    def _names(self) -> tuple[str, ...]:
        return self._store.names(self._prefix)

    def _whole(self) -> list[int]:
        """Steps of the checkpoints that are there to their end, the newest last."""
        lists = [name.split("/") for name in self._names() if name.endswith(f"/{LIST}")]
        return sorted(_step(parts[2]) for parts in lists if len(parts) == 4)

    def _fetch(self, step: int, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"checkpoint-{step}"
        draft = folder / f".restored-{uuid.uuid4().hex}"
        try:
            for entry in self._listed(target.name, folder):
                path = draft / entry.path
                path.parent.mkdir(parents=True, exist_ok=True)
                self._store.get(f"{self._prefix}/{target.name}/{entry.path}", path)
                if sha256_of_file(path) != entry.sha256:
                    raise StoreError(f"{entry.path} is damaged: its sha256 is not that of its list")
            shutil.rmtree(target, ignore_errors=True)  # one that was cut off by a kill
            draft.rename(target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        self._say(f"going on from {target.name} of the store")
        return target

    def _listed(self, checkpoint: str, scratch: Path) -> list[FileEntry]:
        path = scratch / f".list-{uuid.uuid4().hex}"
        try:
            self._store.get(f"{self._prefix}/{checkpoint}/{LIST}", path)
            return _ENTRIES.validate_json(path.read_bytes())
        except ValueError as error:
            raise StoreError(f"{LIST} is damaged: {error}") from error
        finally:
            path.unlink(missing_ok=True)


def _step(checkpoint: str) -> int:
    return int(checkpoint.rpartition("-")[2])
