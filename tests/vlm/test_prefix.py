"""Shared prefixes against plain rows, each computed by itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from plain import errors, group, relative, row_logps, shared_logps

from chainsight.vlm import checkpoint, prefix
from chainsight.vlm.checkpoint import Loaded
from chainsight.vlm.prefix import IGNORED, Branch, Group, lay_out

EXACT = 1e-5
Png = Callable[..., bytes]


@pytest.fixture
def loaded(student_folder: Path) -> Loaded:
    """Grouped queries: four heads on two of keys."""
    return checkpoint.load(student_folder, attention=prefix.implementation("sdpa"))


def adapted(loaded: Loaded) -> Any:
    """With adapters that do something."""
    made = LoraConfig(r=4, lora_alpha=8, target_modules=r".*language_model.*_proj")
    model: Any = get_peft_model(loaded.model, made)
    torch.manual_seed(3)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.1)
    return model.train()


@pytest.mark.parametrize("recomputed", [False, True])
@pytest.mark.parametrize("tuning", ["full", "lora"])
@pytest.mark.parametrize("num_branches", [1, 2, 4, 8])
def test_loss_and_gradient_are_those_of_plain_rows(
    num_branches: int, tuning: str, recomputed: bool, loaded: Loaded, png: Png
) -> None:
    model = loaded.model.train() if tuning == "full" else adapted(loaded)
    if recomputed:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable({"use_reentrant": False})
    groups = [
        group(loaded, "What is it?", num_branches, (png("red"),)),
        group(loaded, "And that, in all of its glory?", 2, (png("blue", (16, 32)),)),
    ]
    loss, slope = errors(model, loaded, groups)
    assert loss < EXACT
    assert slope < EXACT
