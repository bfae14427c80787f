"""What a training computes, counted by hooks: exact, and the same on every machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from chainsight.vlm.checkpoint import Loaded


@dataclass
class Counts:
    """Of all forward passes, those of the reference too."""

    tokens: int = 0
    """Through the language model."""
    tiles: int = 0
    """Through the vision tower."""
    head_rows: int = 0
    """Hidden states through the output layer."""
    images: int = 0
    """Prepared by the image processor."""


@contextmanager
def counting(loaded: Loaded, *others: Any) -> Iterator[Counts]:
    """Count on the loaded model, and on further ones of its kind."""
    counts = Counts()
    hooks = []
    for model in (loaded.model, *others):
        parts = (
            (model.model.language_model, "tokens", lambda _, kw: kw["inputs_embeds"].shape[1]),
            (model.model.vision_tower, "tiles", lambda a, kw: len(kw.get("pixel_values", *a[:1]))),
            (model.lm_head, "head_rows", lambda a, _: a[0].shape[1]),
        )
        for part, name, size in parts:
            hook = _counter(counts, name, size)
            hooks.append(part.register_forward_pre_hook(hook, with_kwargs=True))
    processor = loaded.processor.image_processor
    prepare = processor.preprocess

    def prepared(images: Any, *args: Any, **kwargs: Any) -> Any:
        counts.images += len(images)
        return prepare(images, *args, **kwargs)

    processor.preprocess = prepared
    try:
        yield counts
    finally:
        del processor.preprocess
        for hook in hooks:
            hook.remove()


def _counter(counts: Counts, name: str, size: Any) -> Any:
    def count(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        setattr(counts, name, getattr(counts, name) + size(args, kwargs))

    return count
