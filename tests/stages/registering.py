"""What stands before `register`: a store, a registry, an aligned model and its evaluation."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from chainsight import records
from chainsight.config import GateSection, PrepareSection, RegisterSection
from chainsight.context import Context
from chainsight.records import Example, Prediction
from chainsight.scoring import aggregate, summarize
from chainsight.stages import register
from chainsight.store import Manifest, Store, held, open_store
from chainsight.tracking import Registry

GOOD, BETTER, EQUAL = (
    [1.0] * 10 + [0.0] * 10,
    [1.0] * 18 + [0.0] * 2,
    [0.0] + [1.0] * 10 + [0.0] * 9,
)
SOURCE = {"dataset": "bars", "limit": 20}
PREPARE = PrepareSection.model_validate(
    {"examples": [SOURCE], "benchmarks": [{**SOURCE, "split": "test"}]}
)
CONFIGS: dict[str, dict[str, Any]] = {
    "prepare": PREPARE.model_dump(mode="json"),
    "distill": {"teacher": "openai", "teacher_model": "gpt-4o-2024-05-13", "concurrency": 16},
    "sft": {"epochs": 2.0, "learning_rate": 5e-6},
}
METRICS = {
    "examples": {"num_examples": 20.0, "num_examples/bars": 20.0},
    "benchmarks": {"num_benchmark_examples/bars": 20.0},
    "rationales": {"num_kept": 17.0, "cost_usd": 1.25},
}


@dataclass
class World:
    """A store, a registry, and the artifacts before `register`."""

    root: Path
    uri: str
    model_name: str
    store: Store = field(init=False)

    def __post_init__(self) -> None:
        self.store = open_store(str(self.root / "a store"), self.root / "cache")

    def commit(self, kind: str, stage: str, files: Mapping[str, bytes], **inputs: str) -> str:
        """Commit an artifact; its key is derived from nothing but a count."""
        number = len(list(self.root.glob("make-*")))
        folder = self.root / f"make-{number}"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        model = {"base": "builtin:tiny", "revision": None, "digest": "b" * 64}
        manifest: Manifest = self.store.commit(
            folder,
            kind=kind,
            key=f"{number:064d}",
            stage=stage,
            code_version="test",
            config={"config": CONFIGS.get(stage, {}), "model": model},
            inputs=inputs,
            input_digests={},
            metrics=METRICS.get(kind, {}),
            seconds=1.0,
            image=f"team/{stage}@sha256:0",
        )
        return self.store.artifact_uri(kind, manifest.key)

    def candidate(
        self,
        weights: bytes,
        scores: list[float],
        *,
        fingerprint: str = "f",
        others: Mapping[str, tuple[str, list[float]]] | None = None,
    ) -> dict[str, str]:
        """An aligned model and its evaluation; `others`: name to (digest, scores)."""
        data = {"x": b"examples"}
        examples = self.commit("examples", "prepare", data)
        benchmarks = self.commit("benchmarks", "prepare", data)
        rationales = self.commit("rationales", "distill", data, examples=examples)
        taught = {"examples": examples, "rationales": rationales}
        policy = self.commit("policy", "sft", {"x": weights}, **taught)
        aligned = self.commit("aligned", "dpo", {"w": weights}, examples=examples, policy=policy)
        made = {"benchmarks": benchmarks, "aligned": aligned, "policy": policy}
        models = {"aligned": scores, **{name: one[1] for name, one in (others or {}).items()}}
        digests = {name: one[0] for name, one in (others or {}).items()}
        predictions, scored = self.evaluated(models, digests, fingerprint)
        return {
            "aligned": aligned,
            "predictions": self.commit("predictions", "evaluate", predictions, **made),
            "scores": self.commit("scores", "evaluate", scored, **made),
        }

    def evaluated(
        self, models: Mapping[str, Sequence[float]], digests: Mapping[str, str], fingerprint: str
    ) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """The files of `predictions` and `scores`: reasoned answers, all with the marker."""
        rows = [
            Prediction(model, f"toy/test/{i:03d}", "cot", "?", "", "", "marker", score, 1)
            for model, values in models.items()
            for i, score in enumerate(values)
        ]
        by_id = {
            row.example_id: Example(
                row.example_id, "toy", "test", "?", ("1",), "exact_match", (b"",)
            )
            for row in rows
        }
        file = self.root / "predictions.parquet"
        records.write(file, rows, Prediction)
        summary = summarize(aggregate(rows, by_id), fingerprint) | {"digests": dict(digests)}
        return {file.name: file.read_bytes()}, {"summary.json": json.dumps(summary).encode()}

    def context(self, inputs: Mapping[str, str], run_id: str | None = None) -> Context:
        return Context(
            work=self.root,
            ledger=self.root,
            tracking_uri=self.uri,
            run="demo",
            pipeline="chainsight-train",
            pipeline_run="run-7",
            run_id=run_id,
            inputs=inputs,
            fetch=self.store.fetch,
            manifest=self.store.load,
            claim=partial(held, self.store),
        )

    def register(
        self,
        inputs: Mapping[str, str],
        *,
        context: Context | None = None,
        gate: GateSection | None = None,
        folder: str | None = None,
        **settings: Any,
    ) -> dict[str, Any]:
        """Run the stage and give what it wrote."""
        number = len(list(self.root.glob("decision-*")))
        decision = self.root / (folder or f"decision-{number}")
        decision.mkdir()
        register.run(
            self.section(gate, **settings),
            **{kind: self.store.fetch(where) for kind, where in inputs.items()},
            decision=decision,
            context=context or self.context(inputs),
        )
        written: dict[str, Any] = json.loads((decision / "decision.json").read_text())
        return written

    def section(self, gate: GateSection | None = None, **settings: Any) -> RegisterSection:
        return RegisterSection(model_name=self.model_name, gate=gate or GateSection(), **settings)

    @property
    def registry(self) -> Registry:
        return Registry(self.uri)

    def aliases(self) -> dict[str, int]:
        return self.registry.aliases(self.model_name)
