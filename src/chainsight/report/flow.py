"""How many rows entered each stage, how many left it, and why the others did not."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from chainsight.metrics import is_right
from chainsight.quality.reasons import REASONS

MAX_REASONS = 8
"""Different reasons named per stage; the rarer ones are added up."""


@dataclass(frozen=True)
class Flow:
    """What became of the rows of one stage: `entered` = `left` + the sum of `lost`."""

    stage: str
    what: str
    """What entered, such as `questions`."""
    became: str
    """What left, such as `rationales`."""
    entered: int
    left: int
    lost: tuple[tuple[str, int], ...]
    """Reason and number, most frequent first."""


def flows(
    metrics: Mapping[str, Mapping[str, float]], folders: Mapping[str, Path]
) -> tuple[Flow, ...]:
    """One or two flows a finished stage; `metrics` are the stages' own counts."""
    makers = (_prepare, _distill, _sft, _sample, _pair, _dpo, _evaluate)
    return tuple(
        flow
        for maker in makers
        if maker.__name__[1:] in metrics
        for flow in maker(metrics[maker.__name__[1:]], folders)
    )


def _flow(stage: str, what: str, became: str, left: int, lost: Mapping[str, int]) -> Flow:
    ranked = sorted(((r, n) for r, n in lost.items() if n), key=lambda item: (-item[1], item[0]))
    named, rest = ranked[:MAX_REASONS], sum(count for _, count in ranked[MAX_REASONS:])
    reasons = (*named, ("other reasons", rest)) if rest else tuple(named)
    return Flow(stage, what, became, left + sum(lost.values()), left, reasons)


def _column(folder: Path, name: str, column: str) -> list[str]:
    path = folder / name
    if not path.is_file():
        return []
    values: list[str] = pq.read_table(path, columns=[column])[column].to_pylist()
    return values


def _count(metrics: Mapping[str, float], name: str) -> int:
    return int(metrics.get(name, 0))


def _prepare(metrics: Mapping[str, float], folders: Mapping[str, Path]) -> Iterator[Flow]:
    left = _count(metrics, "num_examples") + _count(metrics, "num_benchmark_examples")
    lost = Counter(_column(folders["examples"], "quarantine.parquet", "reason"))
    yield _flow("prepare", "source rows", "examples and benchmark questions", left, lost)


def _distill(metrics: Mapping[str, float], _: Mapping[str, Path]) -> Iterator[Flow]:
    lost = {reason.replace("_", " "): _count(metrics, f"num_{reason}") for reason in REASONS}
    yield _flow("distill", "examples", "kept rationales", _count(metrics, "num_kept"), lost)


def _sft(metrics: Mapping[str, float], _: Mapping[str, Path]) -> Iterator[Flow]:
    left = sum(_count(metrics, f"num_{sort}") for sort in ("direct", "cot", "instruct"))
    lost = {"longer than sft.max_length": _count(metrics, "num_too_long")}
    yield _flow("sft", "direct and reasoned targets", "targets learned", left, lost)


def _sample(_: Mapping[str, float], folders: Mapping[str, Path]) -> Iterator[Flow]:
    asked = set(_column(folders["candidates"], "candidates.parquet", "example_id"))
    if "examples" in folders:
        known = _column(folders["examples"], "examples.parquet", "id")
        lost = {"not chosen (sample.limit, sample.datasets)": len(known) - len(asked)}
        yield _flow("sample", "examples", "questions sampled", len(asked), lost)
    table = pq.read_table(
        folders["candidates"] / "candidates.parquet", columns=["status", "score"]
    ).to_pylist()
    verdicts = Counter(_verdict(row["status"], row["score"]) for row in table)
    right = verdicts.pop("right", 0)
    yield _flow("sample", "candidates", "right candidates", right, verdicts)


def _verdict(status: str, score: float) -> str:
    if is_right(score):
        return "right"
    return {
        "truncated": "cut at the token limit",
        "empty": "no answer",
        "no_marker": "no answer",
    }.get(status, "wrong answer")


def _pair(metrics: Mapping[str, float], _: Mapping[str, Path]) -> Iterator[Flow]:
    easy, in_band = _count(metrics, "num_too_easy"), _count(metrics, "num_in_band_unpaired")
    lost = {
        # not num_too_hard: the teacher's rationales may have paired some of those
        "too hard (below the band)": _count(metrics, "num_unpaired") - easy - in_band,
        "too easy (above the band)": easy,
        "no right and wrong chain with a marker": in_band,
    }
    paired = _count(metrics, "num_paired")
    yield _flow("pair", "questions", "questions with pairs", paired, lost)


def _dpo(metrics: Mapping[str, float], folders: Mapping[str, Path]) -> Iterator[Flow]:
    left = _count(metrics, "num_pairs")
    entered = (
        len(_column(folders["pairs"], "pairs.parquet", "example_id"))
        if "pairs" in folders
        else left
    )
    yield _flow("dpo", "pairs", "pairs learned", left, {"left out": entered - left})


def _evaluate(_: Mapping[str, float], folders: Mapping[str, Path]) -> Iterator[Flow]:
    table = pq.read_table(
        folders["predictions"] / "predictions.parquet", columns=["status", "answer"]
    ).to_pylist()
    lost = Counter(
        "cut at the token limit" if row["status"] == "truncated" else "no answer found"
        for row in table
        if not row["answer"]
    )
    yield _flow("evaluate", "predictions", "answers scored", len(table) - lost.total(), lost)
