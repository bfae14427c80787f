"""Small stores with two evaluations, written as the stages write them."""

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from chainsight import records
from chainsight.records import Example, Prediction, Score
from chainsight.scoring import aggregate, summarize
from chainsight.store import LocalStore, Manifest


def png(colour: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (colour, 0, 0)).save(out, "PNG")
    return out.getvalue()


def questions(count: int, dataset: str = "bars") -> list[Example]:
    return [
        Example(
            f"{dataset}/test/{n}", dataset, "test", f"How high is bar {n}?", (str(n),),
            "exact_match", images=(png(n),),
        )
        for n in range(count)
    ]  # fmt: skip


def answers(
    asked: Iterable[Example], wrong: Iterable[int] = (), model: str = "aligned", **fields: Any
) -> list[Prediction]:
    """Right answers in both modes, but for the questions whose places are `wrong`, reasoned."""
    rows = []
    for mode in records.MODES:
        for at, example in enumerate(asked):
            right = mode == "direct" or at not in set(wrong)
            answer = example.references[0] if right else "no"
            text = answer if mode == "direct" else f"It is so.\n\n### Answer: {answer}"
            status = "plain" if mode == "direct" else "marker"
            row = Prediction(model, example.id, mode, f"<image> {example.question}", text, answer,
                             status, float(right), len(text))  # fmt: skip
            rows.append(replace(row, **fields) if mode == "cot" else row)
    return rows


@dataclass
class Shelf:
    """A local store that evaluations are put into."""

    store: LocalStore

    def put(self, kind: str, key: str, folder: Path, **about: Any) -> Manifest:
        known: dict[str, Any] = {
            "config": {}, "inputs": {}, "input_digests": {}, "metrics": {}, "seconds": 1.0,
        }  # fmt: skip
        return self.store.commit(folder, kind=kind, key=key, code_version="1", **known | about)

    def evaluation(
        self,
        key: str,
        asked: list[Example],
        rows: list[Prediction],
        fingerprint: str = "f" * 64,
        beta: float = 0.1,
        evaluate: Mapping[str, Any] | None = None,
    ) -> str:
        """Commit everything behind one evaluation; gives the URI of its predictions."""
        root = Path(self.store.uri).parent / key
        records.write(root / "benchmarks/benchmarks.parquet", asked, Example)
        self.put("benchmarks", key, root / "benchmarks", stage="prepare")
        (root / "aligned").mkdir(parents=True)
        (root / "aligned/model").write_text(key)
        self.put("aligned", key, root / "aligned", stage="dpo", config={"config": {"beta": beta}},
                 seconds=20.0, metrics={"cost_usd": 0.5})  # fmt: skip
        inputs = {k: self.store.artifact_uri(k, key) for k in ("benchmarks", "aligned")}
        about = {"stage": "evaluate", "inputs": inputs, "config": {"config": dict(evaluate or {})}}
        records.write(root / "predictions/predictions.parquet", rows, Prediction)
        self.put("predictions", key, root / "predictions", **about)
        scores = aggregate(rows, {example.id: example for example in asked})
        records.write(root / "scores/scores.parquet", scores, Score)
        summary = json.dumps(summarize(scores, fingerprint))
        (root / "scores/summary.json").write_text(summary)
        self.put("scores", key, root / "scores", **about)
        return self.store.artifact_uri("predictions", key)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(LocalStore(tmp_path / "store"))
