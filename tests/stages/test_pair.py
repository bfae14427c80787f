from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

from chainsight import records
from chainsight.config import PairSection
from chainsight.context import Context
from chainsight.errors import NoPairsError, RecordError
from chainsight.records import Candidate, Pair, Rationale
from chainsight.stages.pair import TEACHER, build_pairs, run

PAPER = PairSection()
WITH_TEACHER = PairSection(teacher_as_chosen=True)


def candidate(
    example_id: str, index: int, score: float, *, status: str = "marker", text: str | None = None
) -> Candidate:
    said = f"thought {index} of {example_id}\n### Answer: {score:g}" if text is None else text
    return Candidate(example_id, index, said, f"{score:g}", status, score, 9, -1.0)


def question(example_id: str, num_right: int, num_wrong: int) -> list[Candidate]:
    scores = [1.0] * num_right + [0.0] * num_wrong
    return [candidate(example_id, i, score) for i, score in enumerate(scores)]


def rationale(example_id: str, *, reason: str = "") -> Rationale:
    return Rationale(example_id, "taught\n### Answer: 1", "1", "marker", "t", 1, 1, 0.0, reason)


def pairs_of(
    candidates: Sequence[Candidate], config: PairSection = PAPER, **kwargs: object
) -> list[Pair]:
    """As build_pairs, with a paired question beside, so that there is always a pair."""
    beside = question("beside", 1, 1)
    found = build_pairs([*beside, *candidates], config, **kwargs)  # type: ignore[arg-type]
    return [pair for pair in found if pair.example_id != "beside"]


def test_chosen_is_right_and_rejected_is_wrong_and_both_are_named() -> None:
    candidates = question("q", 20, 12)
    pairs = build_pairs(candidates, PAPER)
    assert len(pairs) == 3
    for pair in pairs:
        chosen, rejected = candidates[pair.chosen_index], candidates[pair.rejected_index]
        assert (chosen.score, rejected.score) == (1.0, 0.0)
        assert (pair.chosen, pair.rejected) == (chosen.text, rejected.text)


@pytest.mark.parametrize(
    ("num_right", "num_wrong", "paired"),
    [
        (1, 3, True),  # 0.25, the lower bound
        (7, 25, False),  # 0.21875
        (17, 3, True),  # 0.85, the upper bound
        (28, 4, False),  # 0.875
        (0, 8, False),
        (8, 0, False),
    ],
)
def test_the_band_includes_its_bounds(num_right: int, num_wrong: int, paired: bool) -> None:
    assert bool(pairs_of(question("q", num_right, num_wrong))) is paired


def test_a_score_of_half_a_point_is_right() -> None:
    pairs = build_pairs([candidate("q", 0, 0.5), candidate("q", 1, 0.49)], PAPER)
    assert [(pair.chosen_index, pair.rejected_index) for pair in pairs] == [(0, 1)]


def test_no_more_pairs_than_asked_for_and_none_twice() -> None:
    for most, found in ((1, 1), (3, 3), (4, 4), (9, 4)):
        pairs = build_pairs(question("q", 2, 2), PairSection(max_pairs=most))
        assert len({(pair.chosen_index, pair.rejected_index) for pair in pairs}) == found


def test_the_same_chain_sampled_twice_counts_once() -> None:
    same = [candidate("q", i, 1.0, text="same") for i in range(4)]
    wrong = [candidate("q", 4 + i, 0.0, text=" other \n") for i in range(4)]
    pairs = build_pairs([*same, *wrong], PAPER)
    assert [(pair.chosen_index, pair.rejected_index) for pair in pairs] == [(0, 4)]
    assert pairs[0].rejected == " other \n", "the text stays as it was sampled"


def test_identical_texts_make_no_pair() -> None:
    assert not pairs_of([candidate("q", 0, 1.0, text="x"), candidate("q", 1, 0.0, text="x ")])


def test_chains_without_a_marker_count_for_the_accuracy_and_stand_in_no_pair() -> None:
    right = [candidate("q", 0, 1.0), candidate("q", 1, 1.0, status="fallback")]
    wrong = [candidate("q", 2, 0.0, status="no_marker"), candidate("q", 3, 0.0)]
    pairs = build_pairs([*right, *wrong], PAPER)
    assert [(pair.chosen_index, pair.rejected_index) for pair in pairs] == [(0, 3)]
    unreadable = [candidate("q", 4 + i, 0.0, status="truncated") for i in range(5)]
    assert not pairs_of([*right, *wrong, *unreadable]), "2 of 9 is below the band"


def test_a_question_without_a_marked_wrong_chain_gives_no_pair() -> None:
    assert not pairs_of([candidate("q", 0, 1.0), candidate("q", 1, 0.0, status="no_marker")])


def test_the_draw_depends_on_seed_and_question_alone() -> None:
    first, second = question("a", 8, 8), question("b", 8, 8)
    alone = build_pairs(first, PAPER, seed=1)
    together = build_pairs([*second, *reversed(first)], PAPER, seed=1)
    assert [pair for pair in together if pair.example_id == "a"] == alone
    assert build_pairs(first, PAPER, seed=2) != alone
    drawn = {
        example_id: [
            (p.chosen_index, p.rejected_index) for p in together if p.example_id == example_id
        ]
        for example_id in ("a", "b")
    }
    assert drawn["a"] != drawn["b"], "each question has a seed of its own"


def test_the_draw_favours_no_chain() -> None:
    drawn: dict[int, int] = defaultdict(int)
    for seed in range(300):
        for pair in build_pairs(question("q", 4, 4), PairSection(max_pairs=2), seed=seed):
            drawn[pair.chosen_index] += 1
    assert sum(drawn.values()) == 600
    assert all(110 <= drawn[index] <= 190 for index in range(4)), dict(drawn)  # 150 expected


def test_interleaved_questions_are_told_apart() -> None:
    first, second = question("a", 2, 2), question("b", 2, 2)
    mixed = [c for both in zip(first, second, strict=True) for c in both]
    assert build_pairs(mixed, PAPER) == build_pairs([*first, *second], PAPER)


# --- the teacher's rationale as chosen -------------------------------------------------------


def test_the_teacher_is_chosen_only_where_no_chain_is_right() -> None:
    candidates = [*question("none", 0, 8), *question("some", 1, 7), *question("half", 4, 4)]
    taught = [rationale(example_id) for example_id in ("none", "some", "half")]
    pairs = build_pairs(candidates, WITH_TEACHER, taught)
    by_question = defaultdict(set)
    for pair in pairs:
        by_question[pair.example_id].add(pair.chosen_index == TEACHER)
    assert dict(by_question) == {"none": {True}, "half": {False}}
    assert len(pairs) == 6
    assert {pair.chosen for pair in pairs if pair.chosen_index == TEACHER} == {taught[0].text}


def test_the_teacher_is_not_chosen_unless_asked_for() -> None:
    assert not pairs_of(question("none", 0, 8), PAPER, rationales=[rationale("none")])


def test_a_rationale_that_was_set_aside_is_never_chosen() -> None:
    aside = [rationale("none", reason="mismatch")]
    assert not pairs_of(question("none", 0, 8), WITH_TEACHER, rationales=aside)


def test_against_the_teacher_marked_chains_come_first_and_blank_ones_never() -> None:
    unmarked = [candidate("q", 0, 0.0, status="no_marker"), candidate("q", 1, 0.0, text="  ")]
    taught = [rationale("q")]
    pairs = pairs_of(unmarked, WITH_TEACHER, rationales=taught)
    assert [pair.rejected_index for pair in pairs] == [0]
    pairs = pairs_of([*unmarked, candidate("q", 2, 0.0)], WITH_TEACHER, rationales=taught)
    assert [pair.rejected_index for pair in pairs] == [2]


# --- no pair at all --------------------------------------------------------------------------


def test_no_pair_at_all_names_the_accuracies_and_the_way_out() -> None:
    hard = [c for i in range(3) for c in question(f"h{i}", 0, 8)]
    low = question("l", 1, 7)
    with pytest.raises(NoPairsError) as error:
        build_pairs([*hard, *low], PAPER)
    message = str(error.value)
    assert "no pair from 4 questions" in message
    assert "3 at 0, 1 below the band [0.25, 0.85], 0 inside it" in message
    assert "pair.teacher_as_chosen" in message


@pytest.mark.parametrize(
    ("candidates", "config", "expected"),
    [
        (question("q", 8, 0), PAPER, "0 above it, 1 at 1. Raise sample.temperature"),
        (question("q", 15, 1), PAPER, "1 above it, 0 at 1. Raise sample.temperature"),
        (question("q", 0, 8), WITH_TEACHER, "found no kept rationale"),
        (
            [candidate("q", 0, 1.0, status="fallback"), candidate("q", 1, 0.0)],
            PAPER,
            "1 inside it (1 of them without a right and a wrong chain",
        ),
        ([], PAPER, "no candidates to pair"),
    ],
)
def test_the_way_out_fits_the_accuracies(
    candidates: list[Candidate], config: PairSection, expected: str
) -> None:
    with pytest.raises(NoPairsError) as error:
        build_pairs(candidates, config)
    assert expected in str(error.value)


# --- the stage -------------------------------------------------------------------------------


def run_on(
    tmp_path: Path,
    candidates: Sequence[Candidate],
    rationales: Sequence[Rationale],
    config: PairSection,
) -> tuple[dict[str, float], list[Pair]]:
    records.write(tmp_path / "c" / "candidates.parquet", candidates, Candidate)
    records.write(tmp_path / "r" / "rationales.parquet", rationales, Rationale)
    context = Context(work=tmp_path, ledger=tmp_path, seed=5)
    metrics = run(
        config,
        candidates=tmp_path / "c",
        rationales=tmp_path / "r",
        pairs=tmp_path / "p",
        context=context,
    )
    return metrics, list(records.read(tmp_path / "p" / "pairs.parquet", Pair))


MIXED = [
    *question("none", 0, 8),
    *question("low", 1, 7),
    *question("half", 4, 4),
    *question("high", 15, 1),
    *question("all", 8, 0),
    candidate("bare", 0, 1.0, status="fallback"),
    candidate("bare", 1, 0.0),
]


def test_every_question_is_counted_once(tmp_path: Path) -> None:
    metrics, pairs = run_on(tmp_path, MIXED, [rationale("none")], WITH_TEACHER)
    assert metrics == {
        "num_questions": 6,
        "num_in_band": 2,
        "num_too_hard": 2,
        "num_too_easy": 2,
        "num_all_wrong": 1,
        "num_all_right": 1,
        "num_in_band_unpaired": 1,
        "num_paired": 2,
        "num_unpaired": 4,
        "num_teacher_chosen": 1,
        "num_pairs": 6,
        "mean_accuracy": pytest.approx((0 + 1 / 8 + 0.5 + 15 / 16 + 1 + 0.5) / 6),
    }
    assert len(pairs) == 6


def test_the_stage_writes_what_the_pure_function_gives(tmp_path: Path) -> None:
    _, pairs = run_on(tmp_path, MIXED, [rationale("none")], WITH_TEACHER)
    assert pairs == build_pairs(MIXED, WITH_TEACHER, [rationale("none")], seed=5)


def test_a_second_run_writes_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        run_on(tmp_path / folder, MIXED, [], PAPER)
    first, second = ((tmp_path / f / "p" / "pairs.parquet").read_bytes() for f in ("one", "two"))
    assert first == second


def test_scattered_candidates_are_refused(tmp_path: Path) -> None:
    first, second = question("a", 1, 1), question("b", 1, 1)
    with pytest.raises(RecordError, match="those of a do not stand together"):
        run_on(tmp_path, [first[0], *second, first[1]], [], PAPER)
