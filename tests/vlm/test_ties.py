"""Tokens that are equally likely up to rounding: the company of a row does not choose."""

import copy
from dataclasses import replace

import pytest
import torch

from chainsight.vlm import checkpoint, sampling, ties
from chainsight.vlm.sampling import continue_rows, generate
from chainsight.vlm.template import Prompt
from tests.vlm.plain import inputs


@pytest.fixture(scope="module")
def student(student_folder):
    return checkpoint.load(student_folder)


@pytest.fixture(scope="module")
def torn(student):
    """Tokens 2 k and 2 k + 1 are always equally likely, but for the last digits."""
    model = copy.deepcopy(student.model)
    weight = model.get_output_embeddings().weight
    with torch.no_grad():
        weight[1::2] = weight[: len(weight) - 1 : 2]
    return replace(student, model=model)


@pytest.fixture
def rows(student, png):
    prompts = [Prompt("a", "How many?", (png("red", (32, 32)),)), Prompt("b", "Two and two?", ())]
    return [student.template.row(prompt) for prompt in prompts]


@pytest.fixture
def shaken(monkeypatch):
    """Logits that differ in their last digits each time."""
    draw = torch.Generator().manual_seed(0)
    plain = sampling._Writing._append

    def append(self):
        logits = self.rows.logits
        logits += 1e-7 * logits.abs().max() * torch.randn(logits.shape, generator=draw)
        plain(self)

    monkeypatch.setattr(sampling._Writing, "_append", append)


@pytest.mark.usefixtures("shaken")
def test_rounding_turns_no_tie(torn, rows):
    found = {
        tuple(one.tokens for (one,) in continue_rows(torn, rows, max_new_tokens=8))
        for _ in range(4)
    }
    assert len(found) == 1


@pytest.mark.usefixtures("shaken")
def test_without_it_rounding_would(torn, rows, monkeypatch):
    """So the test above proves something."""
    monkeypatch.setattr(ties, "GAP", 0.0)
    found = {
        tuple(one.tokens for (one,) in continue_rows(torn, rows, max_new_tokens=8))
        for _ in range(4)
    }
    assert len(found) > 1


@pytest.mark.parametrize("written", [(), (70, 71, 72)])
def test_a_tie_is_settled_by_the_logits_of_a_plain_pass(student, rows, written):
    for row in rows:
        with torch.no_grad():
            wanted = student.model(**inputs(student, replace(row, response_ids=written))).logits
        torch.testing.assert_close(
            ties.alone(student, row, written), wanted[0, -1], atol=1e-5, rtol=1e-5
        )
        assert ties.settled(student, row, written) == int(wanted[0, -1].argmax())


def test_only_what_is_close_is_settled():
    logits = torch.tensor([[8.0, 7.9999, 1.0], [8.0, 7.9998, 1.0], [8.0, 8.0, -torch.inf]])
    assert ties.close(logits).tolist() == [False, False, True]
    assert ties.close(logits + torch.tensor([[0.0, 5e-5, 0.0]])).tolist() == [True, False, True]


def test_nothing_is_settled_in_half_precision_or_when_drawn(student, rows, monkeypatch):
    monkeypatch.setattr(ties, "GAP", 1e9)
    monkeypatch.setattr(ties, "settled", lambda *_: pytest.fail("settled"))
    continue_rows(student, rows, max_new_tokens=2, temperature=1.0)
    half = replace(student, model=copy.deepcopy(student.model).bfloat16())
    generate(half, [Prompt("b", "Two and two?", ())], max_new_tokens=2)
