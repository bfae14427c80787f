"""What a forward pass keeps for its backward pass, measured: on a GPU and on a CPU alike.

Autograd saves tensors through hooks, so the bytes can be counted without a GPU: each storage once,
weights and buffers apart. `chainsight.planner` predicts the same figure before a run.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.modules.module import register_module_forward_pre_hook

from chainsight.config import DpoSection, SftSection
from chainsight.context import Context
from chainsight.errors import CheckpointError
from chainsight.planner import memory, shapes
from chainsight.planner.activations import Question
from chainsight.planner.memory import Processes
from chainsight.training import parallel
from chainsight.vlm.grouping import Batch


@dataclass(frozen=True)
class Kept:
    """One storage that waits for the backward pass."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    bytes: int


@dataclass
class Found:
    """Complete when the block of `measured` has ended."""

    activations: list[Kept] = field(default_factory=list)
    """In the order of computation."""
    casts: list[Kept] = field(default_factory=list)
    """Copies of weights in another precision (autocast); they don't grow with the batch."""
    peak_bytes: int | None = None
    """The most that the GPU held within the block, weights and all; None without one."""

    @property
    def bytes(self) -> int:
        """Of the activations."""
        return sum(one.bytes for one in self.activations)

    @property
    def cast_bytes(self) -> int:
        """Of the copies of weights."""
        return sum(one.bytes for one in self.casts)


@contextmanager
def measured() -> Iterator[Found]:
    """Count what forward passes within the block keep; what they compute stays the same.

        with measured() as found:
            loss = model(**batch).loss
        print(found.bytes)

    Weights are the parameters and buffers of the modules that run. With gradient checkpointing the
    figure is what the forward pass keeps; the rest comes back a layer at a time, uncounted.
    """
    found, weights = Found(), _Weights()
    seen: dict[int, tuple[torch.UntypedStorage, torch.Tensor]] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        seen.setdefault(storage._cdata, (storage, tensor))  # held, so that no number comes twice
        return tensor

    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    hook = register_module_forward_pre_hook(weights.note)
    try:
        with saved_tensors_hooks(pack, lambda tensor: tensor):
            yield found
    finally:
        hook.remove()
    found.peak_bytes = torch.cuda.max_memory_allocated() if cuda else None
    for number, (storage, tensor) in seen.items():
        if number not in weights.storages:
            place = found.casts if weights.has_copy(tensor) else found.activations
            place.append(Kept(tuple(tensor.shape), tensor.dtype, storage.nbytes()))


class _Weights:
    """Parameters and buffers of the modules that ran."""

    def __init__(self) -> None:
        self.storages: dict[int, torch.UntypedStorage] = {}
        self._frozen: set[tuple[int, ...]] = set()

    def note(self, module: nn.Module, _inputs: Any) -> None:
        """Before a module's forward: weights that are cut up among processes are whole now."""
        for parameter in module.parameters(recurse=False):
            if not parameter.requires_grad:
                self._frozen |= {tuple(parameter.shape), tuple(reversed(parameter.shape))}
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            storage = tensor.untyped_storage()
            self.storages[storage._cdata] = storage

    def has_copy(self, tensor: torch.Tensor) -> bool:
        """Whether `tensor` is a weight in another precision: by its history, which a frozen one
        has none of, so that its shape tells."""
        if tensor.grad_fn is None:
            return tensor.is_floating_point() and tuple(tensor.shape) in self._frozen
        step: Any = tensor.grad_fn
        while step is not None and step.name() in CASTING:
            step = step.next_functions[0][0]
        leaf = getattr(step, "variable", None)  # what AccumulateGrad adds to
        return leaf is not None and leaf.untyped_storage()._cdata in self.storages


CASTING = frozenset({"TBackward0", "ToCopyBackward0", "TransposeBackward0", "ViewBackward0"})
"""What stands between a weight and its copy."""


# --- what runs report ------------------------------------------------------------------------


class FirstPass:
    """Measures the first forward pass of a training, beside what the planner expects of it."""

    def __init__(self, section: SftSection | DpoSection, context: Context) -> None:
        self.section, self.context = section, context
        self.unit = "pair" if isinstance(section, DpoSection) else "row"
        self._measured: dict[str, float] = {}

    @contextmanager
    def watching(self, config: Any, batch: Batch, count: int) -> Iterator[None]:
        """Around a forward pass; only the first that has rows is measured.

        Args:
            config: the model's configuration.
            batch: what it is given.
            count: how many rows or pairs that is.
        """
        if self._measured or not count:
            yield
            return
        with measured() as found:
            yield
        self._measured = {f"activation_bytes_per_{self.unit}": found.bytes / count}
        self._measured |= self._planned(config, batch, count)

    @property
    def metrics(self) -> dict[str, float]:
        """Of the training so far: bytes, measured and `planned_`; the peak where there is a GPU."""
        if not torch.cuda.is_available():
            return self._measured
        return self._measured | {"peak_memory_bytes": float(torch.cuda.max_memory_allocated())}

    def _planned(self, config: Any, batch: Batch, count: int) -> dict[str, float]:
        try:
            shape = shapes.of(config.to_dict())
        except CheckpointError:
            return {}  # a family that the planner does not know trains all the same
        processes = Processes(parallel.num_ranks(), self.context.parallel)
        held = questions(config, batch)
        need = memory.training("", shape, self.section, self.context.model, held, processes)
        return {
            f"planned_activation_bytes_per_{self.unit}": need.parts["activations"] / count,
            "planned_memory_bytes": float(need.net),
        }


def questions(config: Any, batch: Batch) -> list[Question]:
    """A batch in the planner's words; all pictures are told of the first question."""
    layout = batch.layout
    lengths = torch.bincount(layout.branches, minlength=layout.num_branches + 1).tolist()
    learned = torch.bincount(layout.owners, minlength=layout.num_branches).tolist()
    made = []
    for number, span in enumerate(layout.spans):
        own = layout.branches[layout.groups == number].tolist()
        branches = sorted(set(own) - {0})  # 0 is the prompt
        made.append(
            Question(
                prompt=span.prompt_stop - span.start,
                branches=tuple(lengths[owner] for owner in branches),
                learned=sum(learned[owner - 1] for owner in branches),
                patches=0 if number else _patches(config, batch),
                image_tokens=0
                if number
                else int((layout.input_ids == config.image_token_id).sum()),
            )
        )
    return made


def _patches(config: Any, batch: Batch) -> int:
    """How many the tower computes: of tiles [T, C, H, W] with a class token, else rows."""
    pixels = batch.pictures.get("pixel_values")
    if pixels is None:
        return 0
    if pixels.dim() < 4:
        return len(pixels)
    patch: int = config.vision_config.patch_size
    return len(pixels) * ((pixels.shape[-2] // patch) * (pixels.shape[-1] // patch) + 1)
