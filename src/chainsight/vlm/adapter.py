"""Adapter checkpoints: the low-rank change of a base (LoRA), added to its weights when loaded.

A folder holds `adapter_config.json` and `adapter_model.safetensors` as peft reads them, and its
seal names the base with the sha256 of its files. W + scale * (B @ A) is all there is to it, so
that evaluation and serving need no peft; what goes beyond that is refused by name.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from chainsight.errors import CheckpointError
from chainsight.vlm.files import ADAPTER_CONFIG, ADAPTER_WEIGHTS, SEAL, read_json, resolve
from chainsight.vlm.fitting import refuse_tensors

PREFIX = "base_model.model."
"""peft's, before the name of a layer."""
UNDERSTOOD = frozenset({"peft_type", "r", "lora_alpha", "use_rslora", "target_modules", "bias"})
WITHOUT_EFFECT = frozenset(
    {
        "auto_mapping",
        "base_model_name_or_path",
        "inference_mode",
        "init_lora_weights",
        "lora_dropout",
        "peft_version",
        "revision",
        "task_type",
    }
)
"""Keys of `adapter_config.json` that change nothing once the training is over."""


@dataclass(frozen=True)
class Base:
    """What an adapter was trained on."""

    ref: str
    """`builtin:tiny`, a folder, a hub id, or the store URI of an artifact."""
    sha256: str
    """Of its files (`files.content_digest`)."""
    revision: str | None = None
    """Of a hub id."""
    stored: bool = False
    """Whether `ref` is a store URI."""


@dataclass(frozen=True)
class Adapter:
    """The change itself: rank, scale, and A [r, in] and B [out, r] of each changed layer."""

    rank: int
    alpha: float
    layers: Mapping[str, tuple[torch.Tensor, torch.Tensor]]


def base_of(folder: Path, seal: Mapping[str, Any]) -> Base:
    """The base that an adapter's seal names.

    Raises:
        CheckpointError: it names none.
    """
    named = seal.get("base_model")
    if not isinstance(named, dict):
        raise CheckpointError(
            f"{folder}: an adapter whose base no {SEAL} names; merge it with its base (peft's "
            "merge_and_unload) and give the merged checkpoint"
        )
    return Base(**named)


def locate(base: Base, fetch: Callable[[str], Path]) -> Path:
    """The local folder of a base; `fetch` gives that of a store URI."""
    return fetch(base.ref) if base.stored else resolve(base.ref, base.revision)


def write(folder: Path, adapter: Adapter, base: Base) -> None:
    """Write an adapter as peft and vLLM read it; the bytes depend on adapter and base alone."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "base_model_name_or_path": base.ref,
        "bias": "none",
        "inference_mode": True,
        "lora_alpha": adapter.alpha,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": adapter.rank,
        "revision": base.revision,
        "target_modules": sorted(adapter.layers),
        "use_rslora": False,
    }
    tensors = {}
    for name, (a, b) in adapter.layers.items():
        tensors[f"{PREFIX}{name}.lora_A.weight"] = a.contiguous().cpu()
        tensors[f"{PREFIX}{name}.lora_B.weight"] = b.contiguous().cpu()
    text = json.dumps(config, indent=1, sort_keys=True) + "\n"
    (folder / ADAPTER_CONFIG).write_text(text, encoding="utf-8")
    save_file(tensors, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})


def merge(model: torch.nn.Module, folder: Path) -> None:
    """Add the adapter of `folder` to the weights of its base, in place.

    Raises:
        CheckpointError: it is no plain LoRA on linear layers, or does not fit the model.
    """
    scale = _scale(folder)
    wanted = set(read_json(folder / ADAPTER_CONFIG).get("target_modules") or ())
    pairs = _pairs(folder, wanted)
    modules = dict(model.named_modules())
    for name, (a, b) in pairs.items():
        layer = modules.get(name)
        if not isinstance(layer, torch.nn.Linear):
            refuse_tensors(folder, "unexpected", [f"{PREFIX}{name}.lora_A.weight"])
            continue
        if (b.shape[0], a.shape[1]) != layer.weight.shape or a.shape[0] != b.shape[1]:
            refuse_tensors(folder, "mismatched", [f"{PREFIX}{name}.lora_A.weight"])
        place = layer.weight.device
        change = (b.to(place, torch.float32) @ a.to(place, torch.float32)) * scale
        layer.weight.data += change  # added in float32, rounded once to the weight's precision


def _scale(folder: Path) -> float:
    """What B @ A is multiplied by; refuses every other kind of adapter."""
    path = folder / ADAPTER_CONFIG
    config = read_json(path)
    if config.get("peft_type") != "LORA" or config.get("bias", "none") != "none":
        raise CheckpointError(
            f"{path}: peft_type {config.get('peft_type')!r} with bias {config.get('bias')!r}; only "
            "LoRA without biases is read, so merge it with its base and give the merged checkpoint"
        )
    strange = sorted(k for k, v in config.items() if v and k not in UNDERSTOOD | WITHOUT_EFFECT)
    if strange:
        raise CheckpointError(
            f"{path}: {strange[0]} is set, which is not read; merge the adapter with its base "
            "(peft's merge_and_unload) and give the merged checkpoint"
        )
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, int | float):
        raise CheckpointError(f"{path}: r is {rank!r} and lora_alpha {alpha!r}; copy it again")
    return float(alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank)


def _pairs(folder: Path, wanted: set[str]) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """A and B by layer: exactly those of the layers that the configuration names."""
    tensors = load_file(folder / ADAPTER_WEIGHTS)
    names = {f"{PREFIX}{name}.lora_{part}.weight" for name in wanted for part in "AB"}
    refuse_tensors(folder, "missing", names - set(tensors))
    refuse_tensors(folder, "unexpected", set(tensors) - names)
    return {
        name: (
            tensors[f"{PREFIX}{name}.lora_A.weight"],
            tensors[f"{PREFIX}{name}.lora_B.weight"],
        )
        for name in wanted
    }
