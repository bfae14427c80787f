"""What is said of a rationale's words: cases on both sides of each rule."""

import pytest

from chainsight.quality.texts import begins_with_answer, num_words, repetition

ITEMS = "How many food items are shown in the bar graph?"
YEAR = "Which year had the highest value?"
FEB = "What is the value of feb?"
PLACES = ("uk", "us")


@pytest.mark.parametrize(
    ("thought", "answer", "question", "choices"),
    [
        ("14. The axis lists them.", "14", ITEMS, ()),
        ("**14**\nThe axis lists them.", "14", ITEMS, ()),
        ("The answer is 14 because the axis lists them.", "14", ITEMS, ()),
        ("The answer is **14**, as listed.", "14", ITEMS, ()),
        ("**Answer: 14**\nThe axis lists them.", "14", ITEMS, ()),
        ("### Answer: 14\nThe axis lists them.", "14", ITEMS, ()),
        ("Rationale: The answer is 3.5 percent.", "3.5", ITEMS, ()),
        ("The correct answer to the question is 14, as listed.", "14", ITEMS, ()),
        ("Looking at it, the answer is 1,200.", "1200", ITEMS, ()),
        ("Yes, the red one is.", "Yes", "Is the red one higher?", ()),
        ("No bars are above 5.", "No", "Are bars above 5?", ()),
        ("Red, because the line is.", "red", "Which color is the line?", ()),
        ("B is the correct option.", "B", "Where is it?", PLACES),
        ("Option B is correct.", "B", "Where is it?", PLACES),
        ("The correct option is B. us", "B", "Where is it?", PLACES),
        ("The answer is us.", "B", "Where is it?", PLACES),
        ("B. us\nThe map shows it.", "B", "Where is it?", PLACES),
        ("There are 14 food items shown in the graph.", "14", ITEMS, ()),
        ("The value of feb is 5.", "5", FEB, ()),
        ("2015 is the year with the highest value.", "2015", YEAR, ()),
        ("The color of the car is red.", "red", "What color is the car?", ()),
    ],
)
def test_an_answer_given_away_is_found(
    thought: str, answer: str, question: str, choices: tuple[str, ...]
) -> None:
    assert begins_with_answer(thought, answer, question, choices)


@pytest.mark.parametrize(
    ("thought", "answer", "question", "choices"),
    [
        ("", "14", ITEMS, ()),
        ("The axis lists 14 entries.", "", ITEMS, ()),
        ("The y-axis lists 14 entries.", "14", ITEMS, ()),
        ("The bars read jan 3, feb 5, mar 4.", "5", "How high is feb?", ()),
        ("The bars have the values jan 3, feb 5.", "5", FEB, ()),
        ("Red, blue and green lines are shown.", "Red", "Which color is the highest line?", ()),
        ("In 2015 the value was 12 and then fell.", "2015", YEAR, ()),
        ("2015, 2016 and 2017 are on the axis.", "2015", YEAR, ()),
        ("The years 2015 and 2016 had the highest value.", "2016", f"{YEAR} 2015 or 2016?", ()),
        ("To find the answer, we look at the bar that is 14 high.", "14", ITEMS, ()),
        ("We read the axis. The answer is 14.", "14", ITEMS, ()),
        ("A bar chart shows sales.", "A", "Which one is it?", ("sales", "costs")),
        ("The image shows a red car.", "red", "What color is the car?", ()),
        ("U.S. data show 12 columns.", "12", "How many people are there?", ()),
        ("The answer is not easy: look at 14 first.", "15", ITEMS, ()),
    ],
)
def test_a_first_look_at_the_picture_is_no_answer(
    thought: str, answer: str, question: str, choices: tuple[str, ...]
) -> None:
    assert not begins_with_answer(thought, answer, question, choices)


@pytest.mark.parametrize(
    ("thought", "share"),
    [
        ("", 0.0),
        ("one two three", 0.0),
        ("one two three four", 0.0),
        ("a b c d a b c d", 0.2),
        ("A b c d a B c D", 0.2),
        ("a a a a a", 0.5),
        ("no more of this. " * 50, 1 - 4 / 197),
    ],
)
def test_repetition_is_the_share_of_four_word_sequences_seen_before(
    thought: str, share: float
) -> None:
    assert repetition(thought) == pytest.approx(share)


def test_words_are_what_stands_between_spaces() -> None:
    assert num_words("The y-axis lists  Lamb,\nCorn (2).") == 6
