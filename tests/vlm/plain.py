"""Prompts and responses for the tests of shared prefixes, and what each row says by itself."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from chainsight.vlm import prefix
from chainsight.vlm.checkpoint import Loaded
from chainsight.vlm.grouping import batch
from chainsight.vlm.prefix import IGNORED, Branch, Group
from chainsight.vlm.template import Prompt, Row

Logps = list[torch.Tensor]
"""For each branch, the log-probabilities of its learned tokens."""


def row(loaded: Loaded, text: str, response: Sequence[int], images: tuple[bytes, ...] = ()) -> Row:
    return loaded.template.row(Prompt(text, text, images), response)


def inputs(loaded: Loaded, row: Row) -> dict[str, torch.Tensor]:
    """One row for an ordinary forward pass, which finds its positions itself."""
    ids = torch.tensor([[*row.prompt_ids, *row.response_ids]])
    pictures = [loaded.template.pictures(image, row.key) for image in row.images]
    joined = {name: torch.cat([p[name] for p in pictures]) for name in (pictures or [{}])[0]}
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **joined}


def response(rng: random.Random, most: int = 20) -> tuple[int, ...]:
    """Letters of the tests' bytewise tokenizer."""
    return tuple(rng.randrange(70, 120) for _ in range(rng.randint(1, most)))


def group(
    loaded: Loaded, text: str, num_branches: int, images: tuple[bytes, ...] = (), seed: int = 0
) -> Group:
    """Branches of 1 to 20 tokens, all learned."""
    rng = random.Random(f"{seed}/{text}")
    asked = row(loaded, text, (), images)
    answers = [response(rng) for _ in range(num_branches)]
    return Group(asked.prompt_ids, tuple(Branch(a, a) for a in answers), images, text)


def shared_logps(model: Any, loaded: Loaded, groups: Sequence[Group]) -> Logps:
    """By the engine."""
    made = batch(loaded, groups)
    logps = prefix.score(model, made.arguments())
    return [logps[made.layout.owners == n] for n in range(made.layout.num_branches)]


def row_logps(model: Any, loaded: Loaded, groups: Sequence[Group]) -> Logps:
    """By one ordinary forward pass for each branch: whole rows, all logits, no engine."""
    return [
        _row_logps(model, loaded, group, branch) for group in groups for branch in group.branches
    ]


def _row_logps(model: Any, loaded: Loaded, group: Group, branch: Branch) -> torch.Tensor:
    whole = inputs(loaded, Row("", group.prompt_ids, branch.ids, group.images))
    logits = model(**whole, use_cache=False).logits[0, :-1].float()
    labels = torch.tensor([*[IGNORED] * len(group.prompt_ids), *branch.labels])[1:]
    logps = logits.log_softmax(-1).gather(1, labels.clamp(min=0)[:, None])[:, 0]
    return logps[labels != IGNORED]


def mixed_loss(logps: Logps) -> torch.Tensor:
    """DPO's on neighbours, and SFT's on all: bends and is not symmetric."""
    sums = torch.stack([own.sum() for own in logps])
    pairs = -torch.nn.functional.logsigmoid(0.1 * (sums[::2][: len(sums) // 2] - sums[1::2]))
    return pairs.sum() - torch.cat(logps).mean()


def gradient(model: Any) -> torch.Tensor:
    """Of all trained parameters, as one vector."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.cat(
        [torch.zeros(p.numel()) if p.grad is None else p.grad.flatten() for p in trained]
    )


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Norm of the difference over norm."""
    return float((found - wanted).norm() / wanted.norm())


def outcome(model: Any, logps: Callable[[], Logps]) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss and gradient."""
    model.zero_grad()
    loss = mixed_loss(logps())
    loss.backward()  # type: ignore[no-untyped-call]
    found = gradient(model)
    model.zero_grad()
    return loss.detach(), found


def errors(model: Any, loaded: Loaded, groups: Sequence[Group]) -> Iterator[float]:
    """How far loss and gradient of the engine are from those of plain rows."""
    found = outcome(model, lambda: shared_logps(model, loaded, groups))
    wanted = outcome(model, lambda: row_logps(model, loaded, groups))
    return (relative(a, b) for a, b in zip(found, wanted, strict=True))
