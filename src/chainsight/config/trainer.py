"""Which arguments of TRL's trainers a configuration may set beside our own fields.

TRL's loop is at work, but its batches, losses and references are not: a prompt is computed once
for all that is learned after it.
"""

from collections.abc import Mapping
from typing import Any

PASSED_ON = (
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "lr_scheduler_kwargs",
    "lr_scheduler_type",
    "optim",
    "tf32",
)
"""They mean what TRL's documentation says."""
OPTIMIZERS = ("adamw_torch", "adamw_torch_fused")
"""Values of `optim` whose state a checkpoint can hold for any number of processes."""

_NO_PADDING = "there is no padding: prompts and answers stand one behind the other in a single row"
_ONE_LOSS = "the losses are the paper's; dpo.beta, dpo.token_weights and dpo.sft_weight change them"
_NO_EVALUATION = "there is no evaluation while training; the stage evaluate does it"
REFUSED: Mapping[str, str] = {
    "activation_checkpointing": "write model.gradient_checkpointing",
    "assistant_only_loss": "only answers are learned as it is",
    "auto_find_batch_size": "ask `chainsight doctor` which device_batch_size fits",
    "bf16": "write model.dtype",
    "completion_only_loss": "only answers are learned as it is",
    "dataloader_num_workers": "the next pass is prepared in a thread while the GPU computes",
    "deepspeed": "write platform.parallel: fsdp, which cuts up the weights as ZeRO-3 does",
    "disable_dropout": "dropout is off: a shared prompt would have one draw for all",
    "eval_strategy": _NO_EVALUATION,
    "f_divergence_type": _ONE_LOSS,
    "fp16": "write model.dtype: bfloat16",
    "fsdp": "write platform.parallel",
    "gradient_accumulation_steps": "it follows from batch_size and device_batch_size",
    "gradient_checkpointing": "write model.gradient_checkpointing",
    "label_smoothing": _ONE_LOSS,
    "label_smoothing_factor": _ONE_LOSS,
    "ld_alpha": _ONE_LOSS,
    "loss_type": _ONE_LOSS,
    "loss_weights": _ONE_LOSS,
    "max_length": "write sft.max_length or dpo.max_words; a prompt with a picture is never cut",
    "neftune_noise_alpha": "a resumed training could not draw the same noise",
    "num_train_epochs": "write epochs",
    "packing": _NO_PADDING,
    "pad_to_multiple_of": _NO_PADDING,
    "padding_free": _NO_PADDING,
    "per_device_train_batch_size": "write device_batch_size",
    "precompute_ref_log_probs": "write dpo.reference: cache",
    "report_to": "curves go to tracking as they are",
    "save_steps": "write save_every_steps",
    "seed": "write run.seed",
    "sync_ref_model": "the reference is the model that the training began with",
    "torch_compile": "passes differ in length, and each length would be compiled anew",
    "train_sampling_strategy": "passes are even in tokens as it is",
    "truncation_mode": "a prompt with a picture is never cut; dpo.max_words cuts responses",
    "use_liger_kernel": "its loss knows no branches; scores are made in pieces as it is",
    "use_weighting": _ONE_LOSS,
    "warmup_steps": "write warmup_ratio",
}
"""Why not, or what to write instead."""


def check(options: Mapping[str, Any], own: frozenset[str]) -> None:
    """Refuse what would have no effect, or a wrong one; `own` are the section's fields.

    Raises:
        ValueError: naming the option and the way out.
    """
    for name in options:
        if name in own:
            raise ValueError(f"trainer.{name}: write {name} in the section itself")
        if name in REFUSED:
            raise ValueError(f"trainer.{name} is of no use here: {REFUSED[name]}")
        if name not in PASSED_ON:
            raise ValueError(
                f"trainer.{name} is not known to be right where prompts are shared; choose from: "
                f"{', '.join(PASSED_ON)}"
            )
    if options.get("optim", OPTIMIZERS[0]) not in OPTIMIZERS:
        raise ValueError(
            f"trainer.optim is {options['optim']!r}, whose state our checkpoints cannot hold; "
            f"choose from: {', '.join(OPTIMIZERS)}"
        )
