"""What a forward pass keeps, counted: against tensors that can be counted by hand."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint as checkpointed

from chainsight.config import DpoSection, SftSection
from chainsight.context import Context
from chainsight.training import dpo, loop, setup, sft
from chainsight.training.data import PairRow
from chainsight.training.memory import FirstPass, measured, questions
from chainsight.vlm import checkpoint, grouping, prefix
from chainsight.vlm.prefix import IGNORED, Branch, Group
from chainsight.vlm.template import Prompt


@pytest.fixture
def stack() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.Sigmoid(), nn.Linear(16, 4))


def test_inputs_of_layers_and_outputs_of_sigmoids_are_kept_once(stack: nn.Module) -> None:
    x = torch.ones(5, 8)
    with measured() as found:
        stack(x).sum()
    assert [kept.shape for kept in found.activations] == [(5, 8), (5, 16)]  # two readers of one
    assert found.bytes == 4 * (5 * 8 + 5 * 16)
    assert (found.cast_bytes, found.peak_bytes) == (0, None)


def test_weights_and_buffers_are_not_activations() -> None:
    norm = nn.BatchNorm1d(8).eval()
    with measured() as found:
        norm(torch.ones(5, 8, requires_grad=True)).sum()
    assert found.bytes == 4 * 5 * 8


def test_autocasts_copies_of_weights_are_told_apart(stack: nn.Module) -> None:
    stack[2].requires_grad_(requires_grad=False)  # one with a history, one without
    with measured() as found, torch.autocast("cpu", torch.bfloat16):
        stack(torch.ones(5, 8)).sum()
    assert found.cast_bytes == 2 * (16 * 4)  # the first layer's input needs no gradient
    assert found.bytes == 2 * (5 * 8 + 5 * 16)
    with measured() as found, torch.autocast("cpu", torch.bfloat16):
        stack(torch.ones(5, 8, requires_grad=True)).sum()
    assert found.cast_bytes == 2 * (8 * 16 + 16 * 4)


def test_nothing_is_kept_without_a_gradient(stack: nn.Module) -> None:
    with measured() as found, torch.no_grad():
        stack(torch.ones(5, 8))
    assert found.bytes == 0


def test_checkpointing_keeps_the_inputs_alone(stack: nn.Module) -> None:
    with measured() as found:
        out = checkpointed(stack, torch.ones(5, 8), use_reentrant=False)
        out.sum().backward()
    assert found.bytes == 4 * 5 * 8


def test_measuring_changes_no_gradient_and_leaves_no_hook(stack: nn.Module) -> None:
    x = torch.ones(5, 8)
    stack(x).sum().backward()
    plain = [parameter.grad.clone() for parameter in stack.parameters()]  # type: ignore[union-attr]
    stack.zero_grad()
    with measured() as found:
        stack(x).sum().backward()
    assert all(torch.equal(a, p.grad) for a, p in zip(plain, stack.parameters(), strict=True))  # type: ignore[arg-type]
    before = found.bytes
    stack(x).sum()
    assert found.bytes == before
    assert not torch.nn.modules.module._global_forward_pre_hooks


# --- a training's first pass -----------------------------------------------------------------


@pytest.fixture(scope="module")
def student(student_folder: Any) -> checkpoint.Loaded:
    loaded = checkpoint.load(student_folder, attention=prefix.ATTENTION)
    setup.prepare(loaded.model, freeze=())
    return loaded


@pytest.fixture
def batch(student: checkpoint.Loaded, png: Any) -> grouping.Batch:
    seen = student.template.row(Prompt("a", "How many?", (png("red", (64, 64)),)))
    branches = (Branch([7] * 6, [7] * 6), Branch([8] * 9, [IGNORED] * 4 + [8] * 5))
    pair = Group(seen.prompt_ids, branches, seen.images)
    text = Group([7] * 30, (Branch([9] * 5, [9] * 5),))
    return grouping.batch(student, [pair, text])


def test_a_batch_is_told_in_the_planners_words(
    student: checkpoint.Loaded, batch: grouping.Batch
) -> None:
    pair, text = questions(student.model.config, batch)
    assert (pair.branches, pair.learned) == ((6, 9), 11)
    assert pair.tokens + text.tokens == batch.layout.input_ids.shape[1]
    assert (pair.patches, pair.image_tokens) == (5 * 5, 4 + 16 + 4)
    assert (text.prompt, text.branches, text.learned, text.patches) == (30, (5,), 5, 0)


def forward(student: checkpoint.Loaded, batch: grouping.Batch) -> None:
    student.model.train()
    logits = student.model(**batch.arguments()).logits
    prefix.token_logps(logits, batch.layout).sum().backward()


def test_the_first_pass_is_measured_beside_its_plan_and_no_other(
    student: checkpoint.Loaded, batch: grouping.Batch, tmp_path: Any
) -> None:
    first = FirstPass(SftSection(), Context(work=tmp_path, ledger=tmp_path))
    assert first.metrics == {}
    with first.watching(student.model.config, batch, 0):  # a pass without rows of its own
        forward(student, batch)
    assert first.metrics == {}
    with first.watching(student.model.config, batch, 3):
        forward(student, batch)
    told = dict(first.metrics)
    assert set(told) == {
        "activation_bytes_per_row",
        "planned_activation_bytes_per_row",
        "planned_memory_bytes",
    }
    measured_bytes = told["activation_bytes_per_row"]
    assert told["planned_activation_bytes_per_row"] == pytest.approx(measured_bytes, rel=0.05)
    with first.watching(student.model.config, batch, 1):
        forward(student, batch)
    assert first.metrics == told


def test_a_family_that_the_planner_lacks_is_measured_all_the_same(
    student: checkpoint.Loaded, batch: grouping.Batch, tmp_path: Any
) -> None:
    config = type("Config", (), {"to_dict": lambda self: {"model_type": "idefics3"}})()
    first = FirstPass(DpoSection(), Context(work=tmp_path, ledger=tmp_path))
    with first.watching(config, batch, 1):
        forward(student, batch)
    assert set(first.metrics) == {"activation_bytes_per_pair"}


class Curves:
    """Keeps what a stage would send to tracking."""

    def __init__(self) -> None:
        self.sent: dict[str, float] = {}

    def log(self, values: Any, step: int) -> None:
        self.sent |= values


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_a_training_tells_tracking_what_its_first_pass_kept(
    stage: str, student_folder: Any, png: Any, tmp_path: Any
) -> None:
    curves = Curves()
    context = Context(work=tmp_path, ledger=tmp_path, metrics=curves)
    sections: dict[str, Any] = {"sft": SftSection, "dpo": DpoSection}
    section = sections[stage](max_steps=1, batch_size=2, device_batch_size=2)
    loaded = setup.load_for_training(student_folder, section, context)
    prompts = [Prompt(name, "How many?", (png(name, (64, 64)),)) for name in ("red", "blue")]
    rows = [loaded.template.row(prompt, range(20, 50)) for prompt in prompts]
    others = [dataclasses.replace(row, response_ids=range(30, 70)) for row in rows]
    if stage == "sft":
        trainer: Any = sft.build(loaded, rows, section, context)
    else:
        pairs = [PairRow(*both) for both in zip(rows, others, strict=True)]
        trainer = dpo.build(loaded, pairs, section, context)
    loop.train(trainer, stage, 1)
    unit = {"sft": "row", "dpo": "pair"}[stage]
    kept = curves.sent[f"activation_bytes_per_{unit}"]
    assert kept == pytest.approx(curves.sent[f"planned_activation_bytes_per_{unit}"], rel=0.1)
