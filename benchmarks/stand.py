"""One model with TRL's trainer about it, set up for each side by turns: the same weights."""

import copy
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from benchmarks import llava, peers
from benchmarks.llava import Shape
from benchmarks.peers import Setting
from benchmarks.questions import Question, pairs, targets
from chainsight.vlm.checkpoint import Loaded
from chainsight.vlm.prefix import ATTENTION

Tuning = Literal["lora", "full"]
NUDGE = 0.005
"""How far a policy is from its reference, weight by weight: at the start of a training they are
the same, any loss is log 2, and a comparison would prove nothing."""


@dataclass(frozen=True)
class Place:
    """Which model runs where."""

    shape: Shape
    device: str = "cpu"
    dtype: torch.dtype = torch.float32

    def build(self) -> Loaded:
        """The model, each time the same."""
        return llava.build(self.shape, dtype=self.dtype, device=self.device)


class Stand:
    """A policy, its reference and a TRL trainer that has both."""

    def __init__(self, place: Place, kind: Literal["dpo", "sft"], tuning: Tuning) -> None:
        self.place, self.tuning = place, tuning
        self.loaded = place.build()
        self.reference: Any = None
        asked = Question("any", None, ("yes", "no"))
        if kind == "dpo":
            if tuning == "full":
                self.reference = copy.deepcopy(self.loaded.model).requires_grad_(False)
            self.trainer = peers.dpo_trainer(
                self.loaded, pairs(asked)[0], tuning=tuning, reference=self.reference
            )
        else:
            self.trainer = peers.sft_trainer(self.loaded, targets(asked)[0], tuning=tuning)
        self.policy = self.trainer.model
        self.trained = [p for n, p in self.policy.named_parameters() if self._learns(n, p)]
        self.all_trained = [p for p in self.policy.parameters() if p.requires_grad]
        _nudge(self.policy, self.trained)

    @property
    def models(self) -> tuple[Any, ...]:
        """Policy and second model, without adapters."""
        return (self.loaded.model, *([self.reference] if self.reference else []))

    def ready(self, attention: str, *, frozen_vision: bool, checkpointing: bool) -> None:
        """Set the model up for one side, and forget gradients."""
        for model in self.models:
            model.set_attn_implementation(attention)
        for parameter in self.all_trained:
            parameter.requires_grad_(not frozen_vision)
            parameter.grad = None
        for parameter in self.trained:
            parameter.requires_grad_(True)
            parameter.grad = torch.zeros_like(parameter)  # so that it's no activation memory
        base = self.loaded.model
        if checkpointing:
            base.gradient_checkpointing_enable()
            base.enable_input_require_grads()
        elif base.is_gradient_checkpointing:
            base.gradient_checkpointing_disable()
            base.disable_input_require_grads()
        self.policy.train()

    def ours(self) -> None:
        """As our trainers have it: the paper freezes tower and projector in preference training."""
        self.ready(ATTENTION, frozen_vision=True, checkpointing=False)

    def theirs(self, setting: Setting) -> Callable[[], None]:
        """What makes it ready for TRL."""
        return lambda: self.ready(
            setting.attention,
            frozen_vision=setting.frozen_vision,
            checkpointing=setting.checkpointing,
        )

    def gradient(self) -> torch.Tensor:
        """Of what both sides train, as one vector in float32 on the CPU."""
        return torch.cat([p.grad.flatten().float().cpu() for p in self.trained])

    def collated(self, examples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """A batch of TRL's collator, where the model is."""
        batch: dict[str, Any] = self.trainer._prepare_inputs(
            dict(self.trainer.data_collator(list(examples)))
        )
        if "pixel_values" in batch:
            batch["pixel_values"] = batch["pixel_values"].to(self.place.dtype)
        return batch

    def _learns(self, name: str, parameter: Any) -> bool:
        """Adapters, or the language model with its output layer."""
        language = ".language_model." in name or "lm_head" in name
        return bool(parameter.requires_grad and language)


def _nudge(policy: Any, trained: Sequence[torch.Tensor]) -> None:
    wanted = {id(parameter) for parameter in trained}
    for name, parameter in policy.named_parameters():
        if id(parameter) in wanted and "lora_A" not in name and parameter.dim() > 1:
            device = parameter.device
            generator = torch.Generator(device).manual_seed(zlib.crc32(name.encode()))
            noise = torch.randn(parameter.shape, generator=generator, device=device)
            parameter.data += (NUDGE * noise).to(parameter.dtype)
