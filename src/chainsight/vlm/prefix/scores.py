"""Log-probabilities of the learned tokens of a layout.

Letters in shapes: K learned tokens, M branches, V vocabulary, h the model's width.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from chainsight.vlm.prefix.attention import NO_MASK
from chainsight.vlm.prefix.layout import Layout

PIECE = 2**25
"""Logits that `score` holds at a time: 128 MiB in float32, 262 tokens of 128,000 words."""


def forward(layout: Layout, position_ids: torch.Tensor) -> dict[str, Any]:
    """The arguments that a model takes beside pictures, whichever of our attentions it has.

    Its `logits` are then [1, K, V]: those that predict `layout.targets`, in their order.
    """
    return {
        "input_ids": layout.input_ids,
        "position_ids": position_ids,
        "attention_mask": torch.ones(NO_MASK, device=layout.input_ids.device),
        "layout": layout,
        "logits_to_keep": layout.sources,
        "use_cache": False,
    }


def score(model: Any, arguments: dict[str, Any], piece: int = PIECE) -> torch.Tensor:
    """Log-probability of each learned token in float32, [K], in order of `layout.targets`.

    The same as `token_logps` of the model's logits, which never stand in memory at once: the
    head takes a piece of the tokens at a time, and does so again in the backward pass.

    Args:
        model: wrapped or not.
        arguments: what `forward` made, and pictures.
        piece: logits to hold at a time.
    """
    with _scoring_head(model, arguments["layout"].targets, piece):
        logps: torch.Tensor = model(**arguments).logits[0, :, 0]
    return logps


@contextmanager
def _scoring_head(model: Any, targets: torch.Tensor, piece: int) -> Iterator[None]:
    """The model's head gives log-probabilities of `targets`, [1, K, 1], in place of logits.

    Done by its `forward`, so that hooks around it (a sharded head is gathered by one) stay.
    """
    head = getattr(model, "module", model).get_output_embeddings()
    whole, own = head.forward, vars(head).get("forward")

    def logps(hidden: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return _log_probability(whole(hidden), wanted)

    def in_pieces(hidden: torch.Tensor) -> torch.Tensor:
        rows = max(1, piece // head.weight.shape[0])
        pairs = list(zip(torch.split(hidden[0], rows), torch.split(targets, rows), strict=True))
        if len(pairs) > 1 and torch.is_grad_enabled():
            found = [checkpoint(logps, *pair, use_reentrant=False) for pair in pairs]
        else:
            found = [logps(*pair) for pair in pairs]
        return torch.cat(found)[None, :, None]

    head.forward = in_pieces
    try:
        yield
    finally:
        if own is None:
            del head.forward
        else:
            head.forward = own


def token_logps(logits: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Log-probability of each learned token in float32, [K], from logits [1, K, V]."""
    return _log_probability(logits[0], layout.targets)


def _log_probability(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return -functional.cross_entropy(logits.float(), targets, reduction="none")


def branch_sums(values: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Sum of the learned tokens' values of each branch, [M] float64, from [K].

    A sum over 1,000 tokens is some 5,000 nats, where float32 knows steps of 5e-4; what DPO takes
    the difference of two of them for is smaller than that.
    """
    sums = values.new_zeros(layout.num_branches, dtype=torch.float64)
    return sums.index_add(0, layout.owners, values.double())
