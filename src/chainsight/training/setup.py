"""A training's model and settings: what is frozen, in which precision, TRL's arguments."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from trl.trainer.utils import disable_dropout_in_model

from chainsight.config import DpoSection, TrainingSection
from chainsight.context import Context
from chainsight.errors import ConfigError
from chainsight.training import parallel, plan
from chainsight.vlm import checkpoint, prefix

CURVE_POINTS = 200
"""About as many points are kept of each curve."""


def prepare(model: torch.nn.Module, *, freeze: tuple[re.Pattern[str], ...]) -> None:
    """Switch dropout off and freeze the parameters whose name matches one of `freeze`.

    Raises:
        CheckpointError: the model was loaded with an attention that keeps no branches apart.
    """
    prefix.require(model)
    disable_dropout_in_model(model)
    for module in model.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0  # type: ignore[assignment]
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not any(pattern.search(name) for pattern in freeze))


def load_for_training(
    ref: str | Path, config: TrainingSection, context: Context
) -> checkpoint.Loaded:
    """Load a model to be trained; where it will be cut up, only the leader has the weights.

    Weights that are trained stay float32, also for bfloat16 runs (which compute in bfloat16):
    at learning rates of 1e-6 an update is below bfloat16's resolution and would be lost.

    Raises:
        ConfigError: `model.attention` does not train here.
    """
    if context.model.attention == "flex_attention" and not torch.cuda.is_available():
        raise ConfigError("model.attention flex_attention trains on a GPU only; set it to sdpa")
    dtype = context.model.dtype if config.tuning == "lora" else "float32"
    kind: dict[str, Any] = {
        "revision": revision(ref, context),
        "dtype": dtype,
        "attention": prefix.implementation(context.model.attention),
        "fetch": context.fetch,
    }
    if sharded(context) and not parallel.leads():
        return checkpoint.outline(ref, **kind)
    device = torch.device("cpu") if sharded(context) else None  # only its piece comes to the GPU
    return checkpoint.load(ref, **kind, device=device)


def revision(ref: str | Path, context: Context) -> str | None:
    """The hub commit of a model: the configuration names that of the base model."""
    return context.model.revision if ref == context.model.base else None


def steps(
    units: Sequence[plan.Part], config: TrainingSection, context: Context
) -> list[tuple[plan.Part, ...]]:
    """The optimizer steps of a training (`plan.steps`)."""
    return plan.steps(
        units,
        seed=context.seed,
        epochs=config.epochs,
        batch_size=config.batch_size,
        max_steps=config.max_steps,
    )


def reference(config: DpoSection) -> str:
    """Where the reference comes from: `auto` decided."""
    if config.reference != "auto":
        return config.reference
    return "adapter" if config.tuning == "lora" and config.epochs <= 1 else "cache"


def digest(loaded: checkpoint.Loaded) -> str:
    """What identifies the weights that were loaded; the leader's, who has compared them."""
    if not parallel.leads():
        return parallel.agreed("")
    seal = checkpoint.check_files(loaded.folder, digests=False)
    return parallel.agreed(checkpoint.content_digest(loaded.folder, seal))


def kept_on(
    ref: str | Path,
    loaded: checkpoint.Loaded,
    config: TrainingSection,
    context: Context,
    uri: str | None = None,
) -> checkpoint.Base | None:
    """The base that the adapter is to be saved for, or None if it is to be merged.

    `uri` is where the base lies in the store; a folder outside of it is named by its path.
    """
    if config.lora_save == "merged" or not parallel.leads():
        return None
    seal = checkpoint.check_files(loaded.folder, digests=False)  # compared when it was loaded
    digest = checkpoint.content_digest(loaded.folder, seal)
    if uri is not None:
        return checkpoint.Base(uri, digest, stored=True)
    known = str(ref) == "builtin:tiny" or not Path(ref).is_dir()
    return checkpoint.Base(
        str(ref if known else Path(ref).absolute()), digest, revision(ref, context)
    )


def adapter_of(model: Any) -> checkpoint.Adapter:
    """The adapter that was trained in `model`, a PeftModel."""
    changed = [(n, module) for n, module in model.named_modules() if isinstance(module, LoraLayer)]
    layers = {name.removeprefix(checkpoint.PREFIX): _pair(module) for name, module in changed}
    config = model.peft_config["default"]
    return checkpoint.Adapter(config.r, config.lora_alpha, layers)


def _pair(layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    return a.detach(), b.detach()


def sharded(context: Context) -> bool:
    """Whether the weights are cut up among several processes."""
    return context.parallel == "fsdp" and parallel.num_ranks() > 1


def adapters(model: torch.nn.Module, config: TrainingSection) -> LoraConfig | None:
    """Low-rank adapters on every linear layer that is not frozen, the output layer apart."""
    if config.tuning == "full":
        return None
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and module.weight.requires_grad
        and not name.endswith("lm_head")
    ]
    return LoraConfig(
        r=config.lora_rank, lora_alpha=config.lora_alpha, lora_dropout=0.0, target_modules=names
    )


def arguments(
    config: TrainingSection, context: Context, *, learning_rate: float, num_steps: int
) -> dict[str, Any]:
    """The keyword arguments that SFTConfig and DPOConfig share.

    A step's forward passes and their accumulation are ours: to the trainer it is one batch.

    Raises:
        ConfigError: there are more processes than rows in an optimizer step.
    """
    if config.batch_size < parallel.num_ranks():
        raise ConfigError(
            f"batch_size {config.batch_size} is less than {parallel.num_ranks()} processes, of "
            "which some would learn nothing; raise it, or set platform.processes"
        )
    log_every = max(
        n
        for n in range(1, max(1, num_steps // CURVE_POINTS) + 1)
        if config.save_every_steps % n == 0  # so that no curve point spans a resume
    )
    cuda = torch.cuda.is_available()
    return {
        "output_dir": str(context.work / "checkpoints"),
        "per_device_train_batch_size": config.device_batch_size,
        "gradient_accumulation_steps": 1,
        "num_train_epochs": 1,  # the plan already holds all epochs
        "learning_rate": learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": math.ceil(config.warmup_ratio * num_steps),
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "bf16": context.model.dtype == "bfloat16",
        "activation_checkpointing": context.model.gradient_checkpointing,
        "use_cache": True,  # goes into the saved config; our forwards say no for themselves
        "max_length": None,
        "logging_steps": log_every,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": config.save_every_steps,
        "save_total_limit": 2,
        "seed": context.seed,
        "report_to": [],
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": cuda,
        "use_cpu": not cuda,
        "ddp_find_unused_parameters": True,  # a LLaVA skips its tower's last layer
        "ddp_broadcast_buffers": False,  # none of them changes
        **config.trainer,
    }
