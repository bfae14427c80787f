"""What a training keeps to go on after a kill: written by one rank, read by any number of them.

A folder `checkpoint-<step>` holds the trained weights and the optimizer's state, whole, so that
neither the number of processes nor the way they share the work has to be the same next time.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from chainsight.training import parallel
from chainsight.vlm.checkpoint import needing_space

COMPLETE = "complete"
"""Marker, written last: a folder without it was cut off by a kill."""
WEIGHTS = "weights.safetensors"
OPTIMIZER = "optimizer.pt"
STATE = "trainer_state.json"
"""The trainer's own name for its counters and its log."""


def step_of(folder: Path) -> int:
    """The number of optimizer steps behind a checkpoint."""
    return int(folder.name.rpartition("-")[2])


def newest_complete(folder: Path) -> Path | None:
    """The newest trainer checkpoint that was written to its end."""
    found = [path for path in folder.glob("checkpoint-*") if (path / COMPLETE).exists()]
    return max(found, key=step_of, default=None)


def agreed_start(folder: Path) -> Path | None:
    """The checkpoint of `folder` to go on from: the leader's choice, on all ranks.

    Ranks on other machines may not have it on their disk: they get the trainer's counters.
    """
    newest = newest_complete(folder) if parallel.leads() else None
    state = parallel.agreed((newest / STATE).read_bytes() if newest else None)
    newest = parallel.agreed(newest)
    if newest is not None and state is not None and not (newest / STATE).exists():
        newest.mkdir(parents=True, exist_ok=True)
        draft = newest / f"{STATE}.{parallel.rank()}"
        draft.write_bytes(state)
        draft.replace(newest / STATE)
    return newest


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that a training changes; the others are those of the start."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def save_weights(model: nn.Module, folder: Path) -> None:
    """Write what is trained; called by all ranks."""
    weights = parallel.whole(trained(model))
    if parallel.leads():
        with needing_space(folder):
            folder.mkdir(parents=True, exist_ok=True)
            save_file({k: v.contiguous() for k, v in weights.items()}, folder / WEIGHTS)


def load_weights(model: nn.Module, folder: Path) -> None:
    """Read what `save_weights` wrote; called by all ranks, read by the leader."""
    file: Any = safe_open(folder / WEIGHTS, framework="pt") if parallel.leads() else None
    with torch.no_grad():
        for name, parameter in trained(model).items():
            found = file.get_tensor(name) if file else None
            parameter.copy_(parallel.spread(found, parameter))


def save_optimizer(optimizer: Any, scheduler: Any, folder: Path) -> None:
    """Write the state of optimizer and learning rate; called by all ranks."""
    state = optimizer.state_dict()
    kept = {number: parallel.whole(entry) for number, entry in state["state"].items()}
    if parallel.leads():
        whole = {"state": kept, "param_groups": state["param_groups"]}
        with needing_space(folder):
            torch.save(
                {"optimizer": whole, "scheduler": scheduler.state_dict()}, folder / OPTIMIZER
            )


def load_optimizer(optimizer: Any, scheduler: Any, folder: Path) -> None:
    """Read what `save_optimizer` wrote; called by all ranks, read by the leader."""
    kept: dict[str, Any] = {"optimizer": {"state": {}, "param_groups": []}, "scheduler": {}}
    if parallel.leads():
        kept = torch.load(folder / OPTIMIZER, map_location="cpu", mmap=True, weights_only=True)
    state, groups = kept["optimizer"]["state"], kept["optimizer"]["param_groups"]
    names = parallel.agreed({number: list(entry) for number, entry in state.items()})
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    spread = {
        number: _spread(state.get(number), entry, parameters[number])
        for number, entry in names.items()
    }
    optimizer.load_state_dict({"state": spread, "param_groups": parallel.agreed(groups)})
    scheduler.load_state_dict(parallel.agreed(kept["scheduler"]))


def _spread(
    entry: Mapping[str, torch.Tensor] | None, names: Sequence[str], parameter: torch.Tensor
) -> dict[str, torch.Tensor]:
    """One parameter's averages, cut up as it is, and its number of steps."""
    like = {name: torch.zeros(()) if name == "step" else parameter for name in names}
    given = entry or {}
    return {name: parallel.spread(given.get(name), like[name]) for name in names}
