"""Scores, their errors, and the fingerprint that says which may be compared."""

import math
from dataclasses import replace

import pytest

from chainsight.config import EvaluateSection
from chainsight.records import Example, Prediction
from chainsight.scoring import (
    aggregate,
    benchmark_fingerprint,
    flat_metrics,
    headline,
    mean_and_error,
    summarize,
)

QUESTION = Example(
    id="a/0",
    dataset="a",
    split="test",
    question="How many?",
    references=("14",),
    metric="exact_match",
    image=b"picture",
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
    assert score.metric == "exact_match"
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
        "policy/cot/b/accuracy": 0.0,
    }


CHANGES = {
    "id": "a/1",
    "question": "How few?",
    "references": ("15",),
    "metric": "anls",
    "image": b"other",
    "choices": ("14", "15"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_decides_a_score_is_in_the_fingerprint(name: str) -> None:
    config = EvaluateSection()
    changed = replace(QUESTION, **{name: CHANGES[name]})  # type: ignore[arg-type]
    assert benchmark_fingerprint([QUESTION], config) != benchmark_fingerprint([changed], config)


@pytest.mark.parametrize(
    "change", [{"max_new_tokens": 9}, {"max_direct_tokens": 9}, {"modes": ("cot",)}]
)
def test_decoding_is_in_the_fingerprint(change: dict[str, object]) -> None:
    changed = EvaluateSection.model_validate(change)
    assert benchmark_fingerprint([QUESTION], EvaluateSection()) != benchmark_fingerprint(
        [QUESTION], changed
    )


@pytest.mark.parametrize("change", [{"batch_size": 3}, {"include_base": False}])
def test_what_changes_no_score_is_not_in_the_fingerprint(change: dict[str, object]) -> None:
    changed = EvaluateSection.model_validate(change)
    assert benchmark_fingerprint([QUESTION], EvaluateSection()) == benchmark_fingerprint(
        [QUESTION], changed
    )
