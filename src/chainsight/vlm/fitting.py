"""Whether the parts of a checkpoint fit: architecture, tensors, processor. Refused by name."""

from pathlib import Path
from typing import Any

from transformers.models.auto import processing_auto

from chainsight.errors import CheckpointError
from chainsight.vlm import families
from chainsight.vlm.files import read_json

SHARED = {
    "patch_size": "patch_size",
    "image_grid_pinpoints": "image_grid_pinpoints",
    "vision_feature_select_strategy": "vision_feature_select_strategy",
    "merge_size": "spatial_merge_size",
    "temporal_patch_size": "temporal_patch_size",
}
"""What a processor and its model must both know, for the picture's tokens to be as many as its
features; by the processor's names and the model's."""


def check_architecture(ref: str | Path, folder: Path) -> None:
    """Refuse a configuration of another kind than the known families.

    Raises:
        CheckpointError: its `model_type` is none of theirs.
    """
    try:
        families.named(read_json(folder / "config.json").get("model_type"))
    except CheckpointError as error:
        raise CheckpointError(f"{ref}: config.json: {error}") from None


def check_window(ref: str | Path, config: Any) -> None:
    """Refuse a language model some of whose layers see no further than a window.

    Raises:
        CheckpointError: `sliding_window` is set.
    """
    window = getattr(config.get_text_config(), "sliding_window", None)
    if window:
        raise CheckpointError(
            f"{ref}: config.json: sliding_window is {window}, but answers see the whole of a "
            "shared prompt; use a checkpoint without a window"
        )


def check_tensors(ref: str | Path, info: dict[str, Any]) -> None:
    """Refuse weights other than the configuration's; `info` is transformers' loading info."""
    for kind in ("missing", "unexpected", "mismatched"):
        refuse_tensors(ref, kind, info.get(f"{kind}_keys") or ())


def refuse_tensors(ref: str | Path, kind: str, names: Any) -> None:
    """Raise a CheckpointError that names the first tensor, if there is any."""
    found = sorted(str(name) for name in names)
    if found:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise CheckpointError(
            f"{ref}: {kind} tensor {found[0]}{more}: the weights do not fit config.json; use "
            "the configuration they were saved with"
        )


def check_processor(ref: str | Path, model: Any, processor: Any) -> None:
    """Refuse a processor that is another model's.

    Raises:
        CheckpointError: its class, its image token, its vocabulary or its pictures' size are not
            those of the model.
    """
    for fault in _faults(model, processor):
        raise CheckpointError(
            f"{ref}: wrong processor: {fault}; use the processor files that belong to the weights"
        )


def _faults(model: Any, processor: Any) -> Any:
    config, found = model.config, type(processor).__name__
    known: Any = processing_auto
    wanted = known.PROCESSOR_MAPPING_NAMES.get(config.model_type)
    if not all(hasattr(processor, part) for part in ("tokenizer", "image_processor")):
        yield f"{found} takes no pictures, a {config.model_type} needs {wanted}"
        return
    if wanted and found.removesuffix("Fast") != wanted:
        yield f"{found}, a {config.model_type} needs {wanted}"
    if not (processor.chat_template or processor.tokenizer.chat_template):
        yield "it has no chat template"
    highest = max(processor.tokenizer.get_vocab().values())
    rows = model.get_input_embeddings().weight.shape[0]
    if highest >= rows:
        yield f"its tokenizer has token {highest}, the model's vocabulary ends at {rows - 1}"
    yield from _picture_faults(config, processor)


def _picture_faults(config: Any, processor: Any) -> Any:
    token = getattr(processor, "image_token", None)
    wanted = getattr(config, "image_token_id", None)
    found = processor.tokenizer.convert_tokens_to_ids(token) if token else None
    if wanted is not None and found != wanted:
        yield f"its image token {token!r} is {found}, the model's is {wanted}"
    for name, named in SHARED.items():
        own = getattr(processor, name, None) or getattr(processor.image_processor, name, None)
        theirs = getattr(config, named, None) or getattr(
            getattr(config, "vision_config", None), named, None
        )
        if own is not None and theirs is not None and _plain(own) != _plain(theirs):
            yield f"its {name} is {_plain(own)}, the model's is {_plain(theirs)}"


def _plain(value: Any) -> Any:
    """Tuples as lists: JSON knows no other."""
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
