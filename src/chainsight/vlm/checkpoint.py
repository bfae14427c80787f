"""Model checkpoints: verify, load, save. Safetensors only, no code, sha256 of every file.

A checkpoint of ours holds `chainsight.json` beside the weights: what it is and each file's
digest, and `MLmodel`, by which MLflow loads it. Checkpoints of others have none; they get every
check but that one. An adapter is loaded on its base and is a whole model from then on.
"""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForImageTextToText
from transformers.utils import logging as transformers_logging

from chainsight.config import PromptStyle
from chainsight.errors import CheckpointError
from chainsight.prompts import STYLES
from chainsight.vlm import adapter, families, fitting, mlmodel, processors
from chainsight.vlm.adapter import PREFIX, Adapter, Base
from chainsight.vlm.families import Family
from chainsight.vlm.files import (
    BUILTIN,
    FORMAT,
    SEAL,
    check_files,
    content_digest,
    fetch_artifact,
    fingerprint,
    is_adapter,
    resolve,
    sealed_files,
    sha256,
)
from chainsight.vlm.template import Template

__all__ = [
    "BUILTIN",
    "PREFIX",
    "SEAL",
    "Adapter",
    "Base",
    "Loaded",
    "check_files",
    "content_digest",
    "fingerprint",
    "load",
    "needing_space",
    "outline",
    "quiet",
    "resolve",
    "save",
    "save_adapter",
    "seal",
    "verify",
]


STYLE = "prompt_style"
"""The seal's key for `Loaded.prompt_style`; absent: the paper's."""


@dataclass(frozen=True)
class Loaded:
    """A model ready for use, with its way from text to tensors."""

    model: Any
    processor: Any
    template: Template
    folder: Path
    device: torch.device
    prompt_style: PromptStyle = "paper"
    """Whose words it was taught in."""

    @property
    def family(self) -> Family:
        """What the shared-prefix engine must know of its architecture."""
        return families.of(self.model.config)

    @property
    def end_ids(self) -> tuple[int, ...]:
        """Tokens that end an answer."""
        ends = self.model.generation_config.eos_token_id
        listed = [ends] if isinstance(ends, int) else list(ends or [])
        return tuple(dict.fromkeys([self.template.end_of_turn, *listed]))


def default_device() -> torch.device:
    """A CUDA device if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' own bars and notices off the screen; `context.progress` draws ours."""
    screen: Any = transformers_logging
    level, bars = screen.get_verbosity(), screen.is_progress_bar_enabled()
    screen.set_verbosity_error()
    screen.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # between the pinned libraries
            yield
    finally:
        screen.set_verbosity(level)
        if bars:
            screen.enable_progress_bar()


def load(
    ref: str | Path,
    *,
    revision: str | None = None,
    dtype: str = "float32",
    attention: str = "sdpa",
    device: torch.device | None = None,
    fetch: Callable[[str], Path] = fetch_artifact,
) -> Loaded:
    """Verify a checkpoint and load it: `builtin:tiny`, a folder or a hub id.

    An adapter is added to its base, which is verified, too; `fetch` gives the folder of a base
    that lies in a store.

    Raises:
        CheckpointError: it is missing, damaged, of a refused format, or does not fit its
            architecture; the message names the file or tensor and the way out.
        StoreError: an adapter's base is not in its store.
    """
    place = device or default_device()
    folder = resolve(ref, revision)
    model, processor, seal = _load_parts(ref, folder, dtype, attention, place, fetch)
    template = _template(model, processor, seal)
    model.eval()
    return Loaded(model.to(place), processor, template, folder, place, _style(ref, seal))


def _load_parts(
    ref: str | Path,
    folder: Path,
    dtype: str,
    attention: str,
    place: torch.device,
    fetch: Callable[[str], Path],
) -> tuple[Any, Any, dict[str, Any]]:
    """Model, processor and the seal of the whole checkpoint; an adapter's model is merged."""
    own = verify(folder)
    if not is_adapter(folder):
        return *_load_whole(ref, folder, dtype, attention), own
    base, where = _located(folder, own, fetch)
    model, processor, seal = _load_parts(base.ref, where, dtype, attention, place, fetch)
    _check_base(folder, base, where)
    adapter.merge(model.to(place), folder)
    return model, processor, seal | {STYLE: own.get(STYLE, "paper")}


def _style(ref: str | Path, seal: dict[str, Any]) -> PromptStyle:
    style: PromptStyle = seal.get(STYLE, "paper")
    if style not in STYLES:
        raise CheckpointError(f"{ref}: {SEAL}: {STYLE} is {style!r}; known: {', '.join(STYLES)}")
    return style


def _load_whole(ref: str | Path, folder: Path, dtype: str, attention: str) -> tuple[Any, Any]:
    fitting.check_architecture(ref, folder)
    models: Any = AutoModelForImageTextToText
    local: Any = {"trust_remote_code": False, "local_files_only": True}
    try:
        with quiet():
            model, info = models.from_pretrained(
                folder,
                dtype=getattr(torch, dtype),
                attn_implementation=attention,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # refused below, by name
                output_loading_info=True,
                **local,
            )
            processor = processors.load(folder, model.config.model_type)
    except (OSError, ValueError, KeyError, TypeError, ImportError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise CheckpointError(f"{ref}: does not load: {reason}") from error
    fitting.check_window(ref, model.config)
    fitting.check_tensors(ref, info)
    fitting.check_processor(ref, model, processor)
    if processor.chat_template is None:  # older checkpoints keep it with the tokenizer
        processor.chat_template = processor.tokenizer.chat_template
    return model, processor


def _template(model: Any, processor: Any, seal: Mapping[str, Any]) -> Template:
    families.of(model.config)  # refuses what is not known
    return Template(processor, system_prompt=bool(seal.get("system_prompt", True)))


def _located(
    folder: Path, seal: Mapping[str, Any], fetch: Callable[[str], Path]
) -> tuple[Base, Path]:
    base = adapter.base_of(folder, seal)
    return base, adapter.locate(base, fetch)


def _check_base(folder: Path, base: Base, where: Path) -> None:
    """Refuse a base other than the adapter's own; its files were verified just before."""
    found = content_digest(where, check_files(where, digests=False))
    if found != base.sha256:
        raise CheckpointError(
            f"{folder}: its base {base.ref} has sha256 {found}, the adapter was trained on "
            f"{base.sha256}; give the base as it was then"
        )


def outline(
    ref: str | Path,
    *,
    revision: str | None = None,
    dtype: str = "float32",
    attention: str = "sdpa",
    fetch: Callable[[str], Path] = fetch_artifact,
) -> Loaded:
    """A checkpoint's model without its weights, for ranks that will get their part of them.

    The memory of the weights, on the CPU, is reserved but not used: it holds nothing.
    """
    from accelerate import init_empty_weights  # type: ignore[import-untyped]  # only who trains has it

    folder = resolve(ref, revision)
    while is_adapter(folder):  # a base has the shape of what is added to it
        folder = _located(folder, check_files(folder, digests=False), fetch)[1]
    local: Any = {"trust_remote_code": False, "local_files_only": True}
    models: Any = AutoModelForImageTextToText
    with quiet():
        config = AutoConfig.from_pretrained(folder, **local)
        with init_empty_weights(include_buffers=False):
            model = models.from_config(
                config, dtype=getattr(torch, dtype), attn_implementation=attention
            )
        processor = processors.load(folder, config.model_type)
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            empty = torch.empty(parameter.shape, dtype=parameter.dtype)
            setattr(module, name, torch.nn.Parameter(empty))
    model.tie_weights()
    model.eval()
    seal = check_files(folder, digests=False)
    return Loaded(model, processor, _template(model, processor, seal), folder, torch.device("cpu"))


def verify(folder: Path) -> dict[str, Any]:
    """Check a checkpoint's files without loading it; returns its seal (empty if it has none).

    Raises:
        CheckpointError: pickled weights, code, an unreadable or unlisted file, a wrong digest.
    """
    seal = check_files(folder, digests=True)
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as opened:
                opened.keys()
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path}: damaged ({error}); copy it again") from None
    return seal


def save(
    loaded: Loaded, folder: Path, *, base: str, kind: str = "full", dtype: str = "float32"
) -> None:
    """Write model, tokenizer, processor, chat template and MLflow's `MLmodel`, and seal them.

    The bytes depend on the weights alone. `kind` says how they were made: full or lora-merged.

    Raises:
        CheckpointError: the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with quiet(), needing_space(folder):
        loaded.model.to(getattr(torch, dtype)).save_pretrained(folder, max_shard_size="5GB")
        loaded.processor.save_pretrained(folder)
        mlmodel.write(folder, dtype=dtype)
    said = {"system_prompt": loaded.template.system_prompt} | _other_style(loaded.prompt_style)
    seal(folder, base=base, kind=kind, **said)


def _other_style(style: PromptStyle) -> dict[str, str]:
    """What a seal says of the style: nothing of the paper's, as before there were others."""
    return {} if style == "paper" else {STYLE: style}


def save_adapter(
    made: Adapter, folder: Path, *, on: Base, base: str, dtype: str, style: PromptStyle = "paper"
) -> None:
    """Write an adapter and seal it, with the base that it is loaded on.

    `base` is its origin as in every seal, `dtype` the base's precision in the training.

    Raises:
        CheckpointError: the disk is full.
    """
    with needing_space(folder):
        adapter.write(folder, made, on)
        mlmodel.write(folder, dtype=dtype)
    seal(folder, base=base, kind="adapter", base_model=asdict(on), **_other_style(style))


@contextmanager
def needing_space(folder: Path) -> Iterator[None]:
    """Turn what the three writers raise on a full disk into one message."""
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:  # torch.save raises the last
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"{folder}: checkpoint not written ({reason}); free space there, or choose a folder "
            "on another disk"
        ) from error


def seal(folder: Path, *, base: str, kind: str, **more: Any) -> None:
    """Write `chainsight.json`: the checkpoint's origin and each file's size and sha256.

    `more` is `system_prompt`, of a whole checkpoint, or `base_model`, of an adapter; and
    `prompt_style`, if that is not the paper's.
    """
    files = {p.name: {"sha256": sha256(p), "size": p.stat().st_size} for p in sealed_files(folder)}
    content = {"format": FORMAT, "kind": kind, "base": base, **more, "files": files}
    text = json.dumps(content, indent=1, sort_keys=True)
    (folder / SEAL).write_text(text + "\n", encoding="utf-8")
