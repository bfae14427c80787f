"""Our side: the shared-prefix engine through its public functions."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from benchmarks.peers import BETA
from chainsight.training import objectives
from chainsight.vlm import grouping, prefix, sampling
from chainsight.vlm.checkpoint import Loaded
from chainsight.vlm.grouping import Batch
from chainsight.vlm.template import Row


def prepared(loaded: Loaded, rows: Sequence[Row]) -> Batch:
    """Rows of one question as the model takes them."""
    batch = grouping.batch(loaded, grouping.merge(rows, loaded.template.image_id))
    batch = batch.to(loaded.device)
    pictures = {
        name: tensor.to(loaded.model.dtype) if tensor.is_floating_point() else tensor
        for name, tensor in batch.pictures.items()
    }
    return Batch(batch.layout, batch.position_ids, pictures)


def encode(loaded: Loaded, batch: Batch) -> dict[str, Any]:
    """The pictures' features, once for all passes: tower and projector are frozen."""
    with torch.no_grad():
        return loaded.family.encode(loaded.model, batch.pictures)


def sums(model: Any, batch: Batch, encoded: dict[str, Any]) -> torch.Tensor:
    """Log-probability of each response, [M]."""
    logits = model(**batch.arguments(encoded)).logits
    return prefix.branch_sums(prefix.token_logps(logits, batch.layout), batch.layout)


def dpo_step(loaded: Loaded, model: Any, reference: Any, batch: Batch) -> float:
    """Both passes, the loss over responses 0 and 1, 2 and 3, ... and the backward pass.

    `reference` is a second model; none: `model` without its adapter.
    """
    encoded = encode(loaded, batch)
    scored = sums(model, batch, encoded)
    kept: AbstractContextManager[Any] = model.disable_adapter() if not reference else nullcontext()
    with torch.no_grad(), kept:
        known = sums(reference or model, batch, encoded)
    losses = objectives.dpo_loss(scored[::2], scored[1::2], known[::2], known[1::2], BETA)
    loss = losses.loss.mean()
    loss.backward()
    return float(loss.detach())


def sft_step(loaded: Loaded, model: Any, batch: Batch) -> float:
    """Mean of all targets' tokens, and its backward pass."""
    logits = model(**batch.arguments(encode(loaded, batch))).logits
    loss = -prefix.token_logps(logits, batch.layout).mean()
    loss.backward()
    return float(loss.detach())


def score(loaded: Loaded, model: Any, batch: Batch) -> torch.Tensor:
    """Log-probabilities of candidates under a reference, [M]."""
    with torch.no_grad():
        return sums(model, batch, encode(loaded, batch))


NEVER_DRAWN: tuple[int, ...] = ()
"""Token ids that our sampler never draws."""


def draws(row: Row, count: int, length: int, seed: int = 0) -> torch.Tensor:
    """The uniform numbers that `sample` draws with, [count, length]."""
    return torch.stack([sampling._uniforms(seed, row.key, k, length) for k in range(count)])


def sample(loaded: Loaded, row: Row, count: int, length: int, seed: int = 0) -> list[str]:
    """Candidates of one prompt."""
    made = sampling.continue_rows(
        loaded, [row], max_new_tokens=length, temperature=1.0, num_candidates=count, seed=seed
    )[0]
    return [answer.text for answer in made]
