"""Supervised fine-tuning: TRL's loop on rows of (prompt, answer and end-of-turn)."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset  # type: ignore[import-untyped]
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from chainsight.config import SftSection
from chainsight.context import Context
from chainsight.training import loop, objectives, parallel, setup
from chainsight.training.data import order, sft_collator
from chainsight.vlm.checkpoint import Loaded, quiet
from chainsight.vlm.prefix import IGNORED
from chainsight.vlm.template import Row


class SftLoop(loop.Loop, SFTTrainer):  # type: ignore[misc]
    """Token mean of the cross entropy over an optimizer batch's labels."""

    def _get_num_items_in_batch(self, batches: list[Any], device: torch.device) -> torch.Tensor:
        counts = [(batch["labels"] != IGNORED).sum() for batch in batches]
        return parallel.total(torch.stack(counts).sum().to(device))

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """The part of the batch's loss that these rows give."""
        assert not return_outputs, "there is no evaluation in the loop"
        labels = inputs.pop("labels")
        logits = model(**inputs, use_cache=False).logits
        loss = objectives.sft_loss(logits, labels, num_items_in_batch)
        return loss * parallel.num_ranks()


def build(loaded: Loaded, rows: Sequence[Row], config: SftSection, context: Context) -> SftLoop:
    """The trainer of `rows`, ready for `loop.train`; `num_steps` is set on it."""
    frozen = () if config.vision_learning_rate else (setup.VISION,)
    setup.prepare(loaded.model, freeze=frozen)
    numbers = order(
        [len(row) for row in rows],
        seed=context.seed,
        epochs=config.epochs,
        batch_size=config.batch_size,
        max_steps=config.max_steps,
    )
    num_steps = math.ceil(len(numbers) / config.batch_size)
    shared = setup.arguments(
        config, context, learning_rate=config.learning_rate, num_steps=num_steps
    )
    with quiet():
        trainer = SftLoop(
            model=loaded.model,
            args=SFTConfig(**shared, dataset_kwargs={"skip_prepare_dataset": True}),
            train_dataset=Dataset.from_dict({"row": numbers}),
            data_collator=sft_collator(loaded.template, rows),
            processing_class=loaded.processor,
            peft_config=setup.adapters(loaded.model, config),
        )
    trainer.begin(context, config.vision_learning_rate)
    trainer.num_steps = num_steps
    return trainer
