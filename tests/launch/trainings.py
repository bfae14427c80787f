"""A store with the inputs of sft and dpo: bar charts, true rationales, right against wrong."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from chainsight import prompts, records, runner
from chainsight.config import PlatformSection, RunSection
from chainsight.datasets import DATASETS
from chainsight.demo import rationales
from chainsight.launch import ranks
from chainsight.records import Example, Pair, Rationale
from chainsight.runner import StageRun
from chainsight.store import open_store
from chainsight.vlm import files

SETTINGS: dict[str, Any] = {
    "batch_size": 8,
    "device_batch_size": 2,
    "learning_rate": 2e-4,
    "save_every_steps": 3,
}
OUTPUT = {"sft": "policy", "dpo": "aligned"}


class Place:
    """A home of its own, with artifacts as the stages before would have made them."""

    def __init__(self, home: Path, num_questions: int) -> None:
        self.home = home
        self.run = RunSection(home=str(home), tracking_uri="none")
        self.store = open_store(self.run.store_uri(), home / "cache")
        examples = list(DATASETS["bars"].load("train", limit=num_questions))
        texts = {
            rate: [
                rationales.write(prompts.teacher_prompt(e), e.images[0], rate, f"{rate}{i}")
                for i, e in enumerate(examples)
            ]
            for rate in (0.0, 1.0)
        }
        rows = zip(examples, texts[0.0], texts[1.0], strict=True)
        taught, pairs = [], []
        for example, right, wrong in rows:
            taught.append(Rationale(example.id, right, "", "marker", "t", 1, 1, 0.0))
            pairs.append(Pair(example.id, right, wrong, 0, 1))
        self.uris = {
            "examples": self._commit("examples", "prepare", examples, Example),
            "rationales": self._commit("rationales", "distill", taught, Rationale),
            "pairs": self._commit("pairs", "pair", pairs, Pair),
            "policy": self._commit("policy", "sft", None, None),
        }

    def _commit(self, kind: str, stage: str, rows: Any, record: Any) -> str:
        folder = self.home / "made" / kind
        folder.mkdir(parents=True)
        if rows is None:
            for path in (*files.model_files(files.BUILTIN), files.BUILTIN / files.SEAL):
                (folder / path.name).write_bytes(path.read_bytes())
        else:
            records.write(folder / f"{kind}.parquet", rows, record)
        about: dict[str, Any] = {"inputs": {}, "input_digests": {}, "metrics": {}, "config": {}}
        manifest = self.store.commit(
            folder, kind=kind, key="made", stage=stage, code_version="t", seconds=0.0, **about
        )
        return self.store.artifact_uri(kind, manifest.key)

    def job(self, stage: str, model: Any = None, **settings: Any) -> runner.Job:
        wanted = {"sft": ("examples", "rationales"), "dpo": ("examples", "pairs", "policy")}
        return runner.job(
            stage,
            SETTINGS | settings,
            run=self.run,
            model=model or {},
            inputs={kind: self.uris[kind] for kind in wanted[stage]},
        )

    def train(
        self, stage: str, processes: int = 1, parallel: Any = "fsdp", **settings: Any
    ) -> "Trained":
        platform = PlatformSection(processes=processes, parallel=parallel, retries=0)
        job = self.job(stage, **settings)
        return Trained(self, ranks.execute(job, platform))


class Trained:
    """What a training left behind."""

    def __init__(self, place: Place, done: StageRun) -> None:
        self.folder = place.store.fetch(done.outputs[OUTPUT[done.stage]])
        self.metrics = done.metrics
        lines = (self.folder / "history.jsonl").read_text().splitlines()
        self.curve: list[dict[str, float]] = [json.loads(line) for line in lines]

    def weights(self) -> dict[str, torch.Tensor]:
        return load_file(self.folder / "model.safetensors")


def largest_gap(one: Trained, other: Trained, name: str) -> float:
    """Of a curve, over all steps."""
    pairs = zip(one.curve, other.curve, strict=True)
    return max(abs(a[name] - b[name]) for a, b in pairs)


def largest_difference(one: Trained, other: Trained) -> float:
    """Of a weight."""
    a, b = one.weights(), other.weights()
    assert a.keys() == b.keys()
    return max((a[name] - b[name]).abs().max().item() for name in a)
