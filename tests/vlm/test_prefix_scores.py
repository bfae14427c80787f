"""Log-probabilities in pieces, and in bfloat16."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from plain import gradient, group, relative, row_logps, shared_logps

from chainsight.vlm import checkpoint, prefix
from chainsight.vlm.checkpoint import Loaded
from chainsight.vlm.grouping import Batch, batch

EXACT = 1e-6
VOCABULARY = 262


@pytest.fixture
def loaded(student_folder: Path) -> Loaded:
    return checkpoint.load(student_folder, attention=prefix.implementation("sdpa"))


@pytest.fixture
def made(loaded: Loaded, png: Callable[..., bytes]) -> Batch:
    return batch(loaded, [group(loaded, "What?", 4, (png("red"),)), group(loaded, "Who?", 2)])


class Watched:
    """A head that tells how many tokens it is given."""

    def __init__(self, model: Any) -> None:
        self.head = model.get_output_embeddings()
        self.whole, self.sizes = self.head.forward, list[int]()
        self.head.forward = self

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        self.sizes.append(hidden.shape[-2])
        logits: torch.Tensor = self.whole(hidden)
        return logits


def test_pieces_are_the_whole(loaded: Loaded, made: Batch) -> None:
    logits = loaded.model(**made.arguments()).logits
    wanted = prefix.token_logps(logits, made.layout)
    wanted.sum().backward()
    slope = gradient(loaded.model)
    for piece in (VOCABULARY, 7 * VOCABULARY, prefix.scores.PIECE):
        loaded.model.zero_grad()
        found = prefix.score(loaded.model, made.arguments(), piece=piece)
        found.sum().backward()
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
        assert relative(gradient(loaded.model), slope) < EXACT


@pytest.mark.parametrize("trained", [False, True])
def test_the_head_never_has_more_than_a_piece(trained: bool, loaded: Loaded, made: Batch) -> None:
    watched = Watched(loaded.model)
    num_learned = len(made.layout.targets)
    with torch.set_grad_enabled(trained):
        logps = prefix.score(loaded.model, made.arguments(), piece=10 * VOCABULARY + 1)
    assert max(watched.sizes) == 10
    assert sum(watched.sizes) == num_learned
    if trained:
        logps.sum().backward()
        assert max(watched.sizes) == 10
        assert sum(watched.sizes) == 2 * num_learned  # once more, for the gradient


def test_the_head_is_itself_again_afterwards(loaded: Loaded, made: Batch) -> None:
    head = loaded.model.get_output_embeddings()
    prefix.score(loaded.model, made.arguments())
    assert "forward" not in vars(head)
    watched = Watched(loaded.model)
    with pytest.raises(ValueError, match="no mask of your own"):
        prefix.score(loaded.model, made.arguments() | {"attention_mask": None})
    assert head.forward is watched


def test_wrapped_models_are_scored_too(loaded: Loaded, made: Batch) -> None:
    wanted = prefix.score(loaded.model, made.arguments())

    class Wrapper(torch.nn.Module):
        """As DistributedDataParallel."""

        def __init__(self, module: torch.nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, **given: Any) -> Any:
            return self.module(**given)

    assert torch.equal(prefix.score(Wrapper(loaded.model), made.arguments()), wanted)
    config = LoraConfig(r=2, target_modules=["q_proj", "lm_head"])
    adapted: Any = get_peft_model(loaded.model, config)
    assert torch.equal(prefix.score(adapted, made.arguments()), wanted)


@pytest.mark.parametrize("autocast", [False, True])
def test_bfloat16_is_as_far_from_float32_as_plain_rows_in_bfloat16(
    autocast: bool, student_folder: Path, loaded: Loaded, png: Callable[..., bytes]
) -> None:
    groups = [
        group(loaded, text, 8, (png(text, (32, 16)),)) for text in ("red", "green", "blue", "pink")
    ]
    with torch.no_grad():
        exact = torch.cat(row_logps(loaded.model, loaded, groups))
        dtype = "float32" if autocast else "bfloat16"
        rough = checkpoint.load(
            student_folder, dtype=dtype, attention=prefix.implementation("sdpa")
        )
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            shared = torch.cat(shared_logps(rough.model, rough, groups))
            rows = torch.cat(row_logps(rough.model, rough, groups))
    assert shared.dtype == torch.float32
    noise = (rows - exact).square().mean().sqrt()
    assert (shared - exact).square().mean().sqrt() < 1.2 * noise
    assert abs((shared - exact).mean()) < 0.2 * noise
