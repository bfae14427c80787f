"""The other side: TRL's trainers and collators as they are, and transformers' `generate`."""

import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset  # type: ignore[import-untyped]
from peft import LoraConfig
from transformers import LogitsProcessor
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from chainsight.vlm import sampling
from chainsight.vlm.checkpoint import Loaded, quiet
from chainsight.vlm.template import Row

BETA = 0.1
LORA_RANK = 16


@dataclass(frozen=True)
class Setting:
    """How TRL is set up."""

    name: str
    frozen_vision: bool
    """Tower and projector, as in the paper's preference training."""
    checkpointing: bool
    """Gradient checkpointing."""
    attention: str = "sdpa"

    @property
    def flags(self) -> str:
        """For the record."""
        return (
            f"max_length=None, attn_implementation={self.attention}, gradient_checkpointing="
            f"{self.checkpointing}, vision {'frozen' if self.frozen_vision else 'trained'}"
        )


def tuned() -> Setting:
    """What who knows TRL would set; flash attention where it is installed."""
    try:
        import flash_attn  # noqa: F401
    except ImportError:
        return Setting("TRL tuned", frozen_vision=True, checkpointing=False)
    return Setting("TRL tuned", True, False, attention="flash_attention_2")


DEFAULT = Setting("TRL default", frozen_vision=False, checkpointing=True)
"""Only max_length=None, without which an anyres picture is cut."""


def lora(model: Any) -> LoraConfig:
    """Adapters on all linear layers of the decoder stack."""
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and ".language_model." in f".{name}"
    ]
    return LoraConfig(r=LORA_RANK, lora_alpha=2 * LORA_RANK, lora_dropout=0.0, target_modules=names)


def dpo_trainer(
    loaded: Loaded, example: dict[str, Any], *, tuning: str, reference: Any = None
) -> Any:
    """TRL's trainer about our model; with `lora` it wraps the model, else it wants a reference."""
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return DPOTrainer(
            model=loaded.model,
            ref_model=reference,
            args=DPOConfig(**_arguments(loaded), beta=BETA),
            train_dataset=Dataset.from_list([example]),
            processing_class=loaded.processor,
            peft_config=lora(loaded.model) if tuning == "lora" else None,
        )


def sft_trainer(loaded: Loaded, example: dict[str, Any], *, tuning: str) -> Any:
    """As `dpo_trainer`, for prompts and completions."""
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SFTTrainer(
            model=loaded.model,
            args=SFTConfig(**_arguments(loaded)),
            train_dataset=Dataset.from_list([example]),
            processing_class=loaded.processor,
            peft_config=lora(loaded.model) if tuning == "lora" else None,
        )


def _arguments(loaded: Loaded) -> dict[str, Any]:
    return {
        "output_dir": tempfile.gettempdir(),
        "max_length": None,
        "gradient_checkpointing": False,  # a setting, see `Stand.theirs`
        "per_device_train_batch_size": 1,
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": loaded.device.type == "cpu",
        "bf16": False,  # the weights are what they are: no autocast on either side
        "remove_unused_columns": False,
    }


def step(trainer: Any, inputs: dict[str, Any]) -> float:
    """The trainer's own step: forward passes, loss and backward pass; the loss."""
    trainer.current_gradient_accumulation_steps = 1  # `train` would set it
    return float(trainer.training_step(trainer.model, dict(inputs), None))


def reference_logps(trainer: Any, inputs: dict[str, Any]) -> torch.Tensor:
    """TRL's own reference pass; the rows' sums, chosen before rejected."""
    return torch.cat(trainer.compute_ref_log_probs(trainer.model, dict(inputs)))


# --- transformers' generate ------------------------------------------------------------------


class Forced(LogitsProcessor):  # type: ignore[misc]
    """Draws each token from the given uniform numbers, [R, T], as our sampler does."""

    def __init__(self, uniforms: torch.Tensor, forbidden: Sequence[int]) -> None:
        self.uniforms, self.forbidden, self.step = uniforms, list(forbidden), 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        scores[:, self.forbidden] = -torch.inf
        drawn = sampling.choose(scores, self.uniforms[:, self.step], 1.0, 1.0)
        self.step += 1
        return torch.full_like(scores, -torch.inf).scatter(1, drawn[:, None], 0.0)


def generate(
    loaded: Loaded, row: Row, uniforms: torch.Tensor, forbidden: Sequence[int]
) -> list[str]:
    """`generate(num_return_sequences=N)` with our draws, of all tokens but the forbidden."""
    count, length = uniforms.shape
    pictures = [loaded.template.pictures(image, row.key) for image in row.images]
    batch = {
        "input_ids": torch.tensor([row.prompt_ids]),
        "attention_mask": torch.ones(1, len(row.prompt_ids), dtype=torch.long),
        **({name: pictures[0][name] for name in pictures[0]} if pictures else {}),
    }
    given = {name: tensor.to(loaded.device) for name, tensor in batch.items()}
    if "pixel_values" in given:
        given["pixel_values"] = given["pixel_values"][None].to(loaded.model.dtype)
    with torch.inference_mode():
        made = loaded.model.generate(
            **given,
            do_sample=True,
            top_k=0,
            num_return_sequences=count,
            max_new_tokens=length,
            logits_processor=[Forced(uniforms, forbidden)],
            eos_token_id=list(loaded.end_ids),
        )
    return [_said(loaded, ids) for ids in made[:, len(row.prompt_ids) :].tolist()]


def _said(loaded: Loaded, ids: list[int]) -> str:
    """The text up to the first end."""
    ends = loaded.end_ids
    stop = next((i for i, token in enumerate(ids) if token in ends), len(ids))
    text: str = loaded.template.tokenizer.decode(ids[:stop], skip_special_tokens=True)
    return text
