"""Numbers of a rationale against the chart's table."""

import itertools
import random

import pytest

from chainsight.demo import bars, rationales
from chainsight.quality.tables import Table, agreement, table_of
from chainsight.records import Example

SALES = Table((("Country", "2015", "2016"), ("Spain", "12", "1,200"), ("New Zealand", "30", "40%")))
BARS = Table((("", ""), ("jan", "3"), ("feb", "5"), ("mar", "4")))


@pytest.mark.parametrize(
    ("thought", "table", "share"),
    [
        ("The bars read jan 3, feb 5, mar 4. 5 plus 4 is 9.", BARS, 1.0),
        ("The bars read jan 4, feb 5, mar 4.", BARS, 2 / 3),
        ("jan is 4.", BARS, 0.0),
        ("jan 3, feb 5, so may 2.", BARS, 1.0),  # a label of no table: a difference all the same
        ("jan 3, feb 5, mar 2.", BARS, 2 / 3),  # not so beside a label
        ("3 for jan, 5 for feb.", BARS, 1.0),
        ("The bar feb is 5 high and jan 3. Their ratio is 60 %.", BARS, 1.0),
        ("jan 3, feb 5, mar 4. Together that is 12, a mean of 4.", BARS, 1.0),
        ("jan 3, feb 5, mar 4. Together that is 13.", BARS, 0.75),
        ("The highest is 5.", BARS, 1.0),
        ("There are 3 bars.", BARS, 1.0),
        ("The highest is 8.", BARS, 0.0),
        ("Spain had 12 in 2015 and 1200 in 2016.", SALES, 1.0),
        ("Spain had 12.3 in 2015.", SALES, 1.0),
        ("Spain had 13 in 2015.", SALES, 0.0),
        ("In 2014 it was 12.", SALES, 0.5),
        ("New Zealand had 30.", SALES, 1.0),
        ("Spain had 30.", SALES, 0.0),
        ("1. New Zealand: 40%\n2. Spain: $12", SALES, 1.0),
        ("It is the 1st of its kind, one of many.", SALES, None),
        ("The line rises.", SALES, None),
        ("", SALES, None),
    ],
)
def test_numbers_agree_with_cells_or_follow_from_them(
    thought: str, table: Table, share: float | None
) -> None:
    assert agreement(thought, table) == (share if share is None else pytest.approx(share))


def test_numbers_of_the_question_are_given() -> None:
    asked = "How many bars are above 3?"
    assert agreement("Above 3: feb 5, mar 4. That makes 2.", BARS, asked) == 1.0
    assert agreement("Above 3: feb 5, mar 4. That makes 7.", BARS, asked) == pytest.approx(2 / 3)


def test_a_million_is_counted_out() -> None:
    table = Table((("", "sold"), ("Spain", "1200000"), ("Italy", "2.5")))
    assert agreement("Spain sold 1.2 million, Italy 2.5 million.", table) == 1.0


def test_a_misread_bar_is_seen_and_a_right_reading_never_blamed() -> None:
    right, misread = [], []
    for chart in itertools.islice(bars.charts(0, "train"), 60):
        table = Table((("", ""), *((name, str(value)) for name, value in chart.table)))
        for asked in chart.questions:
            text, _ = bars.solve(chart.table, asked.text)
            right.append(agreement(text.partition("###")[0], table, asked.text))
            rng = random.Random(asked.text)
            wrong = rationales._misread(chart.table, asked.text, asked.answer, rng)
            if wrong:
                misread.append(agreement(wrong.partition("###")[0], table, asked.text))
    assert set(right) == {1.0}
    blamed = [share for share in misread if share is not None and share < 1.0]
    assert len(blamed) > 0.9 * len(misread) > 180


# --- where tables come from ------------------------------------------------------------------

CHART = next(bars.charts(0, "train"))
EXAMPLE = Example("b", "bars", "train", "How high?", ("3",), "exact_match", (CHART.image,))


def test_a_bar_chart_carries_its_table() -> None:
    table = table_of(EXAMPLE)
    assert table is not None
    assert table.rows[1:] == tuple((name, str(value)) for name, value in CHART.table)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("Year,Sales\n2015,12\n", (("Year", "Sales"), ("2015", "12"))),
        ('a,b\n"x, y","1,200"\n', (("a", "b"), ("x, y", "1,200"))),
        ("a,b,c\nx,1\n", (("a", "b", "c"), ("x", "1", ""))),
    ],
)
def test_an_example_may_bring_its_table_as_csv(text: str, rows: tuple[tuple[str, ...]]) -> None:
    table = table_of(Example("c", "x", "train", "?", ("1",), "exact_match", meta={"table": text}))
    assert table is not None
    assert table.rows == rows


@pytest.mark.parametrize("text", ["", "no table", "a,b\n", "\n\n"])
def test_what_has_no_body_is_no_table(text: str) -> None:
    example = Example("c", "x", "train", "?", ("1",), "exact_match", meta={"table": text})
    assert table_of(example) is None


def test_an_image_of_another_dataset_is_not_opened() -> None:
    photo = Example("c", "x", "train", "?", ("1",), "exact_match", (b"<html>",))
    assert table_of(photo) is None


def test_a_long_list_of_numbers_ends_in_time() -> None:
    """Bounded by counts: 10,000 characters are looked at, and twelve numbers computed with."""
    endless = " ".join(str(n) for n in range(10**5))
    assert agreement(endless, SALES) is not None
