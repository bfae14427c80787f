"""Rows in the order they are learned, and the batches made of them."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from chainsight.vlm.prefix import IGNORED
from chainsight.vlm.template import Row, Template

Batch = dict[str, Any]


@dataclass(frozen=True)
class PairRow:
    """Two responses to one prompt."""

    chosen: Row
    rejected: Row

    def __len__(self) -> int:
        return max(len(self.chosen), len(self.rejected))


def order(
    lengths: Sequence[int], *, seed: int, epochs: float, batch_size: int, max_steps: int | None
) -> list[int]:
    """The row numbers of a whole training, `batch_size` of them an optimizer step.

    Each epoch is its own seeded permutation. Within a step the rows go from long to short, so
    that the forward passes it is cut into pad little; the step's gradient is the same.
    """
    total = math.ceil(len(lengths) * epochs)
    rows: list[int] = []
    for epoch in range(math.ceil(epochs)):
        permutation = list(range(len(lengths)))
        random.Random(f"{seed}/{epoch}").shuffle(permutation)  # noqa: S311
        rows += permutation
    rows = rows[: min(total, (max_steps or total) * batch_size)]
    steps = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    return [row for step in steps for row in sorted(step, key=lambda r: (-lengths[r], r))]


def deal(numbers: Sequence[int], size: int, *, rank: int, num_ranks: int) -> list[list[Batch]]:
    """The forward batches of one of several processes, as the collators' items.

    The batches are those of one process, dealt in turn: an optimizer step sees the same rows in
    the same company whatever the number of processes, and equally long ones at the same time.
    All processes must take part in each forward pass, so where the last round doesn't come out
    even the rest get a ghost: a row whose labels are struck out, and which no count includes. Its
    loss and its gradient are zero.
    """
    batches = [
        [{"row": number, "ghost": False} for number in numbers[start : start + size]]
        for start in range(0, len(numbers), size)
    ]
    num_missing = -len(batches) % num_ranks
    batches += [[{"row": numbers[-1], "ghost": True}] for _ in range(num_missing)]
    return batches[rank::num_ranks]


def sft_collator(template: Template, rows: Sequence[Row]) -> Callable[[list[Batch]], Batch]:
    """Makes batches of rows named by {"row": number, "ghost": whether it is a ghost}."""

    def collate(picked: list[Batch]) -> Batch:
        batch = template.collate([rows[item["row"]] for item in picked])
        return _trimmed(_struck(batch, picked))

    return collate


def dpo_collator(
    template: Template, pairs: Sequence[PairRow], reference: Mapping[int, tuple[float, float]]
) -> Callable[[list[Batch]], Batch]:
    """Makes batches of 2B rows, all chosen before all rejected, with what the reference says.

    `reference_logps` is [2B] in the same order, or absent while `reference` lacks a pair;
    `num_pairs` is B, or 0 for a ghost.
    """

    def collate(picked: list[Batch]) -> Batch:
        numbers = [item["row"] for item in picked]
        both = [pairs[n].chosen for n in numbers] + [pairs[n].rejected for n in numbers]
        batch = _trimmed(_struck(template.collate(both), picked))
        batch["num_pairs"] = 0 if _is_ghost(picked) else len(picked)
        if all(n in reference for n in numbers):
            logps = [reference[n][0] for n in numbers] + [reference[n][1] for n in numbers]
            batch["reference_logps"] = torch.tensor(logps, dtype=torch.float32)
        return batch

    return collate


def _is_ghost(picked: list[Batch]) -> bool:
    return any(item.get("ghost", False) for item in picked)


def _struck(batch: Batch, picked: list[Batch]) -> Batch:
    """Without labels if these are ghosts."""
    if not _is_ghost(picked):
        return batch
    return batch | {"labels": torch.full_like(batch["labels"], IGNORED)}


def _trimmed(batch: Batch) -> Batch:
    """Ask the model for logits only where labels are, and cut the labels to match.

    All rows end together, so this is the longest response and the token before it.
    """
    labels = batch["labels"]
    columns = (labels != IGNORED).any(0).nonzero()
    first = int(columns[0]) if len(columns) else labels.shape[1]
    keep = labels.shape[1] - first + 1
    return batch | {"labels": labels[:, -keep:], "logits_to_keep": keep}
