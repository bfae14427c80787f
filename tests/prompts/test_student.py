"""The words of the paper and of its peers, to the last character."""

from dataclasses import replace
from typing import get_args

import pytest

from chainsight.config import PromptStyle
from chainsight.prompts import STYLES, SUFFIXES, SYSTEM, student_prompt, system_prompt, target
from chainsight.records import MODES, Example

OPEN = Example("x", "chartqa", "test", "How many?", ("14",), "m", (b"",))
CHOICE = replace(OPEN, dataset="ai2d", question="Which?", references=("B",), choices=("uk", "us"))


def test_the_papers_templates() -> None:
    """arXiv 2410.16198 and the rows of its public data."""
    assert student_prompt(OPEN, "direct") == ("How many?\nAnswer the question with a short answer.")
    assert student_prompt(OPEN, "cot") == (
        "How many?\nGenerate a reason first and then output a short answer."
    )
    assert student_prompt(CHOICE, "direct") == (
        "Which?\nA. uk\nB. us\nAnswer with the option's letter from the given choices directly."
    )
    assert student_prompt(CHOICE, "cot") == (
        "Which?\nA. uk\nB. us\nGenerate a reason first and then output a letter answer."
    )
    assert len(set(SUFFIXES.values())) == 4


@pytest.mark.parametrize(
    ("style", "dataset", "wanted"),
    [
        ("lmms_eval", "chartqa", "How many?\nAnswer the question with a single word."),
        ("lmms_eval", "docvqa", "How many?\nAnswer the question using a single word or phrase."),
        ("lmms_eval", "mmmu", "How many?\n\nAnswer the question using a single word or phrase."),
        ("lmms_eval", "ocrbench", "How many?"),
        ("lmms_eval", "mathvista", "How many?\nAnswer the question with a short answer."),
        ("vlmevalkit", "chartqa", "How many?\nAnswer the question using a single word or phrase."),
        ("vlmevalkit", "textvqa", "How many?\nAnswer the question using a single word or phrase."),
        ("vlmevalkit", "mmmu", "How many?\nAnswer the question directly."),
        ("vlmevalkit", "ocrbench", "How many?"),
    ],
)
def test_the_peers_direct_words(style: PromptStyle, dataset: str, wanted: str) -> None:
    assert student_prompt(replace(OPEN, dataset=dataset), "direct", style) == wanted


@pytest.mark.parametrize("style", get_args(PromptStyle))
def test_all_ask_for_a_letter_alike(style: PromptStyle) -> None:
    letter = "Answer with the option's letter from the given choices directly."
    assert student_prompt(CHOICE, "direct", style).endswith(f"B. us\n{letter}")


def test_mmstar_of_lmms_eval_goes_without_the_full_stop() -> None:
    asked = student_prompt(replace(CHOICE, dataset="mmstar"), "direct", "lmms_eval")
    assert asked.endswith("the given choices directly")


def test_the_peers_ask_for_reasons_in_their_own_way() -> None:
    assert student_prompt(OPEN, "cot", "lmms_eval") == "How many?"
    assert "<answer>...</answer>" in system_prompt("cot", "lmms_eval")
    assert "'Answer: \\boxed{$LETTER}'" in student_prompt(CHOICE, "cot", "vlmevalkit")
    assert "'Answer: \\boxed{$FINAL_ANSWER}'" in student_prompt(OPEN, "cot", "vlmevalkit")
    assert {system_prompt("direct", style) for style in STYLES} == {SYSTEM}
    assert system_prompt("cot") == system_prompt("cot", "vlmevalkit") == SYSTEM


@pytest.mark.parametrize("style", get_args(PromptStyle))
def test_a_request_stands_as_it_is_and_is_answered_word_for_word(style: PromptStyle) -> None:
    request = replace(OPEN, kind="instruct", question="Write a poem.\n", references=(" Rose,\n",))
    assert {student_prompt(request, mode, style) for mode in MODES} == {"Write a poem.\n"}
    assert target(request) == " Rose,\n"
    assert target(CHOICE) == "B. us"


def test_every_style_has_a_name_in_the_configuration() -> None:
    assert tuple(STYLES) == get_args(PromptStyle)
