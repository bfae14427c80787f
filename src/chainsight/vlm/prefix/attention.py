"""How the branches of a row are kept apart: one attention for each kind of kernel.

Each is registered with transformers under a name of its own, which a model is loaded with. With
the argument `layout` it keeps to `Layout.sees`; without, as in a vision tower or in generation,
it is transformers' sdpa.

Letters in shapes: S tokens, H query heads, G key heads, D a head's size, N sequences.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.flex_attention import flex_attention_forward
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from chainsight.errors import CheckpointError, ConfigError
from chainsight.vlm.prefix.layout import Layout, Span

ATTENTION = "chainsight_prefix"
"""Name in transformers' registry of the attention that runs everywhere, `sdpa`."""

NO_MASK = (1, 1, 0, 0)
"""Shape of the mask that stands for none: transformers passes a 4D mask on as it is. With None it
would take restarting positions for packed documents and hide the prompt from the branches. It
fits no other attention, so that a model loaded without ours raises."""

CHANGES = ("softcap", "s_aux", "position_bias")
"""Arguments by which some architectures change the scores; the kernels here know none."""

Kernel = Callable[
    [torch.nn.Module, torch.Tensor, torch.Tensor, torch.Tensor, float | None, Layout], torch.Tensor
]
"""Module, query [1, H, S, D], key and value [1, G, S, D], scaling, layout to [1, S, H, D]."""


def attention(
    kernel: Kernel,
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    layout: Layout | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention interface, along `layout` by `kernel`.

    Raises:
        ValueError: a cache, a mask, dropout or another change came along, which would make it
            wrong.
    """
    if layout is None or not getattr(module, "is_causal", True):  # or in a vision tower
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    _require_bare(query, key, attention_mask, dropout, layout, kwargs)
    if torch.is_autocast_enabled(query.device.type):  # rotary positions may have made them float32
        dtype = torch.get_autocast_dtype(query.device.type)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    return kernel(module, query, key, value, scaling, layout), None


def _require_bare(
    query: torch.Tensor,
    key: torch.Tensor,
    mask: torch.Tensor | None,
    dropout: float,
    layout: Layout,
    others: dict[str, Any],
) -> None:
    if dropout:
        raise ValueError(f"dropout is {dropout}: a shared prompt has one draw for all; set it to 0")
    if query.shape[0] != 1 or query.shape[2] != layout.input_ids.shape[1]:
        raise ValueError(f"{tuple(query.shape)} is not the layout's one row of tokens")
    if key.shape[2] != query.shape[2]:
        raise ValueError("keys of a cache came along with a layout; pass use_cache=False")
    if mask is None or mask.shape != NO_MASK:
        raise ValueError("pass the arguments that `forward` makes, and no mask of your own")
    changed = [name for name in CHANGES if others.get(name) is not None]
    if changed:
        raise ValueError(f"the model's attention uses {changed[0]}, which no shared prompt knows")
    window = others.get("sliding_window")
    reach = max(span.reach for span in layout.spans)
    if window is not None and reach > window:
        raise ValueError(
            f"the model sees {window} tokens at once and a sequence has {reach}; a shared prompt "
            "knows no windows: use shorter prompts or smaller pictures"
        )


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


KINDS: dict[str, tuple[str, Kernel]] = {
    "sdpa": (ATTENTION, split),
    "eager": (f"{ATTENTION}_dense", dense),
    "flex_attention": (f"{ATTENTION}_blocks", blocks),
    "flash_attention_2": (f"{ATTENTION}_varlen", varlen),
}
"""By `model.attention`: the name that a model is loaded with, and the kernel behind it."""

for _name, _kernel in KINDS.values():
    AttentionInterface.register(_name, partial(attention, _kernel))
    AttentionMaskInterface.register(_name, sdpa_mask)


def implementation(attention: str) -> str:
    """What `from_pretrained` takes as `attn_implementation` for the setting `model.attention`.

    Raises:
        ConfigError: there is none, or this machine cannot run it.
    """
    if attention not in KINDS:
        raise ConfigError(
            f"model.attention {attention!r} cannot share prompts; choose from: {', '.join(KINDS)}"
        )
    if attention == "flash_attention_2" and not torch.cuda.is_available():
        raise ConfigError("model.attention flash_attention_2 needs a GPU; set it to sdpa")
    return KINDS[attention][0]


def require(model: Any) -> None:
    """Refuse a model whose language model has none of our attentions.

    Raises:
        CheckpointError: naming the way out.
    """
    found = model.config.get_text_config()._attn_implementation
    if found not in {name for name, _ in KINDS.values()}:
        raise CheckpointError(
            f"the model was loaded with attention {found!r}, to which the branches of a group are "
            "one text; load it with prefix.implementation(...)"
        )
