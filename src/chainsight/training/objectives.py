"""The losses, as pure functions on tensors (arXiv 2410.16198 and its public code).

Letters in shapes: K learned tokens, branch by branch; M branches; B pairs. `vlm.prefix` makes the
tokens' log-probabilities and adds them up by branch.
"""

import math
from typing import Literal, NamedTuple

import torch
from torch.nn import functional

Weighting = Literal["none", "cos", "linear"]


class DpoLoss(NamedTuple):
    """Per pair, each [B]."""

    loss: torch.Tensor
    chosen_rewards: torch.Tensor
    """beta * (log pi - log ref) of the chosen response; no gradient."""
    rejected_rewards: torch.Tensor


def token_weights(owners: torch.Tensor, kind: Weighting) -> torch.Tensor:
    """Weight of each token by its place t = 0..T-1 among its branch's T tokens, [K] float32.

    none: 1; cos: (1 + cos(pi t / T)) / 2; linear: (T - t) / T.

    Args:
        owners: [K], each token's branch, ascending.
    """
    counts = torch.bincount(owners)
    first = counts.cumsum(0) - counts
    place = torch.arange(len(owners), device=owners.device) - first[owners]
    share = place.float() / counts[owners]
    if kind == "cos":
        return (1 + torch.cos(math.pi * share)) / 2
    if kind == "linear":
        return 1 - share
    assert kind == "none", kind
    return torch.ones_like(share)


def dpo_loss(
    policy_chosen: torch.Tensor,
    policy_rejected: torch.Tensor,
    reference_chosen: torch.Tensor,
    reference_rejected: torch.Tensor,
    beta: float,
) -> DpoLoss:
    """Sigmoid DPO: -log sigmoid(beta * z), z the policy's margin minus the reference's.

    All four are summed log-probabilities, [B]; the loss is float32.
    """
    chosen = (policy_chosen - reference_chosen).float()
    rejected = (policy_rejected - reference_rejected).float()
    loss = -functional.logsigmoid(beta * (chosen - rejected))
    return DpoLoss(loss, beta * chosen.detach(), beta * rejected.detach())


def bco_loss(
    policy_chosen: torch.Tensor,
    policy_rejected: torch.Tensor,
    reference_chosen: torch.Tensor,
    reference_rejected: torch.Tensor,
    beta: float,
) -> torch.Tensor:
    """BCO: -log sigmoid(r_w) - log sigmoid(-r_l) of the two rewards, each by itself, [B] float32.

    Arguments as of `dpo_loss`. MPO (arXiv 2411.10442) takes 0.2 of it beside 0.8 DPO and 1.0 SFT.
    The shift by a running mean of rewards (arXiv 2404.04656) is left out, as TRL's `bco_pair` does:
    a pair's loss would depend on those before it.
    """
    chosen = beta * (policy_chosen - reference_chosen).float()
    rejected = beta * (policy_rejected - reference_rejected).float()
    return -functional.logsigmoid(chosen) - functional.logsigmoid(-rejected)


def sft_loss(logps: torch.Tensor, num_tokens: int) -> torch.Tensor:
    """Cross entropy summed over log-probabilities of any shape, and divided: a scalar.

    `num_tokens` is the number of learned tokens of the whole optimizer step, of which these may
    be a part.
    """
    return -logps.sum() / max(num_tokens, 1)
