"""What a run computed, counted: exact, the same on every machine, never noisy."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

FORWARD = -1
"""What torch calls the backward pass under way when there is none."""


@dataclass
class Counts:
    """Of forward passes; what gradient checkpointing computes again is not in them."""

    lm_tokens: int = 0
    """Tokens that went through the decoder stack, padding included."""
    vision_tiles: int = 0
    """Tiles that went through the vision tower."""
    head_rows: int = 0
    """Hidden states that were multiplied with the output layer."""
    images: int = 0
    """Pictures that the image processor prepared."""
    saved_bytes: int = 0
    """Activations kept for the backward pass when the forward passes were done: each tensor's
    memory once, weights not counted."""


@contextmanager
def counting(*models: Any, image_processor: Any = None) -> Iterator[Counts]:
    """Count what runs inside, on models that have no adapters around them."""
    counts = Counts()
    hooks = [
        part.register_forward_pre_hook(count(counts), with_kwargs=True)
        for model in models
        for part, count in (
            (model.model.language_model, _tokens),
            (model.model.vision_tower, _tiles),
        )
    ]
    kept = _Kept(models, counts)
    try:
        with (
            _counted_images(image_processor, counts),
            _HeadRows(models, counts),
            torch.autograd.graph.saved_tensors_hooks(kept.pack, kept.unpack),
        ):
            yield counts
    finally:
        for hook in hooks:
            hook.remove()


def _tokens(counts: Counts) -> Any:
    def count(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = kwargs.get("inputs_embeds")
        given = kwargs.get("input_ids", args[0] if args else None) if given is None else given
        counts.lm_tokens += given.shape[0] * given.shape[1]

    return count


def _tiles(counts: Counts) -> Any:
    def count(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        counts.vision_tiles += len(args[0] if args else kwargs["pixel_values"])

    return count


class _HeadRows(TorchDispatchMode):
    """Counts rows of products with the output layer's weight, also where a library cuts it into
    tiles of the vocabulary (the first tile counts) and calls no module."""

    PRODUCTS = ("aten::mm", "aten::addmm", "aten::addmm_", "aten::linear")

    def __init__(self, models: Sequence[Any], counts: Counts) -> None:
        super().__init__()
        heads = [model.get_output_embeddings().weight for model in models]
        self.places = {head.data_ptr(): head.shape[1] for head in heads}
        self.counts = counts

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        if func._schema.name in self.PRODUCTS and torch._C._current_graph_task_id() == FORWARD:
            left, right = [a for a in args if isinstance(a, torch.Tensor)][-2:]
            if self.places.get(right.data_ptr()) == left.shape[-1]:
                self.counts.head_rows += left.numel() // left.shape[-1]
        return made


class _Kept:
    """Memory of tensors saved for the backward pass."""

    def __init__(self, models: Sequence[Any], counts: Counts) -> None:
        weights = [w for model in models for w in (*model.parameters(), *model.buffers())]
        self.seen = {weight.untyped_storage().data_ptr() for weight in weights}
        self.counts = counts

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.seen and torch._C._current_graph_task_id() == FORWARD:
            self.seen.add(storage.data_ptr())
            self.counts.saved_bytes += storage.nbytes()
        return tensor

    def unpack(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor


@contextmanager
def _counted_images(processor: Any, counts: Counts) -> Iterator[None]:
    """Both sides call the image processor as a function, which calls its `preprocess`."""
    if processor is None:
        yield
        return
    original = processor.preprocess

    def preprocess(images: Any, *args: Any, **kwargs: Any) -> Any:
        counts.images += _num_images(images)
        return original(images, *args, **kwargs)

    processor.preprocess = preprocess
    try:
        yield
    finally:
        del processor.preprocess


def _num_images(images: Any) -> int:
    return sum(map(_num_images, images)) if isinstance(images, list | tuple) else 1
