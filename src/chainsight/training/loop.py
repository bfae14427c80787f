"""What SFT and DPO add to TRL's trainers: our passes, learning rates, checkpoints and curves."""

import contextlib
import json
import math
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic

import torch
from accelerate.utils import AutocastKwargs  # type: ignore[import-untyped]
from torch.distributed.fsdp import register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from torch.utils.data import DataLoader
from transformers import PrinterCallback, TrainerCallback

from chainsight.context import Context
from chainsight.errors import ChainsightError
from chainsight.training import parallel, plan, resume
from chainsight.training.data import Maker
from chainsight.training.feed import Inputs, ahead
from chainsight.training.memory import FirstPass
from chainsight.training.plan import Forward, Part
from chainsight.training.setup import adapter_of, sharded
from chainsight.vlm import checkpoint
from chainsight.vlm.grouping import Batch

NOT_A_CURVE = frozenset({"epoch", "step", "total_flos"})


class Autocast(AutocastKwargs):  # type: ignore[misc]
    """Each weight is used once a pass: copies kept meanwhile are of no use, and 15 GB at 8B.

    The library's own finds out what differs from its defaults by taking all variables out of the
    process's environment and putting them back, at every step, under which another thread that
    looks one up (a name on the network, say) ends in a segmentation fault.
    """

    def to_kwargs(self) -> dict[str, Any]:
        """Arguments of `torch.autocast`."""
        return {"cache_enabled": False}


class Loop(Generic[Inputs]):
    """Mixed into a TRL trainer, before it in the order of classes.

    To the trainer a batch is the number of an optimizer step; its forward passes and what they
    accumulate is ours. Each pass gives its part of the step's loss, divided by counts of the whole
    step over all ranks, which the plan tells every rank; gradients are averaged over the ranks, so
    the parts are multiplied by their number.
    """

    # What the trainer beside us provides.
    model: Any
    args: Any
    state: Any
    optimizer: Any
    lr_scheduler: Any
    accelerator: Any
    train_dataset: Any
    data_collator: Any

    vision_learning_rate = 0.0
    context: Context
    section: Any
    """The stage's, of the configuration."""
    maker: Maker
    steps: Sequence[tuple[Part, ...]] = ()
    """The parts of each optimizer step of the whole training."""
    batches: Iterator[tuple[Inputs, bool]] | None = None
    """This rank's batches from the step under way on, and whether each is its step's last."""

    def begin(
        self,
        context: Context,
        steps: Sequence[tuple[Part, ...]],
        maker: Maker,
        vision_learning_rate: float,
    ) -> None:
        """Set what the trainer's own constructor does not know."""
        self.context, self.steps, self.maker = context, steps, maker
        self.first_pass = FirstPass(self.section, context)
        self.vision_learning_rate = vision_learning_rate
        self.accelerator.autocast_handler = Autocast()
        if sharded(context):
            parallel.shard(self.model, self.args.device)
            register_fsdp_forward_method(self.model, "get_image_features")
            self.is_distributed_loading_by_transformers = True  # so it's not wrapped once more
        self.curves: defaultdict[str, list[torch.Tensor]] = defaultdict(list)

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the whole training."""
        return len(self.steps)

    def tokens(self, part: Part) -> int:
        """About how many tokens `part` takes."""
        raise NotImplementedError

    def make(self, forward: Forward) -> Inputs:
        """The batch of a forward pass."""
        raise NotImplementedError

    def part_of_loss(self, model: Any, inputs: Inputs, step: tuple[Part, ...]) -> torch.Tensor:
        """What a forward pass adds to the step's loss."""
        raise NotImplementedError

    def counted(self, inputs: Inputs) -> tuple[Any, Batch, int]:
        """The model's configuration, what it is given, and how many rows or pairs that is."""
        raise NotImplementedError

    def passes(self) -> Iterator[Forward]:
        """All ranks' forward passes of the whole training, dealt in turn."""
        for step in self.steps:
            yield from self.dealt(step)

    def dealt(self, step: tuple[Part, ...]) -> list[Forward]:
        """All ranks' forward passes of a step."""
        size = self.args.per_device_train_batch_size
        return plan.deal(step, self.tokens, size=size, num_ranks=parallel.num_ranks())

    def _own_passes(self, start: int) -> Iterator[tuple[Forward, bool]]:
        for step in self.steps[start:]:
            own = self.dealt(step)[parallel.rank() :: parallel.num_ranks()]
            yield from ((forward, n == len(own) - 1) for n, forward in enumerate(own))

    def _own_batches(self, start: int) -> Iterator[tuple[Inputs, bool]]:
        def make(own: tuple[Forward, bool]) -> tuple[Inputs, bool]:
            return self.make(own[0]), own[1]

        passes = self._own_passes(start)
        return ahead(make, passes) if self.args.device.type == "cuda" else map(make, passes)

    def training_step(self, model: Any, number: int, *_: Any) -> torch.Tensor:
        """Run this rank's passes of step `number`, forward and backward; its part of the loss."""
        if self.batches is None:
            self.batches = self._own_batches(number)
        model.train()
        total = torch.zeros((), device=self.args.device)
        last = False
        while not last:
            inputs, last = next(self.batches)
            with self._summing_up(model, last):
                with self.accelerator.autocast(), self.first_pass.watching(*self.counted(inputs)):
                    part = self.part_of_loss(model, inputs.to(self.args.device), self.steps[number])
                part = part * parallel.num_ranks()
                self.accelerator.backward(part)
            total += part.detach()
        return total

    def _summing_up(self, model: Any, last: bool) -> contextlib.AbstractContextManager[Any]:
        """Ranks exchange gradients after the last pass; where weights are cut up, after each: a
        GPU would have to hold all gradients, not its piece of them."""
        if last or sharded(self.context):
            return contextlib.nullcontext()
        waiting: contextlib.AbstractContextManager[Any] = self.accelerator.no_sync(model)
        return waiting

    def _get_num_items_in_batch(self, *_: Any, **__: Any) -> None:
        """The plan knows."""

    def floating_point_ops(self, inputs: int) -> int:  # noqa: ARG002
        """Not counted: the trainer's formula takes rows of a padded batch."""
        return 0

    def _move_model_to_device(self, *_: Any, **__: Any) -> None:
        """The model was loaded where it belongs: a GPU may have room for its piece alone."""

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """TRL writes a model card into each checkpoint; ours are no publications."""

    def create_optimizer(self, model: Any = None) -> Any:  # noqa: ARG002
        """AdamW with the vision tower's own learning rate."""
        if self.optimizer is None:
            decayed = set(self.get_decay_parameter_names(self.model))  # type: ignore[attr-defined]
            vision = self.maker.loaded.family.vision
            groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
            for name, parameter in self.model.named_parameters():
                if parameter.requires_grad:
                    kind = (vision.search(name) is not None, name not in decayed)
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

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The steps, the same on all ranks."""
        return DataLoader(self.train_dataset, collate_fn=self.data_collator)

    def _get_grad_norm(self, *args: Any, **kwargs: Any) -> Any:
        norm = super()._get_grad_norm(*args, **kwargs)  # type: ignore[misc]
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        if parallel.leads() and folder.exists():
            shutil.rmtree(folder)  # cut off by a kill; `newest_complete` passed it over
        super()._save_checkpoint(*args, **kwargs)  # type: ignore[misc]
        if parallel.leads():  # who has written all of it
            (folder / resume.COMPLETE).touch()
            self.context.saved(folder)

    def _save(self, output_dir: str, state_dict: Any = None) -> None:  # noqa: ARG002
        resume.save_weights(self.model, Path(output_dir))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        resume.save_optimizer(self.optimizer, self.lr_scheduler, Path(output_dir))

    def _save_rng_state(self, output_dir: str) -> None:
        """Nothing is drawn while training: the order of rows is fixed and dropout is off."""

    def _load_from_checkpoint(self, folder: str, model: Any = None) -> None:  # noqa: ARG002
        resume.load_weights(self.model, Path(folder))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            resume.load_optimizer(self.optimizer, self.lr_scheduler, Path(checkpoint))

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add the means of our own curves, send all to tracking and refuse a broken loss."""
        device = self.args.device
        logs.update({k: parallel.mean(v, device) for k, v in sorted(self.curves.items())})
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


class Stop(TrainerCallback):
    """Ends the training after the step under way, with a checkpoint, when any rank is told to."""

    def __init__(self, told: Callable[[], bool]) -> None:
        self.told, self.stopped = told, False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        if any(parallel.gathered(self.told())) and state.global_step < state.max_steps:
            self.stopped = control.should_save = control.should_training_stop = True


def train(trainer: Any, title: str, num_steps: int) -> list[dict[str, float]]:
    """Train to the end, from the newest complete checkpoint if there is one.

    Returns:
        The curve: one entry a logged step, the same whether or not the training was interrupted.

    Raises:
        ChainsightError: the loss is not finite, or the training was told to stop.
    """
    newest = resume.agreed_start(Path(trainer.args.output_dir))
    done = resume.step_of(newest) if newest else 0
    trainer.remove_callback(PrinterCallback)
    stop = Stop(trainer.context.stopping)
    progress = trainer.context.progress.task(title, num_steps, "steps", done=done)
    with progress as task, checkpoint.quiet():
        trainer.add_callback(Advance(task))
        trainer.add_callback(stop)
        trainer.train(resume_from_checkpoint=str(newest) if newest else None)
    if stop.stopped:
        parallel.agreed(None)  # once the leader has written: this error ends it, too
        raise ChainsightError(
            f"{title}: told to stop (SIGTERM), which it did after step {trainer.state.global_step} "
            f"of {num_steps}; its checkpoint is kept, run again to go on"
        )
    trainer.context.metrics.log(trainer.first_pass.metrics, trainer.state.global_step)
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
    on: checkpoint.Base | None,
    curve: list[dict[str, float]],
) -> None:
    """Write the trained model and its curve beside it.

    Adapters are merged, unless `on` says which base they are to be loaded on.
    Called by all ranks; the leader writes.
    """
    model = trainer.accelerator.unwrap_model(trainer.model)
    parallel.make_whole(model)
    if not parallel.leads():
        return
    dtype, style = trainer.context.model.dtype, trainer.context.model.prompt_style
    if on is not None:
        made = adapter_of(model)
        checkpoint.save_adapter(made, folder, on=on, base=base, dtype=dtype, style=style)
    else:
        merged = hasattr(model, "merge_and_unload")
        model = model.merge_and_unload() if merged else model
        kept = replace(loaded, model=model, folder=folder, prompt_style=style)
        kind = "lora-merged" if merged else "full"
        checkpoint.save(kept, folder, base=base, kind=kind, dtype=dtype)
    with (folder / "history.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(entry, sort_keys=True) + "\n" for entry in curve)
