"""Rows and pairs to train on, their trainers, and what plain rows give."""

import io
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from PIL import Image
from torch.nn import functional

from chainsight.config import DpoSection, ModelSection, SftSection
from chainsight.context import Context
from chainsight.training import dpo, loop, objectives, setup, sft
from chainsight.training.data import PairRow
from chainsight.vlm import checkpoint
from chainsight.vlm.template import Prompt, Row, Template

QUESTIONS = [(f"x/{n}", ["red", "blue", "green", "grey"][n // 2]) for n in range(8)]
"""Key and colour of the picture: two questions of each."""


def png(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 20) if colour == "blue" else (32, 32), colour).save(file, format="PNG")
    return file.getvalue()


def answer(rng: random.Random) -> tuple[int, ...]:
    return tuple(rng.randrange(70, 120) for _ in range(rng.randint(1, 20)))


def sft_rows(template: Template, *, text: int = 3) -> list[Row]:
    """Each question asked both ways; and `text` questions without a picture."""
    rng = random.Random(0)
    asked = [*[(key, (png(colour),)) for key, colour in QUESTIONS]]
    asked += [(f"text/{n}", ()) for n in range(text)]
    return [
        template.row(Prompt(f"{key}/{mode}", f"What is {key}?\n{mode}", images), answer(rng))
        for key, images in asked
        for mode in ("direct", "cot")
    ]


def pairs_of(template: Template, *, text: int = 3) -> list[PairRow]:
    """Three pairs a question; the second one's chosen response is the first one's."""
    rng = random.Random(1)
    made = []
    for row in sft_rows(template, text=text)[::2]:
        a, b, c, d, e = (Row(row.key, row.prompt_ids, answer(rng), row.images) for _ in range(5))
        made += [PairRow(a, b), PairRow(a, c), PairRow(d, e)]
    return made


def context(folder: Path, student: Path, **changes: Any) -> Context:
    folder.mkdir(parents=True, exist_ok=True)
    return Context(folder, folder, 5, ModelSection(base=str(student)), **changes)


def sft_trainer(where: Context, rows: Any = None, **settings: Any) -> sft.SftLoop:
    config = SftSection(**({"batch_size": 12, "device_batch_size": 3} | settings))
    loaded = setup.load_for_training(where.model.base, config, where)
    return sft.build(loaded, rows or sft_rows(loaded.template), config, where)


def dpo_trainer(where: Context, pairs: Any = None, **settings: Any) -> dpo.DpoLoop:
    config = DpoSection(**({"batch_size": 12, "device_batch_size": 3} | settings))
    loaded = setup.load_for_training(where.model.base, config, where)
    return dpo.build(loaded, pairs or pairs_of(loaded.template), config, where)


def nudge(model: torch.nn.Module) -> None:
    """Move what is trained, the same way in every model of this shape."""
    torch.manual_seed(3)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(0.02 * torch.randn_like(parameter))


def step(trainer: Any, number: int = 0) -> tuple[float, torch.Tensor]:
    """A whole optimizer step's loss and gradient."""
    loss = trainer.training_step(trainer.model, number)
    return loss.item(), gradient(trainer.model)


def gradient(model: torch.nn.Module) -> torch.Tensor:
    """Of all trained weights, as one vector."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.cat(
        [torch.zeros(p.numel()) if p.grad is None else p.grad.flatten() for p in trained]
    )


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


# --- plain rows: each in a forward pass of its own, by the model's own attention ----------------


def plain_logps(loaded: checkpoint.Loaded, row: Row) -> torch.Tensor:
    ids = torch.tensor([[*row.prompt_ids, *row.response_ids]])
    pictures = [loaded.template.pictures(image, "") for image in row.images]
    joined = {name: torch.cat([p[name] for p in pictures]) for name in (pictures or [{}])[0]}
    logits = loaded.model(input_ids=ids, use_cache=False, **joined).logits[0]
    size = len(row.response_ids)
    targets = torch.tensor(row.response_ids)
    return -functional.cross_entropy(logits[-size - 1 : -1], targets, reduction="none")


def plain_sft(loaded: checkpoint.Loaded, rows: Sequence[Row]) -> torch.Tensor:
    return -torch.cat([plain_logps(loaded, row) for row in rows]).mean()


def plain_dpo(
    loaded: checkpoint.Loaded, reference: checkpoint.Loaded, pairs: Sequence[PairRow], kind: Any
) -> torch.Tensor:
    losses = []
    for pair in pairs:
        sides = []
        for model in (loaded, reference):
            for row in (pair.chosen, pair.rejected):
                logps = plain_logps(model, row)
                weights = objectives.token_weights(torch.zeros(len(logps), dtype=torch.long), kind)
                sides.append((logps * weights).sum())
        margin = sides[0] - sides[1] - (sides[2] - sides[3]).detach()
        losses.append(-functional.logsigmoid(0.1 * margin))
    return torch.stack(losses).mean()


# --- several processes --------------------------------------------------------------------------

KINDS: dict[str, dict[str, Any]] = {
    "sft": {"learning_rate": 1e-3, "vision_learning_rate": 1e-3},
    "dpo": {"learning_rate": 1e-3, "reference": "model"},
    "lora": {"learning_rate": 1e-3, "tuning": "lora", "lora_rank": 2, "reference": "adapter"},
    "cache": {"learning_rate": 1e-3, "reference": "cache"},
}


def train(folder: Path, student: Path, kind: str, **changes: Any) -> list[dict[str, float]]:
    """The curve of an epoch; its last step has a single unit, so that a second rank has a ghost."""
    make: Any = sft_trainer if kind == "sft" else dpo_trainer
    trainer = make(context(folder / kind, student, **changes), batch_size=10, **KINDS[kind])
    return loop.train(trainer, kind, trainer.num_steps)


def rank_main(rank: int, port: int, folder: Path, student: Path) -> None:
    """Train all kinds both ways; the leader keeps the curves."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    curves = {}
    for parallel in ("ddp", "fsdp"):
        for kind in KINDS:
            changes = {"parallel": parallel}
            curves[parallel, kind] = train(folder / parallel, student, kind, **changes)
    if rank == 0:
        torch.save(curves, folder / "curves.pt")
    dist.destroy_process_group()
