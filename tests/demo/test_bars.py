"""The chart generator: deterministic, splits apart, every question answered by its own solver."""

import io
import random
from itertools import islice

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from chainsight.demo import bars
from chainsight.prompts import MARKER

TABLE = (("jan", 3), ("feb", 5), ("mar", 4), ("apr", 1))


def take(seed: int, split: str, count: int) -> list[bars.Chart]:
    return list(islice(bars.charts(seed, split), count))


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert take(3, "train", 20) == take(3, "train", 20)


def test_another_seed_gives_other_charts() -> None:
    assert take(3, "train", 5) != take(4, "train", 5)


def test_no_table_or_image_is_in_two_splits() -> None:
    drawn = {split: take(0, split, 300) for split in bars.SPLITS}
    for split, charts in drawn.items():
        others = [chart for name in drawn if name != split for chart in drawn[name]]
        assert not {c.table for c in charts} & {c.table for c in others}
        assert not {c.image for c in charts} & {c.image for c in others}


def test_no_table_comes_twice_in_a_split() -> None:
    tables = [chart.table for chart in take(0, "test", 500)]
    assert len(set(tables)) == len(tables)


def test_no_question_is_asked_twice_about_a_chart() -> None:
    for chart in take(0, "train", 800):
        assert len({question.text for question in chart.questions}) == bars.QUESTIONS_PER_CHART


def test_every_hundredth_belongs_to_exactly_one_split() -> None:
    parts = [part for parts in bars.SPLITS.values() for part in parts]
    assert sorted(parts) == list(range(100))


def test_an_unknown_split_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no split 'dev'.*pretrain, train, validation, test"):
        next(bars.charts(0, "dev"))


def test_tables_keep_to_their_rules() -> None:
    for chart in take(1, "train", 300):
        names, heights = zip(*chart.table, strict=True)
        assert names == bars.NAMES[: len(names)]
        assert 3 <= len(names) <= 6
        assert all(1 <= height <= 9 for height in heights)
        assert heights.count(max(heights)) == heights.count(min(heights)) == 1


def test_pictures_are_small_png_files_with_their_table() -> None:
    for chart in take(1, "train", 50):
        with Image.open(io.BytesIO(chart.image)) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "RGB", (64, 64))
        assert bars.read_table(chart.image) == chart.table


def test_a_bar_is_as_high_as_its_value() -> None:
    with Image.open(io.BytesIO(bars.render(TABLE, random.Random(0)))) as image:
        paper = image.getpixel((0, 0))
        for number, (_, value) in enumerate(TABLE):
            column = bars.LEFT + bars.PITCH * number + 1
            painted = [image.getpixel((column, row)) != paper for row in range(bars.FLOOR)]
            assert sum(painted) == value * bars.UNIT


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_has_no_table(content: bytes) -> None:
    assert bars.read_table(content) is None


@pytest.mark.parametrize("text", [None, "not json", "[1, 2]", '[["jan", "x"]]'])
def test_a_foreign_png_has_no_table(text: str | None) -> None:
    info = PngInfo()
    if text is not None:
        info.add_text(bars.TABLE_KEY, text)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=info)
    assert bars.read_table(file.getvalue()) is None


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is the value of mar?", "4"),
        ("How high is apr?", "1"),
        ("What is the sum of jan and feb?", "8"),
        ("How much are feb and mar together?", "9"),
        ("What is the difference between apr and feb?", "4"),
        ("How far apart are jan and apr?", "2"),
        ("How many bars are above 3?", "2"),
        ("How many bars are higher than 1?", "3"),
        ("How many bars are above 9?", "0"),
        ("Which bar is the highest?", "feb"),
        ("Which bar is the tallest?", "feb"),
        ("Which bar is the lowest?", "apr"),
        ("Which bar is the shortest?", "apr"),
    ],
)
def test_questions_are_solved(question: str, answer: str) -> None:
    rationale, solved = bars.solve(TABLE, question)
    assert solved == answer
    assert rationale.startswith("The bars read jan 3, feb 5, mar 4, apr 1. ")
    assert rationale.endswith(f"\n\n{MARKER} {answer}")


def test_a_rationale_restates_then_computes() -> None:
    rationale, _ = bars.solve(TABLE, "What is the difference between apr and feb?")
    assert "Asked for are apr 1 and feb 5. 5 minus 1 is 4." in rationale


def test_rationales_stay_far_below_the_cut_of_ninety_words() -> None:
    for chart in take(2, "train", 300):
        for question in chart.questions:
            rationale, answer = bars.solve(chart.table, question.text)
            assert answer == question.answer
            assert len(rationale.split(" ")) < 60


def test_every_template_is_parsed_as_its_own_kind() -> None:
    for kind, templates in bars.TEMPLATES.items():
        for template in templates:
            assert bars._parse(template.format(a="jan", b="mar", n=4))[0] == kind


@pytest.mark.parametrize("question", ["How old is jan?", "", "What is the value of mar? please"])
def test_a_foreign_question_is_refused(question: str) -> None:
    with pytest.raises(ValueError, match="not a question about bars"):
        bars.solve(TABLE, question)


def test_an_absent_bar_is_refused_with_those_present() -> None:
    with pytest.raises(ValueError, match="no bar 'jun' in the chart; it has jan, feb, mar, apr"):
        bars.solve(TABLE, "What is the value of jun?")
