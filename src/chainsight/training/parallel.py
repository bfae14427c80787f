"""Several processes at one training: who is who, what all agree on, tensors in pieces and whole.

With one process everything is its own, and nothing here needs a process group. Weights are cut
up by torch's own FSDP2 (`fully_shard`), for accelerate refuses to do so on CPU, where this is
tested; precision stays what it is in one process (float32 weights, autocast), so that the numbers
are, too.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

T = TypeVar("T")


def num_ranks() -> int:
    """How many processes share the training."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def leads() -> bool:
    """Whether this process is the one that writes."""
    return rank() == 0


def agreed(value: T) -> T:
    """What the leader's `value` is, on all ranks."""
    if num_ranks() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def gathered(value: T) -> list[T]:
    """The `value` of each rank, in their order."""
    if num_ranks() == 1:
        return [value]
    box: list[Any] = [None] * num_ranks()
    dist.all_gather_object(box, value)
    return box


def total(number: torch.Tensor) -> torch.Tensor:
    """The sum of all ranks' `number`."""
    if num_ranks() > 1:
        dist.all_reduce(number)
    return number


def mean(values: Sequence[torch.Tensor], device: torch.device) -> float:
    """The mean of all ranks' values, of which some ranks may have none."""
    own = torch.stack(list(values)).sum() if values else torch.zeros((), device=device)
    count = torch.tensor(float(len(values)), device=device)
    both = total(torch.stack([own.float(), count]))
    return (both[0] / both[1]).item()


def shard(model: nn.Module, device: torch.device) -> None:
    """Cut the leader's weights up among all ranks, in place and layer by layer.

    They may lie on the CPU: only the pieces come to `device`. What the others have for weights is
    lost. Each forward and backward pass then gathers one layer at a time.
    """
    whole_ones = {name: p.detach() for name, p in model.named_parameters()} if leads() else {}
    mesh = init_device_mesh(device.type, (num_ranks(),))
    for layer in list(_layers(model)):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(spread(whole_ones.pop(name, None), parameter))
        for buffer in model.buffers():
            buffer.copy_(spread(buffer, buffer))


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """The members of each stack of layers: a language model's, a vision tower's."""
    for child in module.children():
        if isinstance(child, nn.ModuleList) and len(child) > 1:
            yield from child
        else:
            yield from _layers(child)


def settle(model: nn.Module) -> None:
    """Free what a forward pass without a backward one has left gathered."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def whole(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors on the leader's CPU, put together where they are in pieces; {} elsewhere."""
    kept = {}
    for name, tensor in tensors.items():
        found = tensor.detach()
        found = found.full_tensor() if isinstance(found, DTensor) else found
        if leads():
            kept[name] = found.cpu()
    return kept


def spread(tensor: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor:
    """The leader's `tensor` on all ranks, on the device and in the pieces of `like`.

    The others give none. The shape is that of `like`.
    """
    if tensor is None:
        tensor = torch.empty(like.shape, dtype=like.dtype, device=like.device)
    tensor = tensor.to(like.device, like.dtype).contiguous()
    if num_ranks() > 1:
        dist.broadcast(tensor, src=0)
    if isinstance(like, DTensor):
        return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)
    return tensor


def make_whole(model: nn.Module) -> None:
    """Turn a model in pieces into an ordinary one on the leader's CPU; the others' is lost."""
    if not isinstance(model, FSDPModule):
        return
    settle(model)
    places = [
        (module, name, parameter)
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
    ]
    made: dict[int, nn.Parameter] = {}  # tied weights stay tied
    for module, name, parameter in places:
        if id(parameter) not in made:
            found = whole({name: parameter}).get(name, torch.empty(0))
            made[id(parameter)] = nn.Parameter(found, parameter.requires_grad)
        setattr(module, name, made[id(parameter)])
    for module in model.modules():
        if isinstance(module, FSDPModule):
            setattr(module, "__class__", ordinary_class(module))  # noqa: B010 - mypy takes no other
    for module, name in _buffers(model):
        setattr(module, name, getattr(module, name).cpu())


def ordinary_class(module: nn.Module) -> Any:
    """The class of a module before it was cut up, which gave it one of its own."""
    classes: Iterator[Any] = iter(type(module).__mro__)
    return next(c for c in classes if not issubclass(c, FSDPModule))


def _buffers(model: nn.Module) -> list[tuple[nn.Module, str]]:
    named = ((m, m.named_buffers(recurse=False)) for m in model.modules())
    return list(itertools.chain.from_iterable(((m, n) for n, _ in found) for m, found in named))
