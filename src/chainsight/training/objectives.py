"""The losses, as pure functions on tensors (arXiv 2410.16198 and its public code).

Letters in shapes: B rows, S positions, V vocabulary. As everywhere in transformers,
`logits[:, t]` predicts `labels[:, t + 1]`; labels of IGNORED take no part.
"""

import math
from typing import Literal, NamedTuple

import torch
from torch.nn import functional

IGNORED = -100
Weighting = Literal["none", "cos", "linear"]


class DpoLoss(NamedTuple):
    """Per pair, each [B]."""

    loss: torch.Tensor
    chosen_rewards: torch.Tensor
    """beta * (log pi - log ref) of the chosen response; no gradient."""
    rejected_rewards: torch.Tensor


def token_logps(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Log-probability of each label in float32, [B, S - 1], 0 where ignored.

    Args:
        logits: [B, S, V], of any float type.
        labels: [B, S].
    """
    targets = labels[:, 1:]
    flat = functional.cross_entropy(
        logits[:, :-1].float().flatten(0, 1),
        targets.flatten(),
        ignore_index=IGNORED,
        reduction="none",
    )
    return -flat.view(targets.shape)


def sequence_logps(
    logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Weighted sum (not mean) of the labels' log-probabilities, [B].

    Args:
        logits: [B, S, V].
        labels: [B, S].
        weights: [B, S], aligned with `labels` (see `token_weights`); none: all 1.
    """
    logps = token_logps(logits, labels)
    return (logps if weights is None else logps * weights[:, 1:]).sum(1)


def token_weights(labels: torch.Tensor, kind: Weighting) -> torch.Tensor:
    """Weight of each label by its place t = 0..T-1 among its row's T labels, [B, S] float32.

    none: 1; cos: (1 + cos(pi t / T)) / 2; linear: (T - t) / T. 0 where ignored.
    """
    learned = labels != IGNORED
    place = (learned.cumsum(1) - 1).float()
    share = place / learned.sum(1, keepdim=True).clamp(min=1)
    if kind == "cos":
        weights = (1 + torch.cos(math.pi * share)) / 2
    elif kind == "linear":
        weights = 1 - share
    else:
        assert kind == "none", kind
        weights = torch.ones_like(share)
    return torch.where(learned, weights, 0.0)


def dpo_loss(
    policy_chosen: torch.Tensor,
    policy_rejected: torch.Tensor,
    reference_chosen: torch.Tensor,
    reference_rejected: torch.Tensor,
    beta: float,
) -> DpoLoss:
    """Sigmoid DPO: -log sigmoid(beta * z), z the policy's margin minus the reference's.

    All four are summed log-probabilities, [B].
    """
    chosen = policy_chosen - reference_chosen
    rejected = policy_rejected - reference_rejected
    loss = -functional.logsigmoid(beta * (chosen - rejected))
    return DpoLoss(loss, beta * chosen.detach(), beta * rejected.detach())


def sft_loss(
    logits: torch.Tensor, labels: torch.Tensor, num_tokens: torch.Tensor | int | None = None
) -> torch.Tensor:
    """Cross entropy summed over the labels and divided by `num_tokens`, a scalar.

    `num_tokens` is the number of labels of the whole optimizer batch, of which these rows may be
    a part; none: of these rows, which gives their token mean.
    """
    total = -token_logps(logits, labels).sum()
    count = (labels[:, 1:] != IGNORED).sum() if num_tokens is None else num_tokens
    return total / torch.as_tensor(count).clamp(min=1)
