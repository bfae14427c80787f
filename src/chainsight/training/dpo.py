"""Direct preference optimisation: TRL's loop on pairs, the reference computed once beforehand."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset  # type: ignore[import-untyped]
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from chainsight.config import DpoSection
from chainsight.context import Context
from chainsight.training import loop, objectives, parallel, setup
from chainsight.training.data import PairRow, dpo_collator, order
from chainsight.vlm.checkpoint import Loaded, quiet
from chainsight.vlm.prefix import IGNORED

NOT_FOR_THE_MODEL = frozenset({"labels", "num_pairs", "reference_logps"})


class DpoLoop(loop.Loop, DPOTrainer):  # type: ignore[misc]
    """Mean of the sigmoid loss over an optimizer batch's pairs, plus the optional SFT term.

    TRL holds a second model as reference and refuses to precompute its log-probabilities for
    pictures; ours are computed once, by `fill_reference`, and arrive with the batch.
    """

    section: DpoSection
    reference: dict[int, tuple[float, float]]
    num_chosen_tokens: torch.Tensor

    def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        return dataset  # rows are tokenised already

    def _precompute_ref_logps(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        return dataset

    def _get_num_items_in_batch(self, batches: list[Any], device: torch.device) -> torch.Tensor:
        labels = [batch["labels"] for batch in batches]
        chosen = [(part[: len(part) // 2] != IGNORED).sum() for part in labels]
        self.num_chosen_tokens = parallel.total(torch.stack(chosen).sum().to(device))
        num_pairs = sum(batch["num_pairs"] for batch in batches)
        return parallel.total(torch.tensor(num_pairs, device=device))

    def scores(self, model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Weighted log-probabilities of all responses, [2B], and the logits behind them."""
        labels = inputs["labels"]
        given = {k: v for k, v in inputs.items() if k not in NOT_FOR_THE_MODEL}
        logits = model(**given, use_cache=False).logits
        weights = objectives.token_weights(labels, self.section.token_weights)
        return objectives.sequence_logps(logits, labels, weights), logits

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """The part of the batch's loss that these pairs give."""
        assert not return_outputs, "there is no evaluation in the loop"
        assert num_items_in_batch is not None
        logps, logits = self.scores(model, inputs)
        policy_chosen, policy_rejected = logps.chunk(2)
        reference_chosen, reference_rejected = inputs["reference_logps"].chunk(2)
        result = objectives.dpo_loss(
            policy_chosen, policy_rejected, reference_chosen, reference_rejected, self.section.beta
        )
        if not inputs["num_pairs"]:
            result = objectives.DpoLoss(*(per_pair * 0 for per_pair in result))  # a ghost
        loss = result.loss.sum() / num_items_in_batch
        if self.section.sft_weight:
            half = len(logits) // 2
            chosen = objectives.sft_loss(
                logits[:half], inputs["labels"][:half], self.num_chosen_tokens
            )
            loss = loss + self.section.sft_weight * chosen
        self._record(result, inputs["num_pairs"])
        return loss * parallel.num_ranks()

    def _record(self, result: objectives.DpoLoss, num_pairs: int) -> None:
        chosen, rejected = result.chosen_rewards, result.rejected_rewards
        values = {
            "rewards/chosen": chosen,
            "rewards/rejected": rejected,
            "rewards/margins": chosen - rejected,
            "rewards/accuracies": (chosen > rejected).float(),
        }
        if self.section.sft_weight:
            values["dpo_loss"] = result.loss.detach()
        for name, per_pair in values.items():
            self.curves[name].extend(per_pair[:num_pairs])

    def fill_reference(self, numbers: Sequence[int], kept: Path) -> None:
        """Score every pair with the model as it is now, before the first step.

        In the very batches of the first epoch: so the first step's policy equals the reference
        to the last bit. The ranks take turns; the leader appends all scores to `kept`, and those
        found there are not made again.
        """
        found = dict(_read_scores(kept)) if parallel.leads() else {}
        self.reference.update(parallel.agreed(found))
        todo = list(_unscored(numbers, self.args.per_device_train_batch_size, self.reference))
        progress = self.context.progress.task(
            "reference", len(set(numbers)), "pairs", done=len(self.reference)
        )
        self.model.eval()
        with progress as task, torch.no_grad():
            for turn in range(0, len(todo), parallel.num_ranks()):
                own = todo[min(turn + parallel.rank(), len(todo) - 1)]  # all must go forward
                scored = parallel.gathered(self._reference_scores(own))
                scores = {n: pair for part in scored for n, pair in part.items()}
                if parallel.leads():
                    _append_scores(kept, scores)
                self.reference.update(scores)
                task.advance(len(scores))
        parallel.settle(self.model)

    def _reference_scores(self, numbers: Sequence[int]) -> dict[int, tuple[float, float]]:
        inputs = self._prepare_inputs(self.data_collator([{"row": n} for n in numbers]))
        with self.accelerator.autocast():  # the loop's own precision
            chosen, rejected = self.scores(self.model, inputs)[0].float().chunk(2)
        return dict(zip(numbers, zip(chosen.tolist(), rejected.tolist(), strict=True), strict=True))


def _append_scores(kept: Path, scores: dict[int, tuple[float, float]]) -> None:
    with kept.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps([number, *pair]) + "\n" for number, pair in scores.items())


def _read_scores(kept: Path) -> Iterator[tuple[int, tuple[float, float]]]:
    if not kept.exists():
        return
    whole = kept.read_text(encoding="utf-8")
    whole = whole[: whole.rfind("\n") + 1]  # a kill may have cut the last line
    kept.write_text(whole, encoding="utf-8")
    for line in whole.splitlines():
        number, chosen, rejected = json.loads(line)
        yield number, (chosen, rejected)


def _unscored(
    numbers: Sequence[int], size: int, known: dict[int, tuple[float, float]]
) -> Iterator[list[int]]:
    """The training's forward batches, without those of which every pair is known."""
    seen = set(known)
    for start in range(0, len(numbers), size):
        batch = list(dict.fromkeys(numbers[start : start + size]))
        if not seen.issuperset(batch):
            seen.update(batch)
            yield batch


def build(
    loaded: Loaded, pairs: Sequence[PairRow], config: DpoSection, context: Context
) -> DpoLoop:
    """The trainer of `pairs`, ready for `loop.train`; `num_steps` is set on it."""
    setup.prepare(loaded.model, freeze=(setup.VISION, setup.PROJECTOR))
    numbers = order(
        [len(pair) for pair in pairs],
        seed=context.seed,
        epochs=config.epochs,
        batch_size=config.batch_size,
        max_steps=config.max_steps,
    )
    num_steps = math.ceil(len(numbers) / config.batch_size)
    shared = setup.arguments(
        config, context, learning_rate=config.learning_rate, num_steps=num_steps
    )
    reference: dict[int, tuple[float, float]] = {}
    with quiet():
        trainer = DpoLoop(
            model=loaded.model,
            args=DPOConfig(**shared, beta=config.beta, precompute_ref_log_probs=True),
            train_dataset=Dataset.from_dict({"row": numbers}),
            data_collator=dpo_collator(loaded.template, pairs, reference),
            processing_class=loaded.processor,
            peft_config=setup.adapters(loaded.model, config),
        )
    trainer.begin(context, vision_learning_rate=0.0)
    trainer.section, trainer.reference, trainer.num_steps = config, reference, num_steps
    trainer.fill_reference(numbers, context.work / "reference.jsonl")
    return trainer
