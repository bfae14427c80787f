"""The formula of kept activations held against autograd, on LLaVA-NeXTs of several shapes."""

import dataclasses
from typing import Any

import pytest
import torch
from peft import get_peft_model
from transformers import AutoConfig, AutoModelForImageTextToText

from chainsight.config import SftSection
from chainsight.planner import shapes
from chainsight.planner.activations import PIECE, Activations, Manner, activations
from chainsight.training import setup
from chainsight.training.memory import Found, measured, questions
from chainsight.vlm import checkpoint, grouping, prefix
from chainsight.vlm.checkpoint import Loaded
from chainsight.vlm.prefix import Branch, Group, scores

IMAGE_TOKENS = 16 + 8 * 8 + 8  # of a square picture: overview, tiles, a newline per row
TEXT: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama"},
    "llama of one key head each": {"model_type": "llama", "num_key_value_heads": 8},
    "mistral": {"model_type": "mistral"},
    "qwen2": {"model_type": "qwen2"},
}
WIDTHS = {
    "hidden_size": 256,
    "intermediate_size": 704,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": 670,
}
BRANCHES: dict[int, tuple[int, ...]] = {
    1: (40,),
    2: (40, 30),
    4: (40, 30, 20, 40),
    8: (60, 60, 60, 60, 60, 60, 60, 60),  # more than half the prompt: two bunches and more
}


def student(text: dict[str, Any]) -> Loaded:
    """A LLaVA-NeXT with the tiny one's processor and a wider language model."""
    tiny = checkpoint.load("builtin:tiny", device=torch.device("cpu"))
    config = tiny.model.config.to_dict() | {"text_config": {**WIDTHS, **text}}
    made = AutoConfig.for_model(config.pop("model_type"), **config)
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(made, attn_implementation=prefix.ATTENTION)
    return dataclasses.replace(tiny, model=model)


def step(
    loaded: Loaded, manner: Manner, groups: list[Group], *, backward: bool = False
) -> tuple[Found, Activations]:
    """A policy's forward pass as the trainers prepare it: what it kept, what was expected."""
    frozen = () if manner.tower else (loaded.family.vision,)
    frozen += () if manner.projector else (loaded.family.projector,)
    model = loaded.model
    if manner.lora and manner.bfloat16:
        model = model.to(torch.bfloat16)
    setup.prepare(model, freeze=frozen)
    if manner.lora:
        section = SftSection(tuning="lora", lora_rank=manner.lora)
        model = get_peft_model(model, setup.adapters(model, section))
    if manner.checkpointing:
        model.activation_checkpointing_enable()
        model.enable_input_require_grads()
    model.train()
    batch = grouping.batch(loaded, groups)
    autocast = torch.autocast("cpu", torch.bfloat16, manner.bfloat16, cache_enabled=False)
    with measured() as found, autocast:
        encoded = None
        if not manner.projector:  # DPO: encoded once for policy and reference
            with torch.no_grad():
                encoded = loaded.family.encode(loaded.model, batch.pictures)
        loss = prefix.score(model, batch.arguments(encoded)).sum()
    if backward:
        loss.backward()
    shape = shapes.of(loaded.model.config.to_dict())
    return found, activations(shape, questions(loaded.model.config, batch), manner)


@pytest.fixture(scope="module")
def square(png: Any) -> bytes:
    return png("red", (64, 64))  # type: ignore[no-any-return]


def group(loaded: Loaded, square: bytes, branches: tuple[int, ...], prompt: int = 300) -> Group:
    image = [loaded.template.image_id] * IMAGE_TOKENS
    ids = [7] * 10 + image + [8] * (prompt - IMAGE_TOKENS - 10)
    return Group(ids, tuple(Branch([9] * n, [9] * n) for n in branches), (square,))


DPO, SFT = Manner(), Manner(tower=True, projector=True)
MANNERS = {
    f"{stage}, {name}": dataclasses.replace(base, **change)
    for stage, base in (("dpo", DPO), ("sft", SFT))
    for name, change in {
        "float32": {},
        "float32, checkpointing": {"checkpointing": True},
        "bfloat16": {"bfloat16": True},
        "bfloat16, checkpointing": {"bfloat16": True, "checkpointing": True},
        "lora": {"lora": 16},
        "lora, bfloat16": {"lora": 16, "bfloat16": True},
        "lora, bfloat16, checkpointing": {"lora": 16, "bfloat16": True, "checkpointing": True},
    }.items()
}


@pytest.mark.parametrize("num_branches", [1, 2, 4])
@pytest.mark.parametrize("name", MANNERS)
def test_kept_activations_are_as_reckoned(name: str, num_branches: int, square: bytes) -> None:
    loaded = student(TEXT["llama"])
    groups = [group(loaded, square, BRANCHES[num_branches])]
    found, expected = step(loaded, MANNERS[name], groups)
    print(f"{name} | {num_branches} | {found.bytes} | {expected.kept}")
    assert expected.kept == pytest.approx(found.bytes, rel=0.1)


@pytest.mark.parametrize("text", TEXT)
@pytest.mark.parametrize("manner", [DPO, Manner(bfloat16=True)])
def test_the_formula_holds_within_a_hundredth_for_each_language_model(
    text: str, manner: Manner, square: bytes
) -> None:
    loaded = student(TEXT[text])
    groups = [group(loaded, square, BRANCHES[8]), group(loaded, square, BRANCHES[1], 200)]
    found, expected = step(loaded, manner, groups)
    assert expected.kept == pytest.approx(found.bytes, rel=0.01)


def test_of_many_learned_tokens_the_head_keeps_hidden_states_alone(square: bytes) -> None:
    assert scores.PIECE == PIECE
    loaded = student({**TEXT["llama"], "num_hidden_layers": 1, "vocab_size": 20_000})
    groups = [group(loaded, square, (900, 900), 400)]
    found, expected = step(loaded, DPO, groups)
    assert expected.head == 1800 * 256 * 4
    assert expected.kept == pytest.approx(found.bytes, rel=0.01)
