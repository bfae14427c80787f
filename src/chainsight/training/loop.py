"""What SFT and DPO add to TRL's trainers: our batches, learning rates, checkpoints and curves."""

import json
import math
import re
import shutil
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from transformers import PrinterCallback, TrainerCallback
from trl.trainer.utils import disable_dropout_in_model

from chainsight.config import TrainingSection
from chainsight.context import Context
from chainsight.errors import ChainsightError
from chainsight.vlm import checkpoint

COMPLETE = "complete"
"""Marker, written last into a trainer checkpoint: one without it was cut off by a kill."""
VISION = re.compile(r"(^|\.)(vision_tower|vision_model|visual)\.")
PROJECTOR = re.compile(r"(^|\.)(multi_modal_projector|image_newline)(\.|$)")
CURVE_POINTS = 200
"""About as many points are kept of each curve."""
NOT_A_CURVE = frozenset({"epoch", "step", "total_flos"})


def prepare(model: torch.nn.Module, *, freeze: tuple[re.Pattern[str], ...]) -> None:
    """Switch dropout off and freeze the parameters whose name matches one of `freeze`."""
    disable_dropout_in_model(model)
    for module in model.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0  # type: ignore[assignment]
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not any(pattern.search(name) for pattern in freeze))


def load_for_training(
    ref: str | Path, config: TrainingSection, context: Context
) -> checkpoint.Loaded:
    """Load a model to be trained.

    Weights that are trained stay float32, also for bfloat16 runs (which compute in bfloat16):
    at learning rates of 1e-6 an update is below bfloat16's resolution and would be lost.
    """
    dtype = context.model.dtype if config.tuning == "lora" else "float32"
    revision = context.model.revision if ref == context.model.base else None
    return checkpoint.load(ref, revision=revision, dtype=dtype, attention=context.model.attention)


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
    """The keyword arguments that SFTConfig and DPOConfig share."""
    log_every = max(
        n
        for n in range(1, max(1, num_steps // CURVE_POINTS) + 1)
        if config.save_every_steps % n == 0  # so that no curve point spans a resume
    )
    cuda = torch.cuda.is_available()
    return {
        "output_dir": str(context.work / "checkpoints"),
        "per_device_train_batch_size": config.device_batch_size,
        "gradient_accumulation_steps": config.batch_size // config.device_batch_size,
        "num_train_epochs": 1,  # the order of rows already holds all epochs
        "train_sampling_strategy": "sequential",
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
    }


class Loop:
    """Mixed into a TRL trainer, before it in the order of classes.

    The loss functions divide by the size of the whole optimizer batch (`_get_num_items_in_batch`),
    so the accumulation steps must not be divided by again.
    """

    # What the trainer beside us provides.
    model: Any
    args: Any
    state: Any
    optimizer: Any
    accelerator: Any

    vision_learning_rate = 0.0
    num_steps = 0
    """Optimizer steps of the whole training."""
    context: Context

    def begin(self, context: Context, vision_learning_rate: float) -> None:
        """Set what the trainer's own constructor does not know."""
        self.context = context
        self.vision_learning_rate = vision_learning_rate
        self.loss_is_scaled_for_ga = True
        self.curves: defaultdict[str, list[torch.Tensor]] = defaultdict(list)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """TRL writes a model card into each checkpoint; ours are no publications."""

    def create_optimizer(self, model: Any = None) -> Any:  # noqa: ARG002
        """AdamW with the vision tower's own learning rate."""
        if self.optimizer is None:
            decayed = set(self.get_decay_parameter_names(self.model))  # type: ignore[attr-defined]
            groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
            for name, parameter in self.model.named_parameters():
                if parameter.requires_grad:
                    kind = (VISION.search(name) is not None, name not in decayed)
                    groups.setdefault(kind, []).append(parameter)
            maker, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)  # type: ignore[attr-defined]
            rates = {False: self.args.learning_rate, True: self.vision_learning_rate}
            described = [
                {
                    "params": groups[kind],
                    "lr": rates[kind[0]],
                    "weight_decay": 0.0 if kind[1] else self.args.weight_decay,
                }
                for kind in sorted(groups)  # the language model first: its rate is the one logged
            ]
            self.optimizer = maker(described, **options)
        return self.optimizer

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        if folder.exists():
            shutil.rmtree(folder)  # cut off by a kill; `newest_complete` passed it over
        with checkpoint.needing_space(folder):
            super()._save_checkpoint(*args, **kwargs)  # type: ignore[misc]
        (folder / COMPLETE).touch()
        self.context.saved(folder)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Load a whole model by its own loader.

        The trainer would compare the names in the file with those in memory, which differ for
        LLaVA-NeXT, warn, and train on with the weights of the start.
        """
        if hasattr(self.model, "peft_config"):
            super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]
            return
        saved = type(self.model).from_pretrained(
            resume_from_checkpoint, dtype=self.model.dtype, use_safetensors=True
        )
        self.model.load_state_dict(saved.state_dict())

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add the means of our own curves, send all to tracking and refuse a broken loss."""
        logs.update({k: torch.stack(v).mean().item() for k, v in sorted(self.curves.items())})
        self.curves.clear()
        super().log(logs, *args, **kwargs)  # type: ignore[misc]
        step = self.state.global_step
        if "loss" not in logs:
            return
        self.context.metrics.log(_curve(logs), step)
        if not all(math.isfinite(logs[k]) for k in ("loss", "grad_norm") if k in logs):
            raise ChainsightError(
                f"the loss is {logs['loss']} at step {step} (gradient norm "
                f"{logs.get('grad_norm')}); lower learning_rate, or use dtype float32"
            )


def _curve(logs: Mapping[str, Any]) -> dict[str, float]:
    return {
        key: float(value)
        for key, value in logs.items()
        if key not in NOT_A_CURVE and not key.startswith("train_")
    }


class Advance(TrainerCallback):
    """Moves the progress bar."""

    def __init__(self, task: Any) -> None:
        self.task = task

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.task.advance()


def newest_complete(folder: Path) -> Path | None:
    """The newest trainer checkpoint that was written to its end."""
    found = [path for path in folder.glob("checkpoint-*") if (path / COMPLETE).exists()]
    return max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def train(trainer: Any, title: str, num_steps: int) -> list[dict[str, float]]:
    """Train to the end, from the newest complete checkpoint if there is one.

    Returns:
        The curve: one entry a logged step, the same whether or not the training was interrupted.
    """
    newest = newest_complete(Path(trainer.args.output_dir))
    done = int(newest.name.rpartition("-")[2]) if newest else 0
    trainer.remove_callback(PrinterCallback)
    progress = trainer.context.progress.task(title, num_steps, "steps", done=done)
    with progress as task, checkpoint.quiet():
        trainer.add_callback(Advance(task))
        trainer.train(resume_from_checkpoint=str(newest) if newest else None)
    return [
        {"step": entry["step"], **_curve(entry)}
        for entry in trainer.state.log_history
        if "loss" in entry
    ]


def save_trained(
    trainer: Any,
    loaded: checkpoint.Loaded,
    folder: Path,
    *,
    base: str,
    curve: list[dict[str, float]],
) -> None:
    """Write the trained model, adapters merged, and its curve beside it."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    merged = hasattr(model, "merge_and_unload")
    model = model.merge_and_unload() if merged else model
    kept = checkpoint.Loaded(model, loaded.processor, loaded.template, folder, loaded.device)
    kind = "lora-merged" if merged else "full"
    checkpoint.save(kept, folder, base=base, kind=kind, dtype=trainer.context.model.dtype)
    with (folder / "history.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(entry, sort_keys=True) + "\n" for entry in curve)
