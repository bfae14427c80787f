"""Supervised fine-tuning: TRL's loop on prompts and all answers to them that are learned."""

from collections.abc import Sequence
from typing import Any

import torch
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from chainsight.config import SftSection
from chainsight.context import Context
from chainsight.training import data, feed, loop, objectives, parallel, plan, setup
from chainsight.training.plan import Forward, Part
from chainsight.vlm import prefix
from chainsight.vlm.checkpoint import Loaded, quiet
from chainsight.vlm.grouping import Batch
from chainsight.vlm.template import Row


class SftLoop(loop.Loop[Batch], SFTTrainer):  # type: ignore[misc]
    """Token mean of the cross entropy over an optimizer step's labels."""

    rows: Sequence[Row]

    def tokens(self, part: Part) -> int:
        """About how many tokens `part` takes."""
        return data.tokens(self.rows, part)

    def make(self, forward: Forward) -> Batch:
        """The batch of a forward pass."""
        return self.maker.rows(self.rows, forward)

    def counted(self, inputs: Batch) -> tuple[Any, Batch, int]:
        """The model's configuration, what it is given, and how many rows that is."""
        return self.maker.loaded.model.config, inputs, inputs.layout.num_branches

    def part_of_loss(self, model: Any, inputs: Batch, step: tuple[Part, ...]) -> torch.Tensor:
        """What a forward pass adds to the step's loss."""
        num_tokens = sum(data.num_learned(self.rows[n]) for part in step for n in part)
        return objectives.sft_loss(prefix.score(model, inputs.arguments()), num_tokens)


def build(loaded: Loaded, rows: Sequence[Row], config: SftSection, context: Context) -> SftLoop:
    """The trainer of `rows`, ready for `loop.train`; `num_steps` is set on it."""
    frozen = () if config.vision_learning_rate else (loaded.family.vision,)
    setup.prepare(loaded.model, freeze=frozen)
    limit = config.max_length * config.device_batch_size  # as rows of their own may take
    keys = data.sharing(rows, config.share)
    units = plan.units(keys, lambda part: data.tokens(rows, part), limit)
    steps = setup.steps(units, config, context)
    shared = setup.arguments(
        config, context, learning_rate=config.learning_rate, num_steps=len(steps)
    )
    with quiet():
        trainer = SftLoop(
            model=loaded.model,
            args=SFTConfig(**shared, dataset_kwargs={"skip_prepare_dataset": True}),
            train_dataset=feed.numbered(steps),
            data_collator=feed.only,
            processing_class=loaded.processor,
            peft_config=setup.adapters(loaded.model, config),
        )
    trainer.section, trainer.rows = config, rows
    maker = data.Maker(loaded, config.share, pictured=parallel.num_ranks() > 1)
    trainer.begin(context, steps, maker, config.vision_learning_rate)
    return trainer
