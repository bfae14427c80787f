"""Candidates and pairs: what became of a question and of each candidate, and what DPO reads."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from chainsight import records
from chainsight.records import Candidate, Pair, Rationale
from chainsight.report import StageResult, build, collect
from chainsight.report.exercises import NUM_EXERCISES, TEACHER, Exercise, Rules, judge
from chainsight.stages.dpo import cut

Run = dict[str, StageResult]
BAND = Rules(band=(0.25, 0.85))


@pytest.mark.parametrize(
    ("num_right", "pairs", "outcome"),
    [
        (4, [(0, 1)], "paired"),
        (0, [(TEACHER, 1)], "taught"),
        (2, [], "unmarked"),
        (1, [], "hard"),
        (7, [], "easy"),
    ],
)
def test_what_became_of_a_question(
    num_right: int, pairs: list[tuple[int, int]], outcome: str
) -> None:
    rights = [n < num_right for n in range(8)]
    assert judge(rights, pairs, BAND) == outcome


def test_the_bands_ends_are_inside_it() -> None:
    assert [judge([n < k for n in range(20)], [], BAND) for k in (4, 5, 17, 18)] == [
        "hard", "unmarked", "unmarked", "easy",
    ]  # fmt: skip


def test_without_the_stage_pair_nothing_is_said_of_pairs() -> None:
    assert judge([True, False], [], Rules()) == "unpaired"


@pytest.fixture
def ready(rerun: Callable[[], Run]) -> Run:
    """One question: 0 chosen, 1 rejected, 2 without a marker, 3 as 0, 4 not drawn."""
    run = rerun()
    texts = ["a b c d e f g h", "w x y z", "cut", "a b c d e f g h", "other"]
    rows = [
        Candidate("bars/train/0", n, text, "3", "truncated" if n == 2 else "marker",
                  float(n in (0, 3)), 9, -1.0)
        for n, text in enumerate(texts)
    ]  # fmt: skip
    records.write(run["sample"].folders["candidates"] / "candidates.parquet", rows, Candidate)
    pairs = [Pair("bars/train/0", texts[0], texts[1], 0, 1)]
    records.write(run["pair"].folders["pairs"] / "pairs.parquet", pairs, Pair)
    return run


def only(run: Run) -> Exercise:
    (found,) = collect("demo", run).exercises.shown
    return found


def test_each_candidate_says_with_which_it_was_paired_or_why_not(ready: Run) -> None:
    assert [one.fate for one in only(ready).candidates] == [
        "chosen, against 1",
        "rejected, against 0",
        "not paired: does not end in the marker",
        "not paired: the same text as candidate 0",
        "not drawn: at most pair.max_pairs a question, by the seed",
    ]
    assert only(ready).num_right == 2


def test_words_that_dpo_does_not_read_are_struck_out(ready: Run) -> None:
    page = build(collect("demo", ready))
    assert cut("a b c d e f g h", 6) == "a b c d e f"
    assert 'a b c d e f<del class="cut"> g h</del>' in page
    assert page.count('<del class="cut">') == 1  # 1 is short, 3 is in no pair
    whole = replace(ready["dpo"], config={"max_words": 0})
    assert '<del class="cut">' not in build(collect("demo", {**ready, "dpo": whole}))


def test_a_pair_with_the_teacher_says_so(ready: Run) -> None:
    pairs = [Pair("bars/train/0", "taught", "w x y z", TEACHER, 1)]
    records.write(ready["pair"].folders["pairs"] / "pairs.parquet", pairs, Pair)
    assert only(ready).outcome == "taught"
    assert only(ready).candidates[1].fate == "rejected, against the teacher"


def test_some_of_each_outcome_are_shown_with_all_candidates(finished: Run) -> None:
    found = collect("demo", finished).exercises
    assert sum(found.counts.values()) == 24
    assert len(found.shown) == NUM_EXERCISES
    assert {one.outcome for one in found.shown} == set(found.counts)
    for one in found.shown:
        assert len(one.candidates) == 8
        assert one.teacher[0].who == "teacher"
        assert bool(one.num_pairs) == (one.outcome == "paired")
        assert one.pictures


def test_before_the_policy_is_sampled_the_teachers_rationales_are_shown(finished: Run) -> None:
    part = {name: finished[name] for name in ("prepare", "distill")}
    found = collect("demo", part).exercises
    assert found.counts == {"unasked": 22}
    assert "All 8 candidates" not in build(collect("demo", part))
    assert all(one.teacher[0].fate == "kept" for one in found.shown)


def test_an_answer_set_aside_says_why(rerun: Callable[[], Run]) -> None:
    run = rerun()
    folder = run["distill"].folders["rationales"]
    rows = records.read(folder / "rationales.parquet", Rationale)
    aside = [replace(row, reason="too_long") for row in rows]
    records.write(folder / "rejected.parquet", aside, Rationale)
    records.write(folder / "rationales.parquet", [], Rationale)
    told = {one.fate for e in collect("demo", run).exercises.shown for one in e.teacher}
    assert told <= {"set aside: too long"}
