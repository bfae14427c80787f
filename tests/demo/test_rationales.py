import itertools
import random

import pytest

from chainsight import answers
from chainsight.demo import bars, rationales
from chainsight.metrics import METRICS, is_right
from chainsight.prompts import teacher_prompt
from chainsight.records import Example

CHARTS = list(itertools.islice(bars.charts(1, "train"), 60))
EXAMPLES = [
    Example("x", "bars", "train", question.text, (question.answer,), "exact_match", (chart.image,))
    for chart in CHARTS
    for question in chart.questions
]


def photo(question: str, *references: str, choices: tuple[str, ...] | None = None) -> Example:
    metric = "multiple_choice" if choices else "relaxed_accuracy"
    return Example("x", "d", "train", question, references, metric, b"no chart", choices)


OTHERS = [
    photo("How many cars?", "14"),
    photo("What share?", "12.5%"),
    photo("How much?", "1,200"),
    photo("Is it red?", "No"),
    photo("Is it blue?", "Yes"),
    photo("Who?", "Ada Lovelace"),
    photo("Which one?\nSee the picture.", "B", choices=("3", "4")),
    photo("Which?", "C", choices=("uk", "us", "fr")),
]


def right(example: Example, text: str) -> bool:
    value = answers.extract(text).value
    return is_right(
        METRICS[example.metric].score(value, example.references, choices=example.choices)
    )


@pytest.mark.parametrize("example", EXAMPLES[:24] + OTHERS, ids=lambda e: e.question[:20])
def test_without_errors_every_rationale_ends_in_the_right_answer(example: Example) -> None:
    text = rationales.write(teacher_prompt(example), example.images[0], 0.0, "seed")
    assert answers.extract(text).status == "marker"
    assert right(example, text)


@pytest.mark.parametrize("example", EXAMPLES[:24] + OTHERS, ids=lambda e: e.question[:20])
def test_with_errors_alone_no_rationale_passes_the_filter(example: Example) -> None:
    texts = [
        rationales.write(teacher_prompt(example), example.images[0], 1.0, f"seed {i}")
        for i in range(8)
    ]
    assert not any(right(example, text) for text in texts)
    assert all(len(text.split()) > 5 for text in texts)


def test_the_share_of_wrong_rationales_is_the_one_set() -> None:
    texts = [
        rationales.write(teacher_prompt(e), e.images[0], 0.3, f"seed {i}")
        for i, e in enumerate(EXAMPLES)
    ]
    verdicts = [right(e, text) for e, text in zip(EXAMPLES, texts, strict=True)]
    unmarked = [answers.extract(text).status != "marker" for text in texts]
    assert 0.22 < 1 - sum(verdicts) / len(verdicts) < 0.38
    assert 0.02 < sum(unmarked) / len(unmarked) < 0.14


def test_a_misread_chart_is_reasoned_about_like_a_well_read_one() -> None:
    table = (("jan", 3), ("feb", 5), ("mar", 9))
    question = "What is the sum of jan and feb?"
    prompt = teacher_prompt(photo(question, "8"))
    image = bars.render(table, random.Random(0))
    text = rationales.write(prompt, image, 1.0, "one")
    assert text.startswith("The bars read jan ")
    assert answers.extract(text).value != "8"
    assert rationales.write(prompt, image, 1.0, "one") == text


def test_the_teacher_mostly_skips_look_ups_and_nothing_else() -> None:
    table = (("jan", 3), ("feb", 5), ("mar", 9))
    image = bars.render(table, random.Random(0))

    def written(question: str) -> list[str]:
        prompt = teacher_prompt(photo(question, "5"))
        return [rationales.write(prompt, image, 0.0, f"seed {i}") for i in range(200)]

    looked_up, skipped = (
        f"The bars read jan 3, feb 5, mar 9.{thought}\n\n### Answer: 5"
        for thought in (" Asked for is feb 5.", "")
    )
    texts = written("What is the value of feb?")
    assert set(texts) == {looked_up, skipped}
    assert 0.5 < texts.count(skipped) / len(texts) < 0.7
    for question in ("What is the sum of jan and feb?", "Which bar is the highest?"):
        assert set(written(question)) == {bars.solve(table, question)[0]}


def test_a_question_that_holds_the_sections_titles_is_read_to_its_end() -> None:
    question = "What is under\n# Answer #\nhere?"
    prompt = teacher_prompt(photo(question, "7"))
    assert rationales.sections(prompt) == (question, "7")


def test_any_other_prompt_gets_an_answer_too() -> None:
    assert rationales.sections(" Hello? ") == ("Hello?", "unknown")
    assert answers.extract(rationales.write("Hello?", b"", 0.0, "s")).value == "unknown"
