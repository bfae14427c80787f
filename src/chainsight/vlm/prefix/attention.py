"""How the branches of a row are kept apart: one attention for each kind of kernel.

Each is registered with transformers under a name of its own, which a model is loaded with. With
the argument `layout` it keeps to `Layout.sees`; without, as in a vision tower or in generation,
it is transformers' sdpa.
"""

from functools import partial
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from chainsight.errors import CheckpointError, ConfigError
from chainsight.vlm.prefix.kernels import Kernel, blocks, dense, split, varlen
from chainsight.vlm.prefix.layout import Layout

ATTENTION = "chainsight_prefix"
"""Name in transformers' registry of the attention that runs everywhere, `sdpa`."""

NO_MASK = (1, 1, 0, 0)
"""Shape of the mask that stands for none: transformers passes a 4D mask on as it is. With None it
would take restarting positions for packed documents and hide the prompt from the branches. It
fits no other attention, so that a model loaded without ours raises."""

CHANGES = ("softcap", "s_aux", "position_bias")
"""Arguments by which some architectures change the scores; the kernels here know none."""


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
