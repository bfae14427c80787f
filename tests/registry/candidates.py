"""Models that are up for registration: what the stages before `register` leave in the store.

Everything follows from a candidate's number and scores, so that a second making, by whichever
process and after whatever crash, gives the same artifacts.
"""

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from chainsight import records, scoring
from chainsight.config import EvaluateSection, PrepareSection
from chainsight.config.stages import Source
from chainsight.records import Example, Prediction, Score
from chainsight.store import Store
from chainsight.vlm import mlmodel
from chainsight.vlm.files import BUILTIN, MLMODEL, SEAL

NUM_QUESTIONS = 120
QUESTIONS = [
    Example(
        f"bars/test/{i}", "bars", "test", f"How high is bar {i}?", (str(i),), "exact_match", (b"",)
    )
    for i in range(NUM_QUESTIONS)
]

CONFIGS: dict[str, dict[str, Any]] = {
    "prepare": PrepareSection(
        examples=(Source(dataset="bars"),),
        benchmarks=(Source(dataset="bars", split="test"),),
    ).model_dump(mode="json"),
    "evaluate": EvaluateSection(modes=("cot",)).model_dump(mode="json"),
}


def right(count: int) -> list[float]:
    """Scores of a model that answers the first `count` questions right."""
    return [1.0] * count + [0.0] * (NUM_QUESTIONS - count)


def make(
    store: Store,
    work: Path,
    number: int,
    scores: Sequence[float],
    *,
    small: bool = False,
    num_tokens: int = 12,
) -> dict[str, str]:
    """Commit candidate `number` and its evaluation; the inputs of `register`.

    `small`: a checkpoint of a few bytes, whole and sealed, but no model. Another length of the
    answers, `num_tokens`, makes another evaluation of the same checkpoint.
    """
    work.mkdir(parents=True, exist_ok=True)
    at: dict[str, Any] = {"store": store, "work": work}
    examples = _commit("examples", "prepare", {"x": b"examples"}, **at)
    policy = _commit("policy", "sft", {"x": b"%d" % number}, examples=examples, **at)
    files = _small(number) if small else _changed_tiny(number)
    aligned = _commit("aligned", "dpo", files, examples=examples, policy=policy, **at)
    asked = zip(QUESTIONS, scores, strict=True)
    rows = [_prediction(example, score, num_tokens) for example, score in asked]
    records.write(work / "p.parquet", rows, Prediction)
    made = scoring.aggregate(rows, {example.id: example for example in QUESTIONS})
    records.write(work / "s.parquet", made, Score)
    summary = scoring.summarize(
        made, scoring.benchmark_fingerprint(QUESTIONS, EvaluateSection(modes=("cot",)), "paper")
    )
    evaluation = {
        "predictions": {"predictions.parquet": (work / "p.parquet").read_bytes()},
        "scores": {
            "scores.parquet": (work / "s.parquet").read_bytes(),
            "summary.json": json.dumps({**summary, "digests": {}}).encode(),
        },
    }
    return {"aligned": aligned} | {
        kind: _commit(kind, "evaluate", files, aligned=aligned, policy=policy, **at)
        for kind, files in evaluation.items()
    }


def digest(store: Store, inputs: Mapping[str, str]) -> str:
    """The content digest by which a version is known."""
    return store.load(inputs["aligned"]).content_digest


def _prediction(example: Example, score: float, num_tokens: int) -> Prediction:
    value = example.references[0] if score == 1.0 else "?"
    return Prediction(
        model="aligned",
        example_id=example.id,
        mode="cot",
        prompt=example.question,
        text=f"I look.\n\n### Answer: {value}",
        answer=value,
        status="marker",
        score=score,
        num_tokens=num_tokens,
    )


def _commit(
    kind: str,
    stage: str,
    files: Mapping[str, bytes],
    *,
    store: Store,
    work: Path,
    **inputs: str,
) -> str:
    key = hashlib.sha256(b"\0".join([kind.encode(), *files.values()])).hexdigest()
    folder = work / f"{kind}-{key[:16]}"
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    store.commit(
        folder,
        kind=kind,
        key=key,
        stage=stage,
        code_version="test",
        config={"config": CONFIGS.get(stage, {})},
        inputs=inputs,
        input_digests={name: store.load(uri).content_digest for name, uri in inputs.items()},
        metrics={},
        seconds=1.0,
    )
    return store.artifact_uri(kind, key)


def _changed_tiny(number: int) -> dict[str, bytes]:
    """The tiny base model with the last bits of three weights set anew."""
    files = {path.name: path.read_bytes() for path in BUILTIN.iterdir() if path.suffix != ".md"}
    weights = bytearray(files["model.safetensors"])
    (header,) = struct.unpack_from("<Q", weights)
    for place in range(3):  # bfloat16, little endian: seven bits of mantissa in the first byte
        byte = 8 + header + 2 * place
        weights[byte] = (weights[byte] & 0x80) | (number >> (7 * place) & 0x7F)
    return _sealed(files | {"model.safetensors": bytes(weights)})


def _small(number: int) -> dict[str, bytes]:
    """A checkpoint of one weight: enough to be verified, too little to answer."""
    tensor = {"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    header = json.dumps(tensor).encode()
    header += b" " * (-len(header) % 8)
    weights = struct.pack("<Q", len(header)) + header + struct.pack("<f", float(number))
    files = {path.name: path.read_bytes() for path in BUILTIN.glob("*.json")}
    return _sealed(files | {"model.safetensors": weights})


def _sealed(files: dict[str, bytes]) -> dict[str, bytes]:
    with TemporaryDirectory() as folder:
        mlmodel.write(Path(folder), dtype="float32")
        files = files | {MLMODEL: (Path(folder) / MLMODEL).read_bytes()}
    seal = json.loads((BUILTIN / SEAL).read_text())
    found = {name: data for name, data in files.items() if name != SEAL}
    seal["files"] = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        for name, data in sorted(found.items())
    }
    return found | {SEAL: json.dumps(seal, indent=1, sort_keys=True).encode()}
