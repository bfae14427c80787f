"""Every binding case, and the list of those where ours differs on purpose."""

import json
from pathlib import Path
from typing import Any

import pytest

from chainsight.metrics import METRICS
from chainsight.metrics.vqa_accuracy import normalize

FOLDER = Path(__file__).parents[1] / "fixtures" / "cases"
BINDING = {
    "chartqa_relaxed": "relaxed_accuracy",
    "anls": "anls",
    "vqa_accuracy": "vqa_accuracy",
    "aokvqa_da_official": "aokvqa_direct",
    "aokvqa_mc_official": "exact_match",
    "mathvista_extracted": "mathvista",
    "mmmu_open_official": "mmmu_open",
    "ocrbench": "ocrbench",
    "ocrbench_hme": "ocrbench",
}

MATHVISION_DIFFERS = {
    "B\nBecause ...": (1.0, 0.0),  # no extraction from the front of a chain: 3.8 takes the end
    "The area is 5": (1.0, 0.0),  # any "is" would be an answer; 3.8 asks for "answer is"
    "I choose B.": (1.0, 0.0),  # a last word is no lone letter (3.4)
    "14 cm": (0.0, 1.0),  # a unit that the gold leaves out does not make the number wrong
}


def cases(file: str, *metrics: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (FOLDER / file).read_text().splitlines()]
    chosen = [row for row in rows if row["metric"] in metrics]
    assert chosen, f"no case of {metrics} in {file}"
    return chosen


def score(name: str, case: dict[str, Any]) -> float:
    return METRICS[name].score(
        case["prediction"],
        case["references"],
        choices=case.get("choices"),
        **case.get("params", {}),
    )


@pytest.mark.parametrize("case", cases("metric_cases.jsonl", *BINDING), ids=str)
def test_the_official_scores_come_out(case: dict[str, Any]) -> None:
    assert score(BINDING[case["metric"]], case) == pytest.approx(case["score"], abs=1e-6)


@pytest.mark.parametrize("case", cases("metric_cases.jsonl", "evalai_normalize"), ids=str)
def test_the_normaliser_gives_the_official_text(case: dict[str, Any]) -> None:
    assert normalize(case["prediction"]) == case["references"][0]


@pytest.mark.parametrize("case", cases("metric_cases.jsonl", "mathvision"), ids=str)
def test_mathvision_differs_from_the_peer_only_where_explained(case: dict[str, Any]) -> None:
    theirs, ours = MATHVISION_DIFFERS.get(case["prediction"], (case["score"],) * 2)
    assert case["score"] == theirs
    assert score("mathvision", case) == ours


REWARDS = cases("peer_bugs.jsonl", "reward_lmms_reasoning_75571cfe")


@pytest.mark.parametrize("case", [c for c in REWARDS if "FALSE POSITIVE" in c["note"]], ids=str)
def test_a_common_first_letter_earns_nothing(case: dict[str, Any]) -> None:
    assert score("relaxed_accuracy", case) == 0.0


@pytest.mark.parametrize("case", [c for c in REWARDS if "tolerance" in c["note"]], ids=str)
def test_the_tolerance_that_the_peer_lacks_is_there(case: dict[str, Any]) -> None:
    assert score("relaxed_accuracy", case) == 1.0


@pytest.mark.parametrize(
    "case", cases("peer_bugs.jsonl", "mathvista_extracted_lmms_75571cfe"), ids=str
)
def test_float_answers_of_mathvista_are_judged_and_not_lost(case: dict[str, Any]) -> None:
    prediction, precision = float(case["prediction"]), int(case["params"]["precision"])
    right = str(round(prediction, precision)) == case["references"][0]
    assert score("mathvista", case) == float(right)
