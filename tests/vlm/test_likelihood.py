"""Candidates scored together: what each has alone, for the tokens of the prompt and the answers."""

import pytest
import torch

from chainsight.vlm import checkpoint
from chainsight.vlm.likelihood import logprobs
from chainsight.vlm.sampling import generate
from chainsight.vlm.template import Prompt, Row
from tests.vlm.plain import inputs


@pytest.fixture(scope="module")
def student(student_folder):
    return checkpoint.load(student_folder)


@pytest.fixture(scope="module")
def prompt(png):
    return Prompt("q", "How many bars are there?", (png("red", (64, 20)),))


def alone(student, row, tokens):
    """By a forward pass of the whole, one answer, the library's own attention."""
    whole = Row(row.key, row.prompt_ids, tuple(tokens), row.images)
    with torch.no_grad():
        logps = student.model(**inputs(student, whole)).logits[0].log_softmax(-1)
    start = len(row.prompt_ids) - 1
    return sum(float(logps[start + i, token]) for i, token in enumerate(tokens))


def test_candidates_have_the_log_probabilities_that_they_have_alone(student, prompt):
    row = student.template.row(prompt)
    (said,) = generate(student, [prompt], max_new_tokens=60, temperature=1.5, num_candidates=16)
    answers = [one.tokens for one in said]
    assert {one.truncated for one in said} == {True, False}  # with and without an end-of-turn
    wanted = [alone(student, row, tokens) for tokens in answers]
    assert logprobs(student, row, answers) == pytest.approx(wanted, abs=1e-4)


def test_a_question_costs_its_prompt_and_its_answers_and_equal_ones_count_once(student, prompt):
    row = student.template.row(prompt)
    tokens = []
    hook = student.model.model.language_model.register_forward_pre_hook(
        lambda _, given, options: tokens.append(options["inputs_embeds"].shape[:2].numel()),
        with_kwargs=True,
    )
    try:
        found = logprobs(student, row, [(20, 21, 22), (20, 4), (20, 4), (30,)])
    finally:
        hook.remove()
    assert tokens == [len(row.prompt_ids) + 3 + 2 + 1]
    assert found[1] == found[2] != found[0]
