"""A small finished run, its artifacts written as the stages write them."""

import json
import random
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pytest

from chainsight import records
from chainsight.config import PairSection
from chainsight.demo import bars
from chainsight.records import (
    Candidate,
    Example,
    Pair,
    Prediction,
    Quarantined,
    Rationale,
    Score,
)
from chainsight.report import StageResult
from chainsight.scoring import aggregate, summarize
from chainsight.stages import STAGES
from chainsight.stages.pair import Tally, judge

NUM_EXAMPLES, NUM_TESTS, NUM_CANDIDATES = 24, 40, 8
ACCURACY = {"base": (0.3, 0.25), "policy": (0.45, 0.75), "aligned": (0.5, 0.8)}
METRICS: dict[str, dict[str, float]] = {
    "prepare": {"num_examples": NUM_EXAMPLES, "num_benchmark_examples": NUM_TESTS},
    "distill": {"num_kept": NUM_EXAMPLES - 2, "num_mismatch": 2, "cost_usd": 0.05 * NUM_EXAMPLES},
    "sft": {"num_direct": NUM_EXAMPLES, "num_cot": NUM_EXAMPLES - 3, "num_too_long": 1},
    "sample": {"num_questions": NUM_EXAMPLES, "num_candidates": NUM_EXAMPLES * NUM_CANDIDATES},
    "evaluate": {"num_predictions": NUM_TESTS * 6},
    "register": {"passed": 1.0},
}
SETTINGS = {"pair": {"min_accuracy": 0.25, "max_accuracy": 0.85}, "dpo": {"max_words": 6}}
SECONDS = dict(zip(STAGES, (2.1, 31.0, 241.5, 88.0, 0.4, 75.2, 52.9, 3.3), strict=True))


def _examples(split: str, count: int) -> list[Example]:
    charts = bars.charts(0, split)
    made = []
    for number, chart in zip(range(count), charts, strict=False):
        question = chart.questions[number % len(chart.questions)]
        made.append(
            Example(
                id=f"bars/{split}/{number}",
                dataset="bars",
                split=split,
                question=question.text,
                references=(question.answer,),
                metric="exact_match",
                images=(chart.image,),
            )
        )
    return made


def _rationales(examples: list[Example], folder: Path) -> None:
    rows = [
        Rationale(
            example_id=e.id,
            text=f"The bars read jan 3, feb 5. So it is that.\n\n### Answer: {e.references[0]}",
            answer=e.references[0],
            status="marker",
            teacher="scripted",
            prompt_tokens=300,
            completion_tokens=60,
            cost_usd=0.05,
            reason="mismatch" if number < 2 else "",
        )
        for number, e in enumerate(examples)
    ]
    records.write(folder / "rationales.parquet", (r for r in rows if not r.reason), Rationale)
    records.write(folder / "rejected.parquet", (r for r in rows if r.reason), Rationale)


def _candidates(examples: list[Example], folder: Path, rng: random.Random) -> list[Candidate]:
    rows = []
    for example in examples:
        ease = rng.random()
        for index in range(NUM_CANDIDATES):
            right = rng.random() < ease
            answer = example.references[0] if right else "no bar"
            text = f"The listing of try {index % 6} says so.\n\n### Answer: {answer}"
            rows.append(
                Candidate(example.id, index, text, answer, "marker", float(right), 12, -3.5)
            )
    records.write(folder / "candidates.parquet", rows, Candidate)
    return rows


def _pairs(candidates: list[Candidate], folder: Path) -> dict[str, float]:
    tally = Tally(PairSection())
    pairs = []
    for _, question in groupby(candidates, key=lambda row: row.example_id):
        pairs += tally.add(judge(list(question), tally.config, None, 0)).pairs
    records.write(folder / "pairs.parquet", pairs, Pair)
    return tally.metrics()


def _predictions(tests: list[Example], rng: random.Random) -> list[Prediction]:
    rows = []
    for model, rates in ACCURACY.items():
        for mode, rate in zip(("direct", "cot"), rates, strict=True):
            for example in tests:
                right = rng.random() < rate
                answer = example.references[0] if right else "9"
                text = answer if mode == "direct" else f"jan 3, feb 5.\n\n### Answer: {answer}"
                status = "plain" if mode == "direct" else "marker"
                if (model, mode) == ("base", "cot") and not right:
                    text, answer, status = "jan feb mar", "", "no_marker"
                rows.append(
                    Prediction(model, example.id, mode, "?", text, answer, status, float(right), 9)
                )
    return rows


def _history(folder: Path, *, rewards: bool) -> None:
    lines = []
    for step in range(5, 205, 5):
        entry = {"step": step, "loss": 2.5 * 0.98**step + 0.2}
        if rewards:
            entry |= {
                "loss": 0.69 * 0.997**step,
                "rewards/chosen": 0.001 * step,
                "rewards/rejected": -0.004 * step,
                "rewards/margins": 0.005 * step,
                "rewards/accuracies": 0.5 + step / 500,
            }
        lines.append(json.dumps(entry))
    (folder / "history.jsonl").write_text("\n".join(lines) + "\n")


def make_run(root: Path) -> dict[str, StageResult]:
    """Write every artifact of a run below `root`."""
    rng = random.Random(3)
    folders = {kind: root / kind for stage in STAGES.values() for kind in stage.outputs}
    for folder in folders.values():
        folder.mkdir(parents=True)
    examples, tests = _examples("train", NUM_EXAMPLES), _examples("test", NUM_TESTS)
    records.write(folders["examples"] / "examples.parquet", examples, Example)
    bad = [
        Quarantined(f"bars/{n}", "bars", "train", n, "the image does not decode") for n in (7, 9)
    ]
    records.write(folders["examples"] / "quarantine.parquet", bad, Quarantined)
    records.write(folders["benchmarks"] / "benchmarks.parquet", tests, Example)
    _rationales(examples, folders["rationales"])
    candidates = _candidates(examples, folders["candidates"], rng)
    paired = _pairs(candidates, folders["pairs"])
    metrics = METRICS | {"pair": paired, "dpo": {"num_pairs": paired["num_pairs"]}}
    _history(folders["policy"], rewards=False)
    _history(folders["aligned"], rewards=True)
    predictions = _predictions(tests, rng)
    records.write(folders["predictions"] / "predictions.parquet", predictions, Prediction)
    scores = aggregate(predictions, {e.id: e for e in tests})
    records.write(folders["scores"] / "scores.parquet", scores, Score)
    (folders["scores"] / "summary.json").write_text(json.dumps(summarize(scores, "f" * 64)))
    decision = {
        "name": "chainsight",
        "version": 1,
        "aliases": ["challenger", "champion"],
        "passed": True,
        "reason": "passed: no champion yet; cot 80.00 % on 40 questions",
    }
    (folders["decision"] / "decision.json").write_text(json.dumps(decision))
    return {
        name: StageResult(
            name=name,
            metrics=metrics[name],
            seconds=SECONDS[name],
            reused=name == "prepare",
            folders={kind: folders[kind] for kind in stage.outputs},
            config=SETTINGS.get(name, {}),
            model={"base": "builtin:tiny"},
        )
        for name, stage in STAGES.items()
    }


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, StageResult]:
    """All eight stages; read only."""
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def rerun(tmp_path: Path) -> Callable[[], dict[str, StageResult]]:
    """Makes a run whose files a test may change."""
    return lambda: make_run(tmp_path / "run")
