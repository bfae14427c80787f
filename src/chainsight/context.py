"""What a stage gets from the runner beside its configuration and its folders."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NoReturn, Protocol

from chainsight.config import ModelSection
from chainsight.errors import StoreError
from chainsight.store.manifest import Manifest


class Task(Protocol):
    """One piece of long work under way."""

    def advance(self, count: int = 1) -> None:
        """Count `count` more units as done."""
        ...

    def note(self, text: str) -> None:
        """Say something short about it, in place of what was said before."""
        ...


class Progress(Protocol):
    """Where long work reports how far it is (`chainsight.progress` draws it)."""

    @contextmanager
    def task(self, title: str, total: int, unit: str, done: int = 0) -> Iterator[Task]:
        """Open a piece of work of `total` units, of which a resumed one has `done` behind it."""
        ...


class Metrics(Protocol):
    """Where a stage sends curves while it works (`chainsight.tracking` keeps them)."""

    def log(self, values: Mapping[str, float], step: int) -> None: ...


class _SilentTask:
    def advance(self, count: int = 1) -> None:
        return None

    def note(self, text: str) -> None:
        return None


class Silent:
    """A Progress and Metrics that says nothing: the default in tests."""

    @contextmanager
    def task(self, title: str, total: int, unit: str, done: int = 0) -> Iterator[Task]:
        yield _SilentTask()

    def log(self, values: Mapping[str, float], step: int) -> None:
        return None


@dataclass(frozen=True)
class Shard:
    """One of `count` pods that share a stage's blocks; `number` counts from 0."""

    number: int
    count: int

    def has(self, index: int) -> bool:
        """Whether the block or row `index` (from 0) is this shard's."""
        return index % self.count == self.number


WHOLE = Shard(0, 1)


class Shelf(Protocol):
    """Where work in progress lies that outlives a pod: a store, seen without its artifacts.

    Names are paths below the store; what they hold is no artifact.
    """

    def put(self, path: Path, name: str) -> None:
        """Keep a file as `name`, in place of what is there."""
        ...

    def get(self, name: str, path: Path) -> None:
        """Copy what `put` has kept to `path`; StoreError when there is nothing of that name."""
        ...

    def create(self, name: str, data: bytes) -> bool:
        """Keep `data` as `name` unless the name is taken; whether it was free."""
        ...

    def read(self, name: str) -> bytes | None:
        """What `create` or `put` has kept, or None."""
        ...

    def names(self, prefix: str) -> tuple[str, ...]:
        """Names below `prefix`, sorted."""
        ...

    def drop(self, name: str) -> None:
        """Delete what is kept as `name`, if it is there."""
        ...


def _no_store(uri: str) -> NoReturn:
    raise StoreError(f"{uri}: this stage was called without a store")


def _alone(name: str) -> AbstractContextManager[None]:  # noqa: ARG001
    """Nobody else is there: a stage called without a store."""
    return nullcontext()


def _keep_here(folder: Path) -> None:
    """Checkpoints stay where they were written."""


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Context:
    """What surrounds one execution of a stage."""

    work: Path
    """Folder that survives a kill, private to this stage key: checkpoints, partial results."""
    ledger: Path
    """Folder that survives a kill and is shared by all runs of this workplace: paid answers."""
    seed: int = 0
    model: ModelSection = field(default_factory=ModelSection)
    tracking_uri: str | None = None
    """MLflow's address; none: no tracking."""
    run: str = ""
    """Name of the run (`run.name`)."""
    pipeline: str = ""
    """Name of the compiled pipeline that the stage is a task of; "" outside of one."""
    pipeline_run: str = ""
    """Id of the pipeline run, where there is one."""
    run_id: str | None = None
    """MLflow run of this stage; none: not tracked."""
    sources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """What is read outside the store, where the stage names it: its `fingerprint`."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Store URI of each input artifact, by kind: lineage, and what a registry refers to."""
    fetch: Callable[[str], Path] = _no_store
    """Give the verified local folder of another artifact's store URI."""
    manifest: Callable[[str], Manifest] = _no_store
    """Give the manifest at an artifact's store URI: digests, inputs, where the files lie."""
    claim: Callable[[str], AbstractContextManager[None]] = _alone
    """Hold a name, which one process at a time can: a lease in the store."""
    shelf: Shelf | None = None
    """Where the paid ledger and the intents of batches are kept beside this disk; none: nowhere."""
    saved: Callable[[Path], None] = _keep_here
    """Told of each checkpoint folder that is complete; copies it where a lost pod can't take it."""
    shard: Shard = WHOLE
    """The part of the work that is to be done here."""
    parallel: Literal["fsdp", "ddp"] = "ddp"
    """How several processes share a training: weights cut up, or a copy in each."""
    stopping: Callable[[], bool] = _never
    """Whether the work shall stop at the next good place, as its machine is taken away."""
    progress: Progress = field(default_factory=Silent)
    metrics: Metrics = field(default_factory=Silent)
