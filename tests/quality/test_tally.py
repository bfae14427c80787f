"""Counts that stream by."""

from dataclasses import replace

import pytest

from chainsight.quality.tally import Tally, would_drop
from chainsight.records import Rationale

KEPT = Rationale(
    "a", "t", "1", "marker", "t", 1000, 100, 0.01, num_words=50, repetition=0.1, agreement=0.9
)
MISMATCH = replace(KEPT, reason="mismatch", agreement=0.5, cost_usd=0.02)
LONG = replace(KEPT, reason="too_long", num_words=450, answer_first=True, agreement=None)


def tally(*rows: tuple[str, Rationale]) -> Tally:
    found = Tally()
    for dataset, row in rows:
        found.add(dataset, row)
    return found


def test_each_dataset_has_its_reasons_and_all_are_their_sum() -> None:
    found = tally(("x", KEPT), ("x", MISMATCH), ("y", LONG)).to_json()
    assert found["datasets"]["x"]["reasons"] == {"mismatch": 1}
    assert found["datasets"]["y"]["reasons"] == {"too_long": 1}
    assert found["all"]["reasons"] == {"mismatch": 1, "too_long": 1}
    assert (found["all"]["num_examples"], found["all"]["num_kept"]) == (3, 1)


def test_a_superseded_answer_is_paid_and_no_example() -> None:
    early = replace(MISMATCH, superseded=True)
    late = replace(KEPT, variant=1)
    found = tally(("x", early), ("x", late)).to_json()["all"]
    assert (found["num_examples"], found["reasons"]) == (1, {})
    assert found["superseded"]["cost_usd"] == 0.02
    assert found["kept"]["cost_usd"] == 0.01
    assert found["answers_by_reason"] == {"mismatch": 1, "kept": 1}


def test_rounds_say_what_retries_brought() -> None:
    early, late = replace(MISMATCH, superseded=True), replace(KEPT, variant=1)
    rounds = tally(("x", KEPT), ("x", early), ("x", late)).to_json()["rounds"]
    assert rounds == [
        {"round": 0, "num_answers": 2, "num_kept": 1, "cost_usd": pytest.approx(0.03)},
        {"round": 1, "num_answers": 1, "num_kept": 1, "cost_usd": 0.01},
    ]


def test_measures_are_of_right_answers_whatever_the_filter_made_of_them() -> None:
    measured = tally(("x", KEPT), ("x", MISMATCH), ("x", LONG)).to_json()["all"]["measured"]
    assert measured["num_answers"] == 2
    assert measured["words"]["max"] == 450
    assert measured["num_answer_first"] == 1
    assert measured["num_checked"] == 1
    assert measured["agreement_percent"]["mean"] == 90


def test_agreement_is_known_of_wrong_answers_too() -> None:
    found = tally(("x", KEPT), ("x", MISMATCH)).to_json()["all"]
    assert found["agreement_by_reason"] == {"kept": 0.9, "mismatch": 0.5}


@pytest.mark.parametrize(
    ("row", "settings"),
    [
        (KEPT, ["min_agreement: 1"]),
        (LONG, ["max_words: 100", "max_words: 200", "max_words: 300"]),
        (replace(KEPT, num_words=20, agreement=1.0), ["min_words: 40"]),
        (replace(KEPT, num_words=40, agreement=None), []),
        (replace(KEPT, repetition=0.3, agreement=0.8),
         ["max_repetition: 0.1", "max_repetition: 0.2", "min_agreement: 0.9", "min_agreement: 1"]),
    ],
)  # fmt: skip
def test_settings_that_would_drop_a_rationale(row: Rationale, settings: list[str]) -> None:
    assert would_drop(row) == settings


def test_no_answer_costs_nothing_that_is_known() -> None:
    failed = Rationale("a", "", "", "empty", "t", 0, 0, 0.0, reason="failed")
    found = tally(("x", failed), ("x", KEPT))
    assert found.to_json()["all"]["dropped"]["num_answers"] == 0
    assert found.metrics()["num_failed"] == 1
    assert found.metrics()["cost_per_kept_usd"] == 0.01
