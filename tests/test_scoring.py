"""Scores, their errors, and the fingerprint that says which may be compared."""

import math
from dataclasses import replace
from typing import get_args

import pytest

from chainsight.config import EvaluateSection, PromptStyle
from chainsight.metrics import METRICS
from chainsight.metrics.base import Metric
from chainsight.records import Example, Prediction
from chainsight.scoring import (
    aggregate,
    benchmark_fingerprint,
    flat_metrics,
    headline,
    mean_and_error,
    status_rates,
    summarize,
)

QUESTION = Example(
    id="a/0",
    dataset="a",
    split="test",
    question="How many?",
    references=("14",),
    metric="normalized_match",
    images=(b"picture",),
)


def prediction(example_id: str, score: float, status: str = "marker") -> Prediction:
    return Prediction("policy", example_id, "cot", "?", "...", "14", status, score, 5)


def benchmark(**counts: int) -> dict[str, Example]:
    made = [
        replace(QUESTION, id=f"{dataset}/{i}", dataset=dataset)
        for dataset, count in counts.items()
        for i in range(count)
    ]
    return {example.id: example for example in made}


def test_the_error_is_the_sample_deviation_over_root_n() -> None:
    mean, error = mean_and_error([1.0, 1.0, 1.0, 0.0])
    assert mean == 0.75
    assert error == pytest.approx(0.5 / math.sqrt(4))  # sample variance 0.25
    assert mean_and_error([0.3]) == (0.3, 0.0)
    assert mean_and_error([1.0, 1.0]) == (1.0, 0.0)


def test_one_dataset_has_one_row() -> None:
    examples = benchmark(a=4)
    rows = [prediction(f"a/{i}", float(i > 0), "marker" if i else "empty") for i in range(4)]
    (score,) = aggregate(rows, examples)
    assert (score.dataset, score.value, score.num_examples) == ("a", 0.75, 4)
    assert score.metric == "normalized_match"
    assert score.status_rates == {"empty": 0.25, "marker": 0.75}


def test_several_datasets_have_a_plain_mean() -> None:
    """Datasets count alike whatever their size, as in the paper's tables."""
    examples = benchmark(a=4, b=1)
    rows = [prediction(f"a/{i}", float(i > 0)) for i in range(4)] + [prediction("b/0", 0.0)]
    scores = aggregate(rows, examples)
    assert [score.dataset for score in scores] == ["a", "b", "all"]
    assert scores[-1].value == 0.375
    assert scores[-1].standard_error == pytest.approx(0.25 / 2)
    assert scores[-1].num_examples == 5
    assert headline(scores)["policy", "cot"] is scores[-1]


def test_the_summary_has_the_promised_keys() -> None:
    examples = benchmark(a=2, b=2)
    rows = [prediction(i, 1.0) for i in examples]
    summary = summarize(aggregate(rows, examples), "print")
    score = summary["models"]["policy"]["cot"]
    assert (score["value"], score["standard_error"], score["num_examples"]) == (1.0, 0.0, 4)
    assert score["datasets"]["b"]["num_examples"] == 2
    assert set(score["datasets"]) == {"a", "b"}
    assert summary["fingerprint"] == "print"


def test_metrics_are_flat_numbers() -> None:
    examples = benchmark(a=2, b=2)
    rows = [prediction(i, float(i[0] == "a")) for i in examples]
    assert flat_metrics(aggregate(rows, examples)) == {
        "policy/cot/accuracy": 0.5,
        "policy/cot/standard_error": 0.0,
        "policy/cot/marker_rate": 1.0,
        "policy/cot/a/accuracy": 1.0,
        "policy/cot/a/marker_rate": 1.0,
        "policy/cot/b/accuracy": 0.0,
        "policy/cot/b/marker_rate": 1.0,
    }


def forgiving(score: float, lenient: float) -> tuple[list[Prediction], dict[str, Example]]:
    """One question each of a metric with a lenient variant and of one without."""
    examples = benchmark(a=1, b=1)
    examples["b/0"] = replace(examples["b/0"], metric="soft")
    rows = [prediction("a/0", 1.0), prediction("b/0", score)]
    return [replace(rows[0], lenient=1.0), replace(rows[1], lenient=lenient)], examples


def test_lenient_scores_stand_beside_strict_ones_and_never_in_their_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metric = Metric("soft", lambda *_, **__: 0.0, lambda *_, **__: 1.0)
    monkeypatch.setitem(METRICS, "soft", metric)
    strict = aggregate(*forgiving(0.0, 0.0))
    scores = aggregate(*forgiving(0.0, 1.0))
    assert [(s.value, s.standard_error) for s in scores] == [
        (s.value, s.standard_error) for s in strict
    ]
    figures = summarize(scores, "")["models"]["policy"]["cot"]
    assert (figures["value"], figures["lenient"]) == (0.5, 1.0)
    assert "lenient" not in figures["datasets"]["a"]
    assert figures["datasets"]["b"]["lenient"] == 1.0
    metrics = flat_metrics(scores)
    assert {name: value for name, value in metrics.items() if "lenient" in name} == {
        "policy/cot/lenient_accuracy": 1.0,
        "policy/cot/b/lenient_accuracy": 1.0,
    }
    assert (metrics["policy/cot/accuracy"], metrics["policy/cot/b/accuracy"]) == (0.5, 0.0)


def test_rates_of_statuses_are_given_of_each_dataset_where_there_are_several() -> None:
    one = [("a", "marker"), ("a", "marker"), ("a", "empty"), ("a", "truncated")]
    assert status_rates(one) == {"marker_rate": 0.5, "empty_rate": 0.25, "truncated_rate": 0.25}
    rates = status_rates([*one, ("b", "empty")])
    assert (rates["empty_rate"], rates["a/empty_rate"], rates["b/empty_rate"]) == (0.4, 0.25, 1.0)
    assert "b/marker_rate" not in rates
    assert status_rates([]) == {}


CHANGES = {
    "id": "a/1",
    "question": "How few?",
    "references": ("15",),
    "metric": "anls",
    "image": b"other",
    "choices": ("14", "15"),
}


def fingerprint(
    example: Example = QUESTION, style: PromptStyle = "paper", **changes: object
) -> str:
    return benchmark_fingerprint([example], EvaluateSection.model_validate(changes), style)


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_decides_a_score_is_in_the_fingerprint(name: str) -> None:
    changed = replace(QUESTION, **{name: CHANGES[name]})  # type: ignore[arg-type]
    assert fingerprint() != fingerprint(changed)


@pytest.mark.parametrize(
    "change", [{"max_new_tokens": 9}, {"max_direct_tokens": 9}, {"modes": ("cot",)}]
)
def test_decoding_is_in_the_fingerprint(change: dict[str, object]) -> None:
    assert fingerprint() != fingerprint(**change)


def test_the_words_are_in_the_fingerprint() -> None:
    """Of the peers' styles, lmms-eval asks for a reason in the system prompt alone."""
    prints = {fingerprint(style=style) for style in get_args(PromptStyle)}
    assert len(prints) == 3
    bare = replace(QUESTION, kind="instruct")
    asked = {fingerprint(bare, style=style, modes=("cot",)) for style in get_args(PromptStyle)}
    assert len(asked) == 2


@pytest.mark.parametrize("change", [{"batch_size": 3}, {"include_base": False}])
def test_what_changes_no_score_is_not_in_the_fingerprint(change: dict[str, object]) -> None:
    assert fingerprint() == fingerprint(**change)
