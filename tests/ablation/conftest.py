"""Ablations whose stages are done in this process, at once: what is tested is what surrounds them.

A fake stage writes what its real one would in kind; its content follows from its inputs' content
and from its settings and seed, as far as the real one's does.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from chainsight import records
from chainsight.ablation.execute import State, execute, survey
from chainsight.ablation.plan import Node, plan
from chainsight.ablation.work import Order
from chainsight.config.ablate import load_ablation
from chainsight.job import Job, describe, job
from chainsight.records import Example, Prediction, Score, Verified
from chainsight.runner import StageRun
from chainsight.scoring import aggregate, summarize

DATASETS = A, B = "bars_lookups", "bars_computations"
QUESTIONS = tuple(f"{name}/test/{number}" for name in DATASETS for number in range(20))
SAMPLES = 4
RUN = {
    "run": {"name": "small", "tracking_uri": "none"},
    "prepare": {
        "examples": [{"dataset": "bars", "limit": 4}],
        "benchmarks": [{"dataset": name, "split": "test", "limit": 2} for name in DATASETS],
    },
    "distill": {"teacher": "scripted", "teacher_model": "scripted"},
    "verify": {"num_candidates": SAMPLES},
}
SETTINGS: dict[str, Any] = {
    "format": {"recipe": "sft", "set": {"sft.composition": "format"}},
    "both": {"recipe": "sft"},
    "DPO": {"recipe": "dpo"},
    "no cut": {"recipe": "dpo", "set": {"dpo.max_words": 0}},
}

VERIFIED = SETTINGS | {"DPO": {"recipe": "dpo", "verify": True}}
CLAIMS: list[dict[str, Any]] = [
    {"name": "both", "better": "both", "than": "format"},
    {"name": "b alone", "better": "DPO", "than": "both", "dataset": B, "relation": "not_below"},
    {
        "name": "reasons",
        "better": {"setting": "DPO", "mode": "cot"},
        "than": {"setting": "DPO", "mode": "direct"},
    },
    {
        "name": "votes",
        "better": {"setting": "DPO", "method": "best", "n": 4},
        "than": {"setting": "DPO", "method": "majority", "n": 4},
        "relation": "far_above",
    },
]


def chance(*parts: object) -> float:
    """A number from 0 to 1 that follows from `parts`."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


def content(work: Job) -> str:
    """What a fake stage writes: equal for equal inputs, settings and (where it draws) seeds."""
    identity = {k: work.identity[k] for k in ("stage", "config", "inputs", "shared")}
    if work.stage.name == "prepare":  # neither by the seed nor by what it only checks
        identity = {"examples": identity["config"]["examples"]}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def prediction(key: str, mode: str, model: str) -> Prediction:
    score = float(chance(model, key, mode) < 0.6)
    return Prediction(
        model="model", example_id=key, mode=mode, prompt="", text="", answer="", status="marker",
        score=score, num_tokens=1, lenient=score,
    )  # fmt: skip


def predict(folders: dict[str, Path], model: str) -> None:
    """Predictions and scores of two datasets in both modes."""
    rows = [prediction(key, mode, model) for mode in ("direct", "cot") for key in QUESTIONS]
    examples = {
        key: Example(key, key.split("/")[0], "test", "?", ("4",), "exact_match")
        for key in QUESTIONS
    }
    scores = aggregate(rows, examples)
    records.write(folders["predictions"] / "predictions.parquet", rows, Prediction)
    records.write(folders["scores"] / "scores.parquet", scores, Score)
    summary = json.dumps(summarize(scores, "f" * 64))
    (folders["scores"] / "summary.json").write_text(summary)


def verified(key: str, index: int, model: str) -> Verified:
    score = float(chance(model, key, index) < 0.5)
    vote, reward = ("right" if score else f"wrong {index % 2}"), score + chance(key, index)
    return replace(BLANK, example_id=key, index=index, score=score, vote=vote,
                   logprob_aligned=reward)  # fmt: skip


BLANK = Verified(
    example_id="", index=-1, text="", answer="", status="marker", score=0.0, num_tokens=1,
    logprob_policy=0.0, logprob_aligned=0.0, pieces=("x",), rewards=(0.0,),
)  # fmt: skip


@dataclass
class Done:
    """A worker that is done as soon as it is asked whether it is."""

    why: str | None
    work: Callable[[], None]
    crashed: bool = False
    stopped: bool = False

    def __post_init__(self) -> None:
        self.sentinel, writer = os.pipe()
        os.close(writer)  # ready from the start

    def has_ended(self) -> bool:
        self.work()
        return True

    def failure(self) -> str | None:
        os.close(self.sentinel)
        return self.why

    def stop(self) -> None:
        self.stopped = True


@dataclass
class Fakes:
    """Starts fake stages; counts them, fails and crashes those that it shall."""

    fails: Callable[[Order], bool] = lambda _: False
    crashes: Callable[[Order], bool] = lambda _: False
    orders: list[Order] = field(default_factory=list)

    def __call__(self, order: Order, place: Path) -> Done:
        self.orders.append(order)
        place.with_suffix(".events").write_text("")
        if self.fails(order):
            return Done(f"{order.stage}: it shall fail", lambda: None)
        if self.crashes(order):
            return Done("killed by SIGSEGV", lambda: None, crashed=True)
        work = job(order.stage, order.config, run=order.run, model=order.model, inputs=order.inputs)
        return Done(None, partial(self._commit, work, place))

    def _commit(self, work: Job, place: Path) -> None:
        own = content(work)
        folders = {kind: place / own / kind for kind in work.stage.outputs}
        for kind, folder in folders.items():
            folder.mkdir(parents=True)
            (folder / "content.txt").write_text(f"{kind} {own}")
        if work.stage.name == "score":
            predict(folders, work.inputs["policy"].content_digest)
        if work.stage.name == "verify":
            model = work.inputs["aligned"].content_digest
            rows = [verified(key, i, model) for key in QUESTIONS for i in range(-1, SAMPLES)]
            records.write(folders["verified"] / "verified.parquet", rows, Verified)
        for kind, folder in folders.items():
            about = describe(work) | {"seconds": 2.0, "metrics": {"num_steps": 3.0}}
            work.store.commit(folder, kind=kind, key=work.key, **about)

    def counts(self) -> Counter[str]:
        """How often each stage was started."""
        return Counter(order.stage for order in self.orders)


@dataclass
class Watching:
    """A view that remembers."""

    was_reused: list[str] = field(default_factory=list)
    was_finished: list[str] = field(default_factory=list)
    why_failed: dict[str, str] = field(default_factory=dict)
    why_crashed: dict[str, str] = field(default_factory=dict)
    most: int = 0
    _running: int = 0

    def reused(self, node: Node, run: StageRun) -> None:
        self.was_reused.append(node.id)

    def started(self, node: Node, events: Path) -> None:
        self._running += 1
        self.most = max(self.most, self._running)

    def finished(self, node: Node, run: StageRun) -> None:
        self._running -= 1
        self.was_finished.append(node.id)

    def crashed(self, node: Node, why: str) -> None:
        self._running -= 1
        self.why_crashed[node.id] = why

    def failed(self, node: Node, why: str) -> None:
        self._running -= 1
        self.why_failed[node.id] = why

    def tick(self) -> None:
        return None


@dataclass
class Bench:
    """A folder with a run and an ablation of it."""

    folder: Path

    def write(self, settings: dict[str, Any] | None = None, **more: Any) -> Path:
        """Write both files; the ablation's fields may be given."""
        run = RUN | {"run": {**RUN["run"], "home": str(self.folder / "home")}}  # type: ignore[dict-item]
        (self.folder / "run.yaml").write_text(yaml.safe_dump(run))
        ablation = {"name": "small", "run": "run.yaml", "seeds": [0, 1]} | more
        ablation["settings"] = SETTINGS if settings is None else settings
        path = self.folder / "ablation.yaml"
        path.write_text(yaml.safe_dump(ablation, sort_keys=False))
        return path

    def state(self, settings: dict[str, Any] | None = None, **more: Any) -> State:
        return survey(plan(*load_ablation(self.write(settings, **more))))

    def done(
        self, settings: dict[str, Any] | None = None, fakes: Fakes | None = None, **more: Any
    ) -> State:
        """An ablation as far as its fakes let it come."""
        state = self.state(settings, **more)
        execute(state, 2, fakes or Fakes(), Watching())
        return state


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    """A whole ablation with claims, for reading: to commit its artifacts takes a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHAINSIGHT_CODE_VERSION", "test")
        yield Bench(tmp_path_factory.mktemp("finished")).done(VERIFIED, claims=CLAIMS)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("CHAINSIGHT_CODE_VERSION", "test")
    return Bench(tmp_path)
