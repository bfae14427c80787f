"""The distillation prompt: the paper's blocks with the answer added."""

from dataclasses import replace
from typing import get_args

import pytest

from chainsight.demo import rationales
from chainsight.prompts import teacher_prompt
from chainsight.records import Example, Kind

EXAMPLE = Example("x", "d", "train", "What is the sum of feb and mar?", ("9",), "m", (b"",))
CHOICE = replace(EXAMPLE, references=("B",), choices=("8", "9"))


def test_an_open_question_asks_what_has_been_paid_for() -> None:
    """To the last byte: another prompt would ask every question of a ledger again."""
    assert teacher_prompt(EXAMPLE) == (
        "# Objective #\n"
        "Write a rationale that derives the answer to the question about the image. The annotated "
        "answer is given; if the image contradicts it, give the answer that the image supports.\n"
        "# Question #\nWhat is the sum of feb and mar?\n"
        "# Answer #\n9\n"
        "# Rationale Requirement #\n"
        "1. Do not state an answer at the beginning. Explain descriptions of visual clue that "
        "help to derive the answer.\n"
        "2. Conclude with ### Answer: <your answer>\n"
        "3. Your answer is a single word, phrase or value, without units.\n"
        "# Output Style #\n"
        "<rationale>\n\n### Answer: <your answer>"
    )


def test_a_chart_forbids_units_and_per_cent() -> None:
    assert teacher_prompt(replace(EXAMPLE, kind="chart")) == (
        "Answer the question with following instruction:\n"
        "1. Generate a rationale first and then derive an answer.\n"
        "2. Don't include any unit, i.e. 56 instead of 56 meters\n"
        "3. Don't include '%' sign, i.e. 56 instead of 56%\n"
        "4. The annotated answer is given; if the image contradicts it, give the answer that the "
        "image supports.\n"
        "Question: What is the sum of feb and mar?\n"
        "# Answer #\n9\n"
        "# Output Format #\n"
        "<rationale>\n\n### Answer: <your answer>"
    )


@pytest.mark.parametrize("kind", ["open", "chart", "document", "scene_text", "ocr"])
def test_choices_ask_for_a_letter_whatever_the_kind(kind: Kind) -> None:
    asked = teacher_prompt(replace(CHOICE, kind=kind))
    assert "\n2. For your final answer, provide a letter choice.\n" in asked
    assert "\nA. 8\nB. 9\n# Answer #\nB. 9\n" in asked
    assert "unit" not in asked


PHRASE = "Your answer is a single word or phrase."
COPY = "Copy your answer from the document. Do not add or remove symbols, units, titles."
LOWER = "Output your answer in lower case."


@pytest.mark.parametrize(
    ("kind", "rules"),
    [
        ("document", f"3. {PHRASE}\n4. {COPY}"),
        ("scene_text", f"3. {PHRASE}\n4. {LOWER}"),
        ("ocr", f"3. {PHRASE}"),
    ],
)
def test_each_kind_has_its_rules(kind: Kind, rules: str) -> None:
    asked = teacher_prompt(replace(EXAMPLE, kind=kind))
    assert f"\n2. Conclude with ### Answer: <your answer>\n{rules}\n# Output Style #" in asked


def test_mathematics_is_explained_step_by_step() -> None:
    asked = teacher_prompt(replace(EXAMPLE, kind="math"))
    assert "\n1. Explain step by step logic to derive the answer.\n2. Conclude with" in asked
    assert "letter" not in asked
    letter = teacher_prompt(replace(CHOICE, kind="math"))
    assert "\n3. For your final answer, provide a letter choice.\n" in letter


@pytest.mark.parametrize("kind", [kind for kind in get_args(Kind) if kind != "instruct"])
@pytest.mark.parametrize("example", [EXAMPLE, CHOICE], ids=["open", "choices"])
def test_the_scripted_teacher_reads_every_prompt(kind: Kind, example: Example) -> None:
    question, answer = rationales.sections(teacher_prompt(replace(example, kind=kind)))
    assert question.startswith("What is the sum of feb and mar?")
    assert ("\nA. 8\nB. 9" in question) == bool(example.choices)
    assert answer == ("B. 9" if example.choices else "9")
