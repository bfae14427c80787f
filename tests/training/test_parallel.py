"""What ranks agree on, tensors in pieces and whole: two processes with Gloo."""

import socket
from pathlib import Path

import torch
from pieces import rank_main, trained
from torch import multiprocessing

from chainsight.training import parallel


def test_two_ranks_agree_and_train_in_pieces_what_one_trains_whole(tmp_path: Path) -> None:
    alone = trained(tmp_path / "alone", cut_up=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.start_processes(  # type: ignore[no-untyped-call]
        rank_main, args=(port, tmp_path), nprocs=2, start_method="spawn"
    )
    back = trained(tmp_path, cut_up=False, begin=tmp_path / "pieces")  # two ranks' by one
    for made in (torch.load(tmp_path / "pieces-0.pt"), torch.load(tmp_path / "resumed-0.pt"), back):
        assert made.keys() == alone.keys()
        assert all(torch.allclose(made[name], alone[name], atol=1e-7) for name in alone)
    assert torch.load(tmp_path / "pieces-1.pt") == {}


def test_one_process_needs_no_group() -> None:
    assert (parallel.rank(), parallel.num_ranks(), parallel.leads()) == (0, 1, True)
    assert parallel.agreed(1) == 1
    assert parallel.gathered(1) == [1]
    assert parallel.mean([torch.tensor(1.0), torch.tensor(2.0)], torch.device("cpu")) == 1.5
