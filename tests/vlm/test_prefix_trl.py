"""Shared prefixes against TRL's own trainers: their collators, their loss, their gradient."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset  # type: ignore[import-untyped]
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image
from plain import gradient, relative
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from chainsight.training.objectives import dpo_loss
from chainsight.vlm import checkpoint, prefix
from chainsight.vlm.checkpoint import Loaded
from chainsight.vlm.grouping import batch, merge
from chainsight.vlm.prefix import Group
from chainsight.vlm.template import Row

EXACT = 1e-5
BETA = 0.1
Png = Callable[..., bytes]
Pair = tuple[str, str, str, bytes]
"""Question, chosen, rejected, picture."""


@pytest.fixture
def pairs(png: Png) -> list[Pair]:
    """Three of one question, of which two share a response, and two of another."""
    red, blue = png("red"), png("blue", (16, 32))
    asked, counted = "What is it?", "How many are there on this side?"
    return [
        (asked, "A red square.", "It is blue, and a circle as well.", red),
        (asked, "A red square.", "No.", red),
        (asked, "Red.", "I cannot see anything at all here", red),
        (counted, "Two", "Seventeen or so", blue),
        (counted, "2", "t", blue),
    ]


def settings(tmp_path: Path, recomputed: bool) -> dict[str, Any]:
    return {
        "output_dir": str(tmp_path),
        "max_length": None,
        "use_cpu": True,
        "bf16": False,
        "report_to": [],
        "per_device_train_batch_size": 5,
        "gradient_checkpointing": recomputed,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "remove_unused_columns": False,
        "disable_tqdm": True,
    }


def image(data: bytes) -> Any:
    import io

    return Image.open(io.BytesIO(data))


def shaken(model: Any, seed: int) -> Any:
    """As after some training, so that policy and reference differ."""
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_B" in name or not isinstance(model, PeftModel):
            parameter.data.add_(torch.randn_like(parameter) * 0.02)
    return model


def said(role: str, text: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


def rows(inputs: dict[str, torch.Tensor], images: list[bytes]) -> list[Row]:
    """TRL's padded batch as rows, so that both sides see the same tokens."""
    found = []
    for n, picture in enumerate(images):
        ids = inputs["input_ids"][n][inputs["attention_mask"][n] == 1].tolist()
        learned = int(inputs["completion_mask"][n].sum())
        found.append(Row("", tuple(ids[:-learned]), tuple(ids[-learned:]), (picture,)))
    return found


def engine(student_folder: Path, trainer: Any, recomputed: bool) -> tuple[Loaded, Any]:
    """Our model with the trainer's weights."""
    loaded = checkpoint.load(student_folder, attention=prefix.implementation("sdpa"))
    model: Any = loaded.model
    if isinstance(trainer.model, PeftModel):
        model = get_peft_model(model, trainer.model.peft_config["default"])
    model.load_state_dict(trainer.model.state_dict())
    if recomputed:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return loaded, model.train()


def sums(model: Any, loaded: Loaded, groups: list[Group]) -> torch.Tensor:
    made = batch(loaded, groups)
    return prefix.branch_sums(prefix.score(model, made.arguments()), made.layout)


def reference_sums(model: Any, weights: Any, loaded: Loaded, groups: list[Group]) -> torch.Tensor:
    """Of a model with `weights`, or none: without its adapters."""
    with torch.no_grad():
        if weights is None:
            with model.disable_adapter():
                return sums(model, loaded, groups)
        other = copy.deepcopy(model)
        other.load_state_dict(weights)
        return sums(other, loaded, groups)


def grouped(found: list[Row], loaded: Loaded) -> tuple[list[Group], list[Row]]:
    """By question, each response once; and the responses in order of the branches."""
    questions: dict[tuple[int, ...], list[Row]] = {}
    for row in dict.fromkeys(found):
        questions.setdefault(row.prompt_ids, []).append(row)
    merged = [merge(own, loaded.template.image_id) for own in questions.values()]
    return [group for own in merged for group in own], [
        r for own in questions.values() for r in own
    ]


def adapters(tuning: str) -> LoraConfig | None:
    return LoraConfig(r=4, lora_alpha=8, target_modules=r".*_proj") if tuning == "lora" else None


@pytest.mark.parametrize("recomputed", [False, True])
@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_dpo_is_that_of_trls_trainer(
    tuning: str, recomputed: bool, pairs: list[Pair], student_folder: Path, tmp_path: Path
) -> None:
    model = checkpoint.load(student_folder).model
    reference = copy.deepcopy(model) if tuning == "full" else None
    data = [
        {
            "images": [image(picture)],
            "prompt": said("user", question),
            "chosen": said("assistant", chosen),
            "rejected": said("assistant", rejected),
        }
        for question, chosen, rejected, picture in pairs
    ]
    trainer: Any = DPOTrainer(
        model=shaken(model, 1) if tuning == "full" else model,
        ref_model=reference,
        args=DPOConfig(**settings(tmp_path, recomputed), beta=BETA),
        train_dataset=Dataset.from_list(data),
        processing_class=checkpoint.load(student_folder).processor,
        peft_config=adapters(tuning),
    )
    if tuning == "lora":
        shaken(trainer.model, 2)
    trainer.model.train()
    inputs = trainer.data_collator(copy.deepcopy(data))
    wanted = trainer.compute_loss(trainer.model, inputs)
    wanted.backward()

    loaded, ours = engine(student_folder, trainer, recomputed)
    found = rows(inputs, [pair[-1] for pair in pairs] * 2)  # all chosen before all rejected
    groups, order = grouped(found, loaded)
    assert [len(group.branches) for group in groups] == [5, 4]
    places = [order.index(row) for row in found]
    weights = None if reference is None else reference.state_dict()
    kept = reference_sums(ours, weights, loaded, groups)[places].chunk(2)
    policy = sums(ours, loaded, groups)[places].chunk(2)
    loss = dpo_loss(*policy, *kept, BETA).loss.mean()
    loss.backward()  # type: ignore[no-untyped-call]
    assert relative(loss.detach(), wanted.detach()) < EXACT
    assert relative(gradient(ours), gradient(trainer.model)) < EXACT


@pytest.mark.parametrize("recomputed", [False, True])
@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_sft_is_that_of_trls_trainer(
    tuning: str, recomputed: bool, pairs: list[Pair], student_folder: Path, tmp_path: Path
) -> None:
    data = [
        {
            "images": [image(picture)],
            "prompt": said("user", question),
            "completion": said("assistant", answer),
        }
        for question, *answers, picture in pairs
        for answer in answers[:2]
    ]
    trainer: Any = SFTTrainer(
        model=checkpoint.load(student_folder).model,
        args=SFTConfig(**settings(tmp_path, recomputed)),
        train_dataset=Dataset.from_list(data),
        processing_class=checkpoint.load(student_folder).processor,
        peft_config=adapters(tuning),
    )
    shaken(trainer.model, 2)
    trainer.model.train()
    inputs = trainer.data_collator(copy.deepcopy(data))
    learned = inputs["labels"] != prefix.IGNORED
    wanted = trainer.compute_loss(trainer.model, dict(inputs))
    wanted.backward()

    loaded, ours = engine(student_folder, trainer, recomputed)
    found = rows({**inputs, "completion_mask": learned}, [pair[-1] for pair in pairs for _ in "ab"])
    groups, order = grouped(found, loaded)
    weights = torch.tensor([found.count(row) for row in order]).float()  # one stands there twice
    loss = -(sums(ours, loaded, groups) * weights).sum() / learned.sum()
    loss.backward()  # type: ignore[no-untyped-call]
    assert relative(loss.detach(), wanted.detach()) < EXACT
    assert relative(gradient(ours), gradient(trainer.model)) < EXACT
