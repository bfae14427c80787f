"""What two spawned processes train together; apart from its test, so that they can import it."""

import os
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor

from chainsight.training import parallel, resume


class Stack(nn.Module):
    """Two layers of odd sizes, tied ends, a frozen head and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(5, 3)
        self.layers = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
        self.last = nn.Linear(5, 3)
        self.last.weight = self.first.weight
        self.head = nn.Linear(3, 2).requires_grad_(requires_grad=False)
        self.register_buffer("scale", torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        for layer in self.layers:
            y = layer(y)
        return self.head(y + self.last(x)).sum() * self.scale


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model(torch.arange(5.0)).backward()
    optimizer.step()
    optimizer.zero_grad()


def trained(folder: Path, *, cut_up: bool, begin: Path | None = None) -> dict[str, torch.Tensor]:
    """The weights after two steps, or after the second alone of a training that began elsewhere."""
    model = Stack()
    if cut_up:
        if not parallel.leads():
            for parameter in model.parameters():
                parameter.data.fill_(float("nan"))  # only the leader's weights count
        parallel.shard(model, torch.device("cpu"))
        assert all(isinstance(p, DTensor) for p in model.parameters())
    optimizer = optimizer_of(model)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    if begin:
        resume.load_weights(model, begin)
        resume.load_optimizer(optimizer, schedule, begin)
    else:
        step(model, optimizer)
        schedule.step()
        resume.save_weights(model, folder)
        resume.save_optimizer(optimizer, schedule, folder)
    step(model, optimizer)
    parallel.make_whole(model)
    return dict(model.state_dict()) if parallel.leads() else {}


def rank_main(rank: int, port: int, folder: Path) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    assert (parallel.rank(), parallel.num_ranks(), parallel.leads()) == (rank, 2, rank == 0)
    assert parallel.agreed(f"of {rank}") == "of 0"
    assert parallel.gathered(rank) == [0, 1]
    assert parallel.total(torch.tensor(rank + 1)) == 3
    values = [torch.tensor(1.0), torch.tensor(2.0), torch.tensor(6.0)] if rank == 0 else []
    assert parallel.mean(values, torch.device("cpu")) == 3.0
    own = folder / f"disk-{rank}"  # ranks on two machines: only the first has the checkpoint
    if rank == 0:
        kept = own / "checkpoint-7"
        kept.mkdir(parents=True)
        (kept / resume.STATE).write_text("{}")
        (kept / resume.COMPLETE).touch()
        (own / "checkpoint-9").mkdir()  # torn
    os.chdir(own if rank == 0 else folder)
    assert resume.agreed_start(Path()) == Path("checkpoint-7")
    assert Path("checkpoint-7", resume.STATE).read_text() == "{}"
    os.chdir(folder)
    torch.save(trained(folder / "pieces", cut_up=True), folder / f"pieces-{rank}.pt")
    resumed = trained(folder, cut_up=True, begin=folder / "alone")
    torch.save(resumed, folder / f"resumed-{rank}.pt")
    dist.destroy_process_group()
