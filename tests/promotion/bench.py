"""A production model to promote in: a real MLflow registry in SQLite, a real local store."""

import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from chainsight import records
from chainsight.gate import Decision
from chainsight.promotion import Entry, Place
from chainsight.records import Prediction
from chainsight.store import LocalStore, Store
from chainsight.tracking import (
    ALIGNED_URI,
    CHAMPION,
    CONTENT_DIGEST,
    DECISION,
    FINGERPRINT,
    GATE,
    PREDICTIONS_URI,
    PREVIOUS,
    Registry,
    Version,
)


class KilledError(Exception):
    """A writer was stopped here. No ChainsightError: nobody may swallow it."""


def kill_at(step: str, times: int = 1) -> Callable[[str], None]:
    """A `Place.step` that kills the writer the first `times` times that it comes to `step`."""
    left = [times]

    def stop(at: str) -> None:
        if at == step and left[0]:
            left[0] -= 1
            raise KilledError(step)

    return stop


@dataclass
class Gate:
    """A `Place.step` that holds a writer at `step` until it is let go."""

    at: str
    reached: threading.Event = field(default_factory=threading.Event)
    open: threading.Event = field(default_factory=threading.Event)

    def __call__(self, step: str) -> None:
        if step == self.at and not self.reached.is_set():
            self.reached.set()
            assert self.open.wait(30)


def judge(candidate: Version, champion: Version | None) -> Decision:
    """The higher score in the tags wins."""
    mine = float(candidate.tags["score"])
    theirs = None if champion is None else float(champion.tags["score"])
    passed = theirs is None or mine > theirs
    word = "passed" if passed else "refused"
    reason = f"{word}: {mine} against {theirs}"
    return Decision(passed=passed, reason=reason, candidate_value=mine, champion_value=theirs)


class Bench:
    """Makes versions, places and moves aliases as a person does."""

    def __init__(self, root: Path, registry: Registry, model: str) -> None:
        self.root, self.registry, self.model = root, registry, model
        self.store: Store = LocalStore(root / "store")
        self.now = 0.0
        self._made = 0

    def version(
        self,
        score: float,
        *,
        gate: str | None = "passed",
        name: str | None = None,
        content: bytes | None = None,
        **tags: str,
    ) -> Version:
        """Register a version with files of its own, as the stage register does."""
        uri = self.commit("aligned", "dpo", {"model.safetensors": content or b"w" * 1000})
        manifest = self.store.load(uri)
        decision = {"passed": gate == "passed", "reason": f"{gate}: {score}"}
        known = {
            ALIGNED_URI: uri,
            CONTENT_DIGEST: manifest.content_digest,
            DECISION: json.dumps({"gate": {}, "decision": decision}),
            FINGERPRINT: "f",
            "score": repr(score),
        }
        source = f"{uri}/{manifest.attempt}"
        return self.registry.create(
            name or self.model,
            source if "://" in source else f"file://{source}",
            run_id=None,
            tags=known | ({GATE: gate} if gate else {}) | tags,
            description=f"scores {score}",
        )

    def commit(
        self, kind: str, stage: str, files: dict[str, bytes], config: object = None, **inputs: str
    ) -> str:
        """Commit an artifact of its own."""
        self._made += 1
        folder = self.root / f"make-{self._made}"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        (folder / "number").write_text(str(self._made))  # contents differ
        key = f"{self._made:064d}"
        self.store.commit(
            folder, kind=kind, key=key, stage=stage, code_version="test",
            config={"config": config or {}}, inputs=inputs, input_digests={}, metrics={},
            seconds=1.0,
        )  # fmt: skip
        return self.store.artifact_uri(kind, key)

    def answered(self, rows: Iterable[Prediction]) -> dict[str, str]:
        """The tag of a version with these answers."""
        file = self.root / "predictions.parquet"
        records.write(file, rows, Prediction)
        return {
            PREDICTIONS_URI: self.commit("predictions", "evaluate", {file.name: file.read_bytes()})
        }

    def place(
        self,
        step: Callable[[str], None] | None = None,
        *,
        settle_seconds: float = 0.0,
        candidates: str | None = None,
        store: Store | None = None,
        judge: Callable[[Version, Version | None], Decision] = judge,
    ) -> Place:
        """A place of its own, as another process would open it."""
        return Place(
            store=store or self.store,
            registry=self.registry,
            model=self.model,
            candidates=candidates or self.model,
            judge=judge,
            step=step or (lambda _: None),
            settle_seconds=settle_seconds,
        )

    def move(self, version: Version | int, alias: str = CHAMPION) -> None:
        """Move an alias as a person does in MLflow."""
        number = version if isinstance(version, int) else version.number
        self.registry.set_alias(Version(self.model, number, "", ""), alias)

    @property
    def champion(self) -> int | None:
        return self.registry.aliases(self.model).get(CHAMPION)

    @property
    def previous(self) -> int | None:
        return self.registry.aliases(self.model).get(PREVIOUS)

    def log(self) -> list[Entry]:
        """All entries; the chain must be whole."""
        entries, problems = self.place().log.audit()
        assert not problems
        return entries

    def actions(self) -> list[str]:
        return [entry.action for entry in self.log()]

    def open(self) -> tuple[int, ...]:
        return self.place().log.snapshot().open

    def damage(self, version: Version, how: str) -> Path:
        """Damage the weights of a version in the store."""
        manifest = self.store.load(version.tags[ALIGNED_URI])
        path = Path(version.tags[ALIGNED_URI]) / manifest.attempt / "model.safetensors"
        path.chmod(0o644)
        content = path.read_bytes()
        if how == "deleted":
            path.unlink()
        elif how == "truncated":
            path.write_bytes(content[:-1])
        else:
            path.write_bytes(b"x" + content[1:])
        return path
