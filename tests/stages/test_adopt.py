"""The policy's own right chains: which one, which questions, what is counted."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from chainsight import records
from chainsight.config import AdoptSection
from chainsight.context import Context
from chainsight.errors import ChainsightError, RecordError
from chainsight.records import Candidate, Rationale
from chainsight.stages.adopt import adopt, run

ALL = AdoptSection()


def candidate(
    example_id: str, index: int, right: bool, text: str = "", status: str = "marker"
) -> Candidate:
    said = text or f"I see {index} bars.\n\n### Answer: {int(right)}"
    return Candidate(example_id, index, said, str(int(right)), status, float(right), 9, -1.0)


def question(example_id: str, verdicts: str) -> list[Candidate]:
    return [candidate(example_id, i, v == "r") for i, v in enumerate(verdicts)]


def test_a_right_chain_becomes_a_rationale_that_nobody_is_paid_for() -> None:
    assert adopt(question("bars/train/1", "wwrw"), ALL, 0) == Rationale(
        example_id="bars/train/1",
        text="I see 2 bars.\n\n### Answer: 1",
        answer="1",
        status="marker",
        teacher="policy",
        prompt_tokens=0,
        completion_tokens=9,
        cost_usd=0.0,
        num_samples=4,
        num_right=1,
        num_words=4,
    )


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("It is 1, so 1.", "fallback"),
        ("### Answer: 1", "marker"),  # no reasoning
        ("I see.\n\n### Answer: 1\nOr is it?", "marker"),  # goes on after its answer
    ],
)
def test_a_right_chain_that_would_teach_no_format_is_not_adopted(text: str, status: str) -> None:
    assert adopt([candidate("q", 0, right=True, text=text, status=status)], ALL, 0) is None


def test_which_chain_is_the_questions_own_chance() -> None:
    many = question("q", "rw" * 16)
    drawn = [adopt(many, ALL, seed) for seed in range(20)]
    assert [adopt(many, ALL, seed) for seed in range(20)] == drawn
    assert len({row.text for row in drawn if row}) > 5
    assert adopt(many[::-1], ALL, 3) == drawn[3]  # and not its place's
    assert len({adopt(question(f"q/{i}", "r" * 32), ALL, 0).text for i in range(20)}) > 5  # type: ignore[union-attr]


def test_a_chain_that_was_sampled_twice_counts_once() -> None:
    same = [candidate("q", i, right=True, text="So.\n\n### Answer: 1") for i in range(30)]
    other = candidate("q", 30, right=True)
    drawn = [adopt([*same, other], ALL, seed) for seed in range(40)]
    assert 8 < sum(row is not None and row.text == other.text for row in drawn) < 32


@pytest.mark.parametrize(
    ("settings", "adopted"),
    [
        ({}, [True, True, True]),
        ({"min_accuracy": 0.25}, [True, True, True]),
        ({"min_accuracy": 0.26}, [False, True, True]),
        ({"max_accuracy": 0.99}, [True, True, False]),
    ],
)
def test_the_band_leaves_luck_and_the_known_out(
    settings: dict[str, float], adopted: list[bool]
) -> None:
    questions = [question("q", verdicts) for verdicts in ("rwww", "rrww", "rrrr")]
    found = [adopt(one, AdoptSection.model_validate(settings), 0) for one in questions]
    assert [row is not None for row in found] == adopted


def run_on(folder: Path, candidates: Sequence[Candidate]) -> tuple[dict[str, float], list[str]]:
    records.write(folder / "c" / "candidates.parquet", candidates, Candidate)
    context = Context(work=folder, ledger=folder, seed=5)
    metrics = run(ALL, candidates=folder / "c", rationales=folder / "r", context=context)
    rows = records.read(folder / "r" / "rationales.parquet", Rationale)
    return metrics, [row.example_id for row in rows]


def test_every_question_is_counted_with_its_dataset(tmp_path: Path) -> None:
    mixed = [*question("a/1", "rw"), *question("a/2", "ww"), *question("b/1", "rr")]
    metrics, adopted = run_on(tmp_path, mixed)
    assert adopted == ["a/1", "b/1"]
    assert metrics == {
        "num_questions": 3,
        "num_adopted": 2,
        "a/num_questions": 2,
        "a/num_adopted": 1,
        "b/num_questions": 1,
        "b/num_adopted": 1,
        "mean_words": 4,
    }


def test_a_policy_that_is_never_right_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ChainsightError, match=r"none of 1 questions .*raise sample.num_candidates"):
        run_on(tmp_path, question("a/1", "ww"))


def test_scattered_candidates_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="do not stand together"):
        run_on(tmp_path, [*question("a/1", "r"), *question("a/2", "r"), *question("a/1", "w")])
