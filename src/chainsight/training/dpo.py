"""Direct preference optimisation: TRL's loop on prompts with all responses that pairs have.

Vision tower and projector are frozen, so pictures are encoded once, without a gradient, for the
policy and for what it is compared with.
"""

import contextlib
import copy
from collections.abc import Sequence
from typing import Any

import torch
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from chainsight.config import DpoSection
from chainsight.context import Context
from chainsight.errors import ChainsightError
from chainsight.training import data, feed, loop, objectives, parallel, plan, setup
from chainsight.training.data import PairBatch, PairRow
from chainsight.training.plan import Forward, Part
from chainsight.training.reference import Scores
from chainsight.vlm import prefix
from chainsight.vlm.checkpoint import Loaded, quiet
from chainsight.vlm.grouping import Batch


class DpoLoop(loop.Loop[PairBatch], DPOTrainer):  # type: ignore[misc]
    """Mean of the sigmoid loss over an optimizer step's pairs, plus the optional BCO and SFT terms.

    TRL's own reference is not used: it takes each pair's pictures and prompt through four more
    rows, and cannot be computed beforehand where there are pictures.
    """

    section: DpoSection
    pairs: Sequence[PairRow]
    frozen: Any = None
    """The second model, if the reference is one."""
    scores: Scores
    """What the reference says, if it was asked beforehand."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset  # rows are tokenised already

    def _precompute_ref_logps(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset

    def tokens(self, part: Part) -> int:
        """About how many tokens `part` takes."""
        return data.pair_tokens(self.pairs, part)

    def make(self, forward: Forward) -> PairBatch:
        """The batch of a forward pass."""
        return self.maker.pairs(self.pairs, forward)

    def counted(self, inputs: PairBatch) -> tuple[Any, Batch, int]:
        """The model's configuration, what it is given, and how many pairs that is."""
        return self.maker.loaded.model.config, inputs.batch, len(inputs.chosen)

    def part_of_loss(self, model: Any, inputs: PairBatch, step: tuple[Part, ...]) -> torch.Tensor:
        """What a forward pass adds to the step's loss."""
        encoded = self.encode(inputs.batch)
        reference = self.reference(inputs, encoded)
        logps = self.logps(model, inputs.batch, encoded)
        policy = self.sums(logps, inputs.batch)
        sides = (
            policy[inputs.chosen],
            policy[inputs.rejected],
            reference[inputs.chosen],
            reference[inputs.rejected],
        )
        result = objectives.dpo_loss(*sides, self.section.beta)
        self._record(result)
        each = self.section.dpo_weight * result.loss
        if self.section.bco_weight:
            each = each + self.section.bco_weight * objectives.bco_loss(*sides, self.section.beta)
        loss = each.sum() / sum(map(len, step))
        if self.section.sft_weight:
            chosen = [self.pairs[n].chosen for part in step for n in part]
            plain = prefix.branch_sums(logps, inputs.batch.layout)[inputs.chosen]
            sft = objectives.sft_loss(plain, sum(map(data.num_learned, chosen)))
            loss = loss + self.section.sft_weight * sft
        return loss

    def encode(self, batch: Batch) -> dict[str, Any]:
        """The pictures' features, for all models of this pass."""
        with torch.no_grad():
            return self.maker.loaded.family.encode(self.model, batch.pictures)

    def logps(self, model: Any, batch: Batch, encoded: dict[str, Any]) -> torch.Tensor:
        """Log-probabilities of all learned tokens, [K]."""
        return prefix.score(model, batch.arguments(encoded))

    def sums(self, logps: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Weighted log-probabilities of all responses, [M]."""
        weights = objectives.token_weights(batch.layout.owners, self.section.token_weights)
        return prefix.branch_sums(logps * weights, batch.layout)

    def reference(self, inputs: PairBatch, encoded: dict[str, Any]) -> torch.Tensor:
        """What the model that the training began with says of all responses, [M]."""
        if setup.reference(self.section) == "cache":
            return self.scores.of(inputs.responses).to(self.args.device)
        model = self.model if self.frozen is None else self.frozen
        switched_off = model.disable_adapter() if self.frozen is None else contextlib.nullcontext()
        with torch.no_grad(), switched_off:
            return self.sums(self.logps(model, inputs.batch, encoded), inputs.batch)

    def _record(self, result: objectives.DpoLoss) -> None:
        chosen, rejected = result.chosen_rewards, result.rejected_rewards
        values = {
            "rewards/chosen": chosen,
            "rewards/rejected": rejected,
            "rewards/margins": chosen - rejected,
            "rewards/accuracies": (chosen > rejected).float(),
        }
        if self.section.sft_weight or self.section.bco_weight:
            values["dpo_loss"] = result.loss.detach()
        for name, per_pair in values.items():
            self.curves[name].extend(per_pair)

    def ask_beforehand(self) -> None:
        """Score every response with the model as it is now, before the first step.

        In the very passes of the training: so the first step's policy equals the reference to
        the last bit. The ranks take turns; scores that are kept already are not made again.

        Raises:
            ChainsightError: it was told to stop.
        """
        self.scores.read()
        todo = list(self.scores.lacking(self.passes(), self.pairs))
        task = self.context.progress.task("reference", len(todo), "passes")
        self.model.eval()
        with task as progress, torch.no_grad():
            for turn in range(0, len(todo), parallel.num_ranks()):
                own = todo[min(turn + parallel.rank(), len(todo) - 1)]  # all must go forward
                self.scores.add(*self._scored(own))
                progress.advance(min(parallel.num_ranks(), len(todo) - turn))
                if any(parallel.gathered(self.context.stopping())):
                    raise ChainsightError(
                        "dpo: told to stop (SIGTERM) while the reference was asked; its scores "
                        "are kept, run again to go on"
                    )
        parallel.settle(self.model)

    def _scored(self, forward: Forward) -> tuple[Any, torch.Tensor]:
        inputs = self.make(forward).to(self.args.device)
        with self.accelerator.autocast():  # the loop's own precision
            logps = self.logps(self.model, inputs.batch, self.encode(inputs.batch))
            return inputs.responses, self.sums(logps, inputs.batch)


def build(
    loaded: Loaded, pairs: Sequence[PairRow], config: DpoSection, context: Context
) -> DpoLoop:
    """The trainer of `pairs`, ready for `loop.train`; `num_steps` is set on it."""
    setup.prepare(loaded.model, freeze=(loaded.family.vision, loaded.family.projector))
    units = plan.units(data.sharing([pair.chosen for pair in pairs], config.share))
    steps = setup.steps(units, config, context)
    shared = setup.arguments(
        config, context, learning_rate=config.learning_rate, num_steps=len(steps)
    )
    kind = setup.reference(config)
    second = copy.deepcopy(loaded.model).requires_grad_(False) if kind == "model" else None
    with quiet():
        trainer = DpoLoop(
            model=loaded.model,
            args=DPOConfig(**shared, beta=config.beta, precompute_ref_log_probs=True),
            train_dataset=feed.numbered(steps),
            data_collator=feed.only,
            processing_class=loaded.processor,
            peft_config=setup.adapters(loaded.model, config),
        )
    trainer.section, trainer.pairs, trainer.frozen = config, pairs, second
    maker = data.Maker(loaded, config.share, pictured=parallel.num_ranks() > 1)
    trainer.begin(context, steps, maker, vision_learning_rate=0.0)
    if second is not None and setup.sharded(context):
        parallel.shard(second, trainer.args.device)
    if kind == "cache":
        made_by = f"{setup.digest(loaded)}/{context.model.dtype}/{config.token_weights}"
        trainer.scores = Scores(context.work / "reference.jsonl", made_by)
        trainer.ask_beforehand()
    return trainer
