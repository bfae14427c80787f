"""The annotator against chains whose first wrong word is planted."""

import itertools
import random

import pytest

from chainsight.demo import bars, rationales
from chainsight.demo.steps import FAULTS, WORD, Slip, Unreadable, first_slip
from chainsight.prompts import MARKER, teacher_prompt
from chainsight.records import Example

TABLE = (("jan", 3), ("feb", 5), ("mar", 9))
SUM = "What is the sum of jan and mar?"
VALUE, COUNT = "How high is feb?", "How many bars are above 3?"
HIGHEST, DIFFERENCE = "Which bar is the highest?", "How far apart are jan and mar?"
CHARTS = list(itertools.islice(bars.charts(2, "train"), 50))
ASKED = [(chart, question) for chart in CHARTS for question in chart.questions]


def taught(
    chart: bars.Chart, question: bars.ChartQuestion, error_rate: float, num_seeds: int = 6
) -> set[str]:
    """What the scripted teacher writes about a question."""
    references, images = (question.answer,), (chart.image,)
    example = Example("x", "bars", "t", question.text, references, "exact_match", images)
    prompt, seeds = teacher_prompt(example), (f"seed {i}" for i in range(num_seeds))
    return {rationales.write(prompt, chart.image, error_rate, seed) for seed in seeds}


@pytest.mark.parametrize("kind", bars.KINDS)
def test_what_the_teacher_writes_without_errors_is_right(kind: bars.Kind) -> None:
    for chart, question in ASKED:
        if question.kind == kind:
            for text in taught(chart, question, 0.0):
                assert first_slip(chart.table, question.text, text) is None, text


@pytest.mark.parametrize("kind", bars.KINDS)
def test_the_teachers_errors_are_misread_bars_and_answers_of_another_kind(kind: bars.Kind) -> None:
    for chart, question in ASKED:
        if question.kind != kind:
            continue
        for text in taught(chart, question, 1.0):
            slip = first_slip(chart.table, question.text, text)
            if MARKER not in text:
                assert isinstance(slip, Unreadable), text
            elif not text.startswith(f"The bars read {bars.listing(chart.table)}."):
                assert isinstance(slip, Slip), text
                assert slip.fault == "reading"
            elif isinstance(slip, Slip):
                assert slip.fault in ("answer", "leap")
            else:  # a bar's name is answered with "no", which is no bar
                assert isinstance(slip, Unreadable), text
                assert text[slip.at :] == "no"


def planted(chart: bars.Chart, question: bars.ChartQuestion, rng: random.Random) -> tuple[str, int]:
    """A derivation with one number or name replaced, and where; half go on from the error."""
    text, answer = bars.solve(chart.table, question.text)
    numbers, names = {str(n) for n in range(20)}, set(bars.NAMES)
    word = rng.choice([w for w in WORD.finditer(text) if w.group() in numbers | names])
    others = sorted((numbers if word.group() in numbers else names) - {word.group()})
    rest = text[word.end() :]
    if rng.random() < 0.5:
        rest = rest.replace(answer, rng.choice(others))
    return text[: word.start()] + rng.choice(others) + rest, word.start()


def fault_at(text: str, start: int) -> str:
    if MARKER in text[:start]:
        return "answer"
    begun, _, sentence = text[:start].rpartition(".")
    if not begun:
        return "reading"
    if sentence.startswith((" Asked", " Above")):
        return "look-up"
    return "conclusion" if sentence.startswith(" The") else "computation"


def test_a_planted_error_is_found_where_it_is() -> None:
    rng, seen = random.Random(0), set()
    for chart, question in ASKED * 4:
        text, start = planted(chart, question, rng)
        slip = first_slip(chart.table, question.text, text)
        assert isinstance(slip, Slip), (question.text, text)
        if slip.word[0] != start:  # the other bar may come first; then its number is wrong
            assert question.kind in ("sum", "difference"), (question.text, text)
            assert fault_at(text, start) in ("look-up", "computation")
            assert start < slip.word[0]
            assert "." not in text[start : slip.word[0]]
            continue
        assert slip.fault == fault_at(text, start), (question.text, text)
        assert slip.step[0] <= slip.word[0] < slip.word[1] <= slip.step[1]
        seen.add((question.kind, slip.fault))
    assert {kind for kind, _ in seen} == set(bars.KINDS)
    assert {fault for _, fault in seen} == set(FAULTS) - {"leap"}


def read(question: str, thought: str, answer: str, bars: str = "jan 3, feb 5, mar 9.") -> str:
    """What is said of a chain about TABLE: fault, wrong word, wrong step."""
    chain = f"The bars read {bars}{thought}\n\n{MARKER} {answer}"
    slip = first_slip(TABLE, question, chain)
    if isinstance(slip, Slip):
        return f"{slip.fault}: {chain[slice(*slip.word)]} in {chain[slice(*slip.step)]!r}"
    return "right" if slip is None else f"unreadable: {chain[slip.at :]!r}"


ASKED_SUM = " Asked for are jan 3 and mar 9."


@pytest.mark.parametrize(
    ("question", "thought", "answer", "said"),
    [
        (SUM, f"{ASKED_SUM} 3 plus 9 is 12.", "12", "right"),
        (SUM, " Asked for are mar 9 and jan 3. 3 plus 9 is 12.", "12", "right"),
        (SUM, " 9 plus 3 is 12.", "12", "right"),
        (VALUE, "", "5", "right"),
        (VALUE, " Asked for is feb 5.", "5", "right"),
        (HIGHEST, "", "mar", "right"),
        (COUNT, " That makes 2.", "2", "right"),
        (SUM, " Asked for are jan 3 and feb 5. 3 plus 5 is 8.", "8", "look-up: feb in ' feb 5'"),
        (SUM, " Asked for are jan 4 and mar 9.", "13", "look-up: 4 in ' Asked for are jan 4 '"),
        (SUM, f"{ASKED_SUM} 3 plus 3 is 12.", "12", "computation: 3 in ' 3 plus 3 is 12'"),
        (SUM, f"{ASKED_SUM} 9 minus 3 is 6.", "6", "computation: minus in ' 9 minus 3 is 6'"),
        (DIFFERENCE, f"{ASKED_SUM} 3 minus 9 is 6.", "6", "computation: 3 in ' 3 minus 9 is 6'"),
        (COUNT, " Above 3: mar 9. That makes 1.", "1", "look-up: mar in ' Above 3: mar 9'"),
        (COUNT, " Above 3: feb 5. That makes 1.", "1", "look-up: . in '.'"),
        (COUNT, " Above 3: none. That makes 0.", "0", "look-up: none in ' Above 3: none'"),
        (HIGHEST, " The lowest is 3.", "jan", "conclusion: lowest in ' The lowest is 3'"),
        (HIGHEST, " The highest is 5.", "feb", "conclusion: 5 in ' The highest is 5'"),
        (VALUE, " Asked for is feb 5.", "6", "answer: 6 in '\\n\\n### Answer: 6'"),
        (VALUE, "", "6", "leap: 6 in '\\n\\n### Answer: 6'"),
        (VALUE, "", "feb", "leap: feb in '\\n\\n### Answer: feb'"),
        (VALUE, " Asked is feb 5.", "5", "unreadable: 'is feb 5.\\n\\n### Answer: 5'"),
        (VALUE, "", "5 or so", "unreadable: 'or so'"),
    ],
)  # fmt: skip
def test_a_chain_is_wrong_where_no_right_one_goes_on_like_it(
    question: str, thought: str, answer: str, said: str
) -> None:
    assert read(question, thought, answer) == said


@pytest.mark.parametrize(
    ("bars", "said"),
    [
        ("jan 3, feb 4, mar 9.", "reading: 4 in ' feb 4'"),
        ("jan 3, mar 9.", "reading: mar in ' mar 9'"),
        ("jan 3, feb 5.", "reading: . in '.'"),
        ("jan 3, feb 5, mar 9, apr 1.", "reading: , in ', apr 1'"),
        ("jan 3, feb", "unreadable: '### Answer: 12'"),
    ],
)
def test_misread_left_out_and_invented_bars_are_reading_errors(bars: str, said: str) -> None:
    assert read(SUM, "", "12", bars).startswith(said)


def test_a_chain_without_its_end_is_unreadable() -> None:
    assert first_slip(TABLE, SUM, "") == Unreadable(0)
    assert first_slip(TABLE, SUM, "The bars read jan 3") == Unreadable(19)


def test_a_question_about_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="not a question about bars"):
        first_slip(TABLE, "Who drew it?", "")
    with pytest.raises(ValueError, match="no bar 'jun'"):
        first_slip(TABLE, "How high is jun?", "")
