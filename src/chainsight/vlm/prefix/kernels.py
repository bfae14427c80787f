"""Attention along a layout, by four kinds of kernels that compute the same.

Letters in shapes: S tokens, H query heads, G key heads, D a head's size, N sequences.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from transformers.integrations.flex_attention import flex_attention_forward

from chainsight.vlm.prefix.layout import Layout, Span

Kernel = Callable[
    [torch.nn.Module, torch.Tensor, torch.Tensor, torch.Tensor, float | None, Layout], torch.Tensor
]
"""Module, query [1, H, S, D], key and value [1, G, S, D], scaling, layout to [1, S, H, D]."""


# --- sdpa: two calls a group, anywhere -------------------------------------------------------


@dataclass(frozen=True)
class Bunch:
    """Branches that are attended to in one call."""

    start: int
    stop: int
    """Their tokens' places in the row."""
    mask: torch.Tensor
    """[stop - start, prompt + stop - start], bool: which keys a token sees."""


def split(
    module: torch.nn.Module,  # noqa: ARG001
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float | None,
    layout: Layout,
) -> torch.Tensor:
    """A prompt is causal, bunches of branches see it and themselves: no mask of S x S."""
    parts = []
    for span, bunches in zip(layout.spans, layout.keep("bunches", _bunches), strict=True):
        part = slice(span.start, span.prompt_stop if bunches else span.stop)
        parts.append(_causal(query[:, :, part], key[:, :, part], value[:, :, part], scaling))
        for bunch in bunches:
            keys, values = (_seen(t, span, bunch) for t in (key, value))
            own = query[:, :, bunch.start : bunch.stop]
            parts.append(_masked(own, keys, values, bunch.mask, scaling))
    return torch.cat(parts, 2).transpose(1, 2).contiguous()


def _bunches(layout: Layout) -> list[list[Bunch]]:
    """Of each span; none for a single branch, as that is an ordinary sequence."""
    return [
        [_bunch(layout, span, start, stop) for start, stop in _bounds(span)]
        for span in layout.spans
    ]


def _bounds(span: Span) -> Iterator[tuple[int, int]]:
    """Branches see each other in vain, so a bunch is kept shorter than about half the prompt."""
    if len(span.stops) < 2:
        return
    limit = (span.prompt_stop - span.start) // 2
    start = stop = span.prompt_stop
    for end in span.stops:
        if stop > start and end - start > limit:
            yield start, stop
            start = stop
        stop = end
    if stop > start:
        yield start, stop


def _bunch(layout: Layout, span: Span, start: int, stop: int) -> Bunch:
    place = torch.arange(layout.input_ids.shape[1], device=layout.input_ids.device)
    keys = torch.cat([place[span.start : span.prompt_stop], place[start:stop]])
    return Bunch(start, stop, layout.sees(place[start:stop, None], keys[None]))


def _seen(states: torch.Tensor, span: Span, bunch: Bunch) -> torch.Tensor:
    """Keys or values of the prompt and of one bunch; copied only if they don't lie together."""
    if bunch.start == span.prompt_stop:
        return states[:, :, span.start : bunch.stop]
    prompt = states[:, :, span.start : span.prompt_stop]
    return torch.cat([prompt, states[:, :, bunch.start : bunch.stop]], 2)


def _causal(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None
) -> torch.Tensor:
    return functional.scaled_dot_product_attention(
        query,
        key,
        value,
        is_causal=query.shape[2] > 1,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )


def _masked(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    scaling: float | None,
) -> torch.Tensor:
    """With grouped queries, those that share a key head become rows: masked kernels know no
    groups, and copies of the keys would be kept for the backward pass."""
    batch, heads, rows, size = query.shape
    shared = heads // key.shape[1]
    folded = query.reshape(batch, key.shape[1], shared * rows, size)
    found = functional.scaled_dot_product_attention(
        folded, key, value, attn_mask=mask.repeat(shared, 1), scale=scaling
    )
    return found.reshape(batch, heads, rows, value.shape[-1])


# --- eager: the oracle -----------------------------------------------------------------------


def dense(
    module: torch.nn.Module,  # noqa: ARG001
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float | None,
    layout: Layout,
) -> torch.Tensor:
    """All S x S scores, those that `sees` forbids struck out. To compare the others with."""
    shared = query.shape[1] // key.shape[1]
    keys, values = (states.repeat_interleave(shared, 1) for states in (key, value))
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = (query @ keys.transpose(2, 3)).float() * scale
    scores = scores.masked_fill(~layout.keep("dense", Layout.dense), float("-inf"))
    return (scores.softmax(-1).to(values.dtype) @ values).transpose(1, 2).contiguous()


# --- flex_attention: compiled for the mask ---------------------------------------------------


def blocks(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float | None,
    layout: Layout,
) -> torch.Tensor:
    """torch's FlexAttention passes over blocks in which no token sees another.

    On a CPU it has no backward pass; no GPU has run this here.
    """
    if query.device.type == "cpu" and any(s.requires_grad for s in (query, key, value)):
        raise ValueError(
            "flex_attention has no backward pass on a CPU; set model.attention to sdpa"
        )
    mask = layout.keep("blocks", _block_mask)
    found: torch.Tensor = flex_attention_forward(module, query, key, value, mask, scaling=scaling)[
        0
    ]
    return found


def _block_mask(layout: Layout) -> BlockMask:
    size = layout.input_ids.shape[1]

    def rule(
        _batch: torch.Tensor, _head: torch.Tensor, query: torch.Tensor, key: torch.Tensor
    ) -> torch.Tensor:
        return layout.sees(query, key)

    return create_block_mask(rule, None, None, size, size, device=layout.input_ids.device)


# --- flash_attention_2: sequences of unequal length ------------------------------------------


@dataclass(frozen=True)
class Packed:
    """Sequences as flash attention's kernels for unequal lengths take them."""

    cu_queries: torch.Tensor
    """[N + 1], int32: where each sequence's queries begin; its last one sees its last key."""
    cu_keys: torch.Tensor
    """[N + 1], int32."""
    max_queries: int
    max_keys: int
    keys: torch.Tensor
    """The keys' places in the row, sequence by sequence."""


def packed(layout: Layout) -> Packed:
    """A group is its prompt and first branch, and each further branch after the same prompt."""
    size, device = layout.input_ids.shape[1], layout.input_ids.device
    place = torch.arange(size, device=device)
    queries, keys = [], []
    for span in layout.spans:
        first, *others = span.stops or (span.prompt_stop,)
        queries.append(first - span.start)
        keys.append([place[span.start : first]])
        for start, stop in pairwise((first, *others)):
            queries.append(stop - start)
            keys.append([place[span.start : span.prompt_stop], place[start:stop]])
    lengths = [sum(map(len, parts)) for parts in keys]
    return Packed(
        torch.tensor([0, *accumulate(queries)], dtype=torch.int32, device=device),
        torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device),
        max(queries),
        max(lengths),
        torch.cat([part for parts in keys for part in parts]),
    )


def varlen(
    module: torch.nn.Module,  # noqa: ARG001
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float | None,
    layout: Layout,
    run: Callable[..., torch.Tensor] | None = None,
) -> torch.Tensor:
    """All groups in one call of torch's flash attention; each further branch takes a copy of its
    prompt's keys, so many branches on one prompt want `sdpa`.

    No GPU has run this here: its indices are tested with another `run`.
    """
    pack = layout.keep("packed", packed)
    rows = [states[0].transpose(0, 1) for states in (query, key, value)]  # [S, heads, D]
    found = (run or _flash)(
        rows[0],
        rows[1][pack.keys],
        rows[2][pack.keys],
        pack.cu_queries,
        pack.cu_keys,
        pack.max_queries,
        pack.max_keys,
        scale=scaling,
        window_size=(-1, 0),  # causal, the last query on the last key
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return found[None]


def _flash(query: torch.Tensor, *rest: Any, **options: Any) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    if query.dtype not in {torch.bfloat16, torch.float16}:
        raise ValueError(
            f"flash attention does not compute in {query.dtype}; set model.dtype to bfloat16, or "
            "model.attention to sdpa"
        )
    found = varlen_attn(query, *rest, **options)
    assert isinstance(found, torch.Tensor), "its log-sum comes only if asked for"
    return found
