import io
from collections.abc import Callable
from itertools import islice

import pytest
from PIL import Image
from planting import encode

from chainsight.demo import bars
from chainsight.hygiene.matching import Screen, Trace, Verdict, trace
from chainsight.hygiene.picture import Picture, look
from chainsight.records import Example

Make = Callable[..., Trace]
LONG = (
    "A farmer has 17 sheep and sells all but 9 of them on a Monday, how many are left to him now?"
)


@pytest.fixture(scope="session")
def copies(files: list[bytes]) -> list[Picture]:
    """The real pictures as JPEG."""
    return [look(as_jpeg(file), 10**9) for file in files]


def as_jpeg(file: bytes) -> bytes:
    with Image.open(io.BytesIO(file)) as opened:
        return encode(opened.convert("RGB"), "JPEG", quality=80)


def judge(held: list[Trace], training: list[Trace]) -> list[Verdict | None]:
    screen = Screen()
    screen.hold_out(held)
    return screen.judge(training)


def test_real_rows_have_nothing_in_common(examples: list[Example]) -> None:
    traces = [trace(row, [look(image, 10**9) for image in row.images]) for row in examples]
    for source in {row.source for row in traces}:
        held = [row for row in traces if row.source == source]
        assert not any(judge(held, [row for row in traces if row.source != source]))


def test_an_equal_picture_leaks_whatever_is_asked_and_whichever_dataset_it_is(
    row: Make, pictures: list[Picture]
) -> None:
    held = [row("mathvista/testmini/7", pictures[0], question="Which bar is red?")]
    [verdict] = judge(held, [row("chartqa/train/1", pictures[0])])
    reason = "image is in benchmark mathvista/testmini"
    assert verdict == Verdict("leak", reason, "mathvista/testmini/7, similarity 1.00")


def test_a_copy_of_a_picture_leaks_and_the_detail_says_how_alike_it_is(
    row: Make, pictures: list[Picture], copies: list[Picture]
) -> None:
    held = [row(f"chartqa/test/{k}", one) for k, one in enumerate(pictures)]
    [verdict] = judge(held, [row("chartqa/train/1", copies[5], question="Another?")])
    assert verdict is not None
    assert verdict.reason == "image is nearly one of benchmark chartqa/test"
    assert verdict.cause == "leak"
    other, similarity = verdict.detail.split(", similarity ")
    assert other == "chartqa/test/5"
    assert 0.5 <= float(similarity) < 1


def test_any_of_several_images_leaks(row: Make, pictures: list[Picture]) -> None:
    held = [row("mmmu/validation/3", pictures[2], pictures[3])]
    verdicts = judge(held, [row("a/train/0", *pictures[:2]), row("a/train/1", *pictures[:4])])
    assert verdicts[0] is None
    assert verdicts[1] is not None
    assert verdicts[1].detail == "mmmu/validation/3, similarity 1.00"


def test_an_equal_picture_is_said_to_be_equal_where_another_is_nearly_one(
    row: Make, pictures: list[Picture], copies: list[Picture]
) -> None:
    held = [row("a/test/0", pictures[0]), row("b/test/0", pictures[1])]
    [verdict] = judge(held, [row("c/train/0", copies[0], pictures[1])])
    assert verdict is not None
    assert verdict.reason == "image is in benchmark b/test"


def test_a_long_question_with_the_same_answer_leaks_without_its_picture(
    row: Make, pictures: list[Picture]
) -> None:
    held = [row("a/test/0", pictures[0], question=LONG, references=("9",))]
    asked = {
        "same": row("b/train/0", pictures[1], question=f" {LONG.upper()}", references=("9",)),
        "other answer": row("b/train/1", pictures[1], question=LONG, references=("8",)),
        "options": row("b/train/2", pictures[1], question=LONG, choices=("9",), references=("9",)),
    }
    verdicts = dict(zip(asked, judge(held, list(asked.values())), strict=True))
    assert verdicts["same"] == Verdict("leak", "question is in benchmark a/test", "a/test/0")
    assert (verdicts["other answer"], verdicts["options"]) == (None, None)


def test_a_question_that_fits_many_pictures_does_not_leak(
    row: Make, pictures: list[Picture]
) -> None:
    template = "Is the sum of the two smallest bars greater than the value of the largest bar?"
    held = [row("a/test/0", pictures[0], question=template, references=("Yes",))]
    assert judge(held, [row("b/train/0", pictures[1], question=template, references=("Yes",))]) == [
        None
    ]


def test_of_rows_that_repeat_each_other_the_first_stays(
    row: Make, pictures: list[Picture], copies: list[Picture]
) -> None:
    rows = [
        row("a/train/0", pictures[0], question="How many?"),
        row("b/train/0", copies[0], question="how many"),
        row("a/train/1", pictures[0], question="How  many?"),
        row("a/train/2", copies[1], question="How many?"),
        row("b/train/1", pictures[1], question="How many?"),
    ]
    verdicts = judge([], rows)
    assert [verdict and verdict.cause for verdict in verdicts] == [
        None,
        "duplicate",
        "duplicate",
        None,
        "duplicate",
    ]
    assert {verdict.reason for verdict in verdicts if verdict} == {"repeats another row"}
    details = [verdict.detail.split(", ")[0] for verdict in verdicts if verdict]
    assert details == ["a/train/0", "a/train/0", "a/train/2"]
    assert verdicts[2] is not None
    assert verdicts[2].detail == "a/train/0, similarity 1.00"


def test_another_question_answer_option_or_picture_repeats_nothing(
    row: Make, pictures: list[Picture]
) -> None:
    rows = [
        row("a/train/0", pictures[0], question="How many?", references=("4",)),
        row("a/train/1", pictures[0], question="How few?", references=("4",)),
        row("a/train/2", pictures[0], question="How many?", references=("5",)),
        row("a/train/3", pictures[0], question="How many?", references=("4",), choices=("4", "5")),
        row("a/train/4", pictures[1], question="How many?", references=("4",)),
        row("a/train/5", *pictures[:2], question="How many?", references=("4",)),
        row("a/train/6", pictures[1], pictures[0], question="How many?", references=("4",)),
        row("a/train/7", pictures[0], pictures[2], question="How many?", references=("4",)),
    ]
    assert judge([], rows) == [None] * len(rows)


def test_several_published_chains_of_one_question_stay_and_a_copy_goes(
    row: Make, pictures: list[Picture]
) -> None:
    chains = [{"rationale": "one"}, {"rationale": "two"}, {"chosen": "a", "rejected": "b"}]
    rows = [row(f"a/x/{i}", pictures[0], meta=meta) for i, meta in enumerate((*chains, chains[1]))]
    *others, last = judge([], [*rows, row("a/x/4", pictures[0], meta={"level": "3"})])
    assert [verdict and verdict.cause for verdict in others] == [None, None, None, "duplicate"]
    assert last is None


def test_references_are_compared_as_a_set(row: Make, pictures: list[Picture]) -> None:
    rows = [
        row("a/train/0", pictures[0], references=("two", "2", "Two")),
        row("a/train/1", pictures[0], references=("2", "two")),
    ]
    assert judge([], rows)[1] is not None


def test_a_row_that_leaks_is_no_first(row: Make, pictures: list[Picture]) -> None:
    held = [row("a/test/0", pictures[0], question=LONG, references=("9",))]
    leak, good = (row(f"b/train/{k}", pictures[k], question="Other?") for k in range(2))
    assert [bool(one) for one in judge(held, [leak, good, leak])] == [True, False, True]


def test_benchmarks_may_repeat_themselves(row: Make, pictures: list[Picture]) -> None:
    held = [row("a/test/0", pictures[0]), row("b/test/0", pictures[0])]
    [verdict] = judge(held, [row("c/train/0", pictures[0])])
    assert verdict is not None
    assert verdict.detail.startswith("a/test/0")


@pytest.mark.parametrize("size", [1, 3, 100])
def test_verdicts_do_not_depend_on_blocks(
    size: int, row: Make, pictures: list[Picture], copies: list[Picture]
) -> None:
    held = [row(f"a/test/{k}", one) for k, one in enumerate(pictures[:4])]
    shown = (copies + pictures)[2:-4] * 2
    training = [row(f"b/train/{k}", one, question=f"{k % 3}?") for k, one in enumerate(shown)]
    screen = Screen()
    for start in range(0, len(held), size):
        screen.hold_out(held[start : start + size])
    parts = [screen.judge(training[k : k + size]) for k in range(0, len(training), size)]
    assert [verdict for part in parts for verdict in part] == judge(held, training)
    assert {verdict.cause for part in parts for verdict in part if verdict} == {"leak", "duplicate"}


def test_bar_charts_with_equal_questions_stay(row: Make) -> None:
    charts = list(islice(bars.charts(0, "train"), 200))
    rows = [
        row(f"bars/train/{k}", look(chart.image, 10**6), question="Which bar is the highest?")
        for k, chart in enumerate(charts)
    ]
    assert judge(rows[:50], rows[50:]) == [None] * 150
    assert judge([], rows) == [None] * 200


def test_the_stock_of_pictures_grows(row: Make) -> None:
    cells = [bytes([k % 256, k // 256]) * 392 for k in range(2500)]
    shown = [Picture(str(k).encode(), one, 50, 50) for k, one in enumerate(cells)]
    rows = [row(f"a/train/{k}", one, question=f"{k}?") for k, one in enumerate(shown)]
    verdicts = judge([], rows + rows)
    assert [bool(verdict) for verdict in verdicts] == [False] * 2500 + [True] * 2500


def about_text(row_id: str, *turns: str, answer: str = "Hi") -> Trace:
    source, split, _ = row_id.split("/")
    return trace(Example(row_id, source, split, "Hello?", (answer,), "m", turns=turns), [])


def test_a_short_question_about_text_leaks_by_its_words(row: Make, pictures: list[Picture]) -> None:
    held = [about_text("mmlu/test/0")]
    same, other = about_text("mix/train/0"), about_text("mix/train/1", answer="No")
    shown = row("mix/train/2", pictures[0], question="Hello?", references=("Hi",))
    leak, *none = judge(held, [same, other, shown])
    assert leak == Verdict("leak", "question is in benchmark mmlu/test", "mmlu/test/0")
    assert none == [None, None]


def test_conversations_about_text_repeat_each_other_if_all_turns_are_equal() -> None:
    rows = [about_text("mix/train/0", "And?", "Yes"), about_text("mix/train/1", "And?", "No")]
    rows += [about_text("mix/train/2"), about_text("mix/train/3", "And?", "Yes")]
    *kept, repeated = judge([], rows)
    assert kept == [None] * 3
    assert repeated == Verdict("duplicate", "repeats another row", "mix/train/0, similarity 1.00")
