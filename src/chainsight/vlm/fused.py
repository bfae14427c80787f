"""Decoding's attention by flash attention's kernels for sequences of unequal length, on a GPU.

A sequence is what shares keys: a group's queries for one key head, or a row's. Two calls a layer,
over all groups and all rows, without padding; `decoding` joins what they give.

No GPU has run this here: its indices are tested with another `run`.

Letters in shapes: as in `decoding`; G groups.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any

import torch

Part = tuple[torch.Tensor, torch.Tensor]
"""Attention to some of the keys, [..., D], and the log-sum-exp of its scores, [..., 1]."""


def usable(states: torch.Tensor) -> bool:
    """Whether the kernels take such keys: half precision, on a GPU, by a torch that has them."""
    half = states.dtype in {torch.bfloat16, torch.float16}
    return half and states.device.type == "cuda" and _has_kernel()


@cache
def _has_kernel() -> bool:
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    return "seqused_k" in inspect.signature(varlen_attn).parameters


@dataclass(frozen=True)
class Plan:
    """Where the sequences of a step begin and end, for all layers."""

    order: torch.Tensor
    """[R * N]: (row, head) pairs in the order of the groups' sequences."""
    back: torch.Tensor
    """[R * N]: the way back."""
    queries: torch.Tensor
    """[G * N + 1], int32: where each group's sequences of queries begin."""
    keys: torch.Tensor
    """[G * N + 1], int32: where their keys do."""
    rows: torch.Tensor
    """[R * N + 1], int32: where each row's queries begin."""
    rooms: torch.Tensor
    """[R * N + 1], int32: where its room does."""
    used: torch.Tensor
    """[R * N], int32: how much of its room is written."""
    longest: tuple[int, int, int]
    """Most queries of a group, keys of a group, tokens in a room."""


def plan(
    counts: Sequence[int],
    sizes: Sequence[int],
    lengths: Sequence[int],
    *,
    heads: int,
    shared: int,
    capacity: int,
    device: torch.device,
) -> Plan:
    """The plan of a step.

    Args:
        counts: rows of each group.
        sizes: tokens of its prompt part.
        lengths: tokens that each row has in its room, this step's included.
        heads: N.
        shared: Q.
        capacity: C.
    """
    units = torch.arange(len(lengths) * heads).reshape(-1, heads)
    order = torch.cat([rows.T.flatten() for rows in torch.split(units, list(counts))])
    every = len(lengths) * heads + 1

    def begins(of_each: Sequence[int]) -> torch.Tensor:
        repeated = [length for length in of_each for _ in range(heads)]
        return torch.tensor([0, *accumulate(repeated)], dtype=torch.int32, device=device)

    return Plan(
        order=order.to(device),
        back=order.argsort().to(device),
        queries=begins([count * shared for count in counts]),
        keys=begins(sizes),
        rows=torch.arange(every, dtype=torch.int32, device=device) * shared,
        rooms=torch.arange(every, dtype=torch.int32, device=device) * capacity,
        used=torch.tensor(lengths, dtype=torch.int32, device=device).repeat_interleave(heads),
        longest=(max(counts) * shared, max(sizes), max(lengths)),
    )


def parts(
    query: torch.Tensor,
    prompts: torch.Tensor,
    rooms: torch.Tensor,
    plan: Plan,
    scale: float,
    run: Callable[..., Part] | None = None,
) -> tuple[Part, Part]:
    """Attention to the prompts and to the rooms.

    Args:
        query: [R, N, Q, D].
        prompts: [2, sum of N * P, D].
        rooms: [2, R, N, C, D].
    """
    flash = run or _flash
    most, longest, written = plan.longest
    units = query.flatten(0, 1)  # [R * N, Q, D]
    shape = (*query.shape[:3], -1)
    sequences = (plan.queries, plan.keys, most, longest)
    out, total = flash(_rows(units[plan.order]), *map(_rows, prompts), *sequences, scale=scale)
    asked = (out.reshape(units.shape)[plan.back], total.reshape(*units.shape[:2], 1)[plan.back])
    sequences = (plan.rows, plan.rooms, query.shape[2], written)
    out, total = flash(
        _rows(units), *map(_rows, rooms), *sequences, scale=scale, seqused_k=plan.used
    )
    return (
        (asked[0].reshape(shape), asked[1].reshape(shape)),
        (out.reshape(shape), total.reshape(shape)),
    )


def _rows(states: torch.Tensor) -> torch.Tensor:
    """[..., D] to [T, 1, D]: sequences of one head."""
    return states.reshape(-1, 1, states.shape[-1])


def _flash(*given: Any, **options: Any) -> Part:
    from torch.nn.attention.varlen import AuxRequest, varlen_attn

    out, total = varlen_attn(*given, **options, return_aux=AuxRequest(lse=True))
    return out, total
