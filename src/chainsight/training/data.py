"""Rows in the order they are learned, and the batches made of them."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from chainsight.vlm.template import IGNORED, Row, Template

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


def sft_collator(template: Template, rows: Sequence[Row]) -> Callable[[list[Batch]], Batch]:
    """Makes batches of rows named by {"row": number}."""

    def collate(picked: list[Batch]) -> Batch:
        return _trimmed(template.collate([rows[item["row"]] for item in picked]))

    return collate


def dpo_collator(
    template: Template, pairs: Sequence[PairRow], reference: Mapping[int, tuple[float, float]]
) -> Callable[[list[Batch]], Batch]:
    """Makes batches of 2B rows, all chosen before all rejected, with what the reference says.

    `reference_logps` is [2B] in the same order, or absent while `reference` lacks a pair.
    """

    def collate(picked: list[Batch]) -> Batch:
        numbers = [item["row"] for item in picked]
        both = [pairs[n].chosen for n in numbers] + [pairs[n].rejected for n in numbers]
        batch = _trimmed(template.collate(both))
        if all(n in reference for n in numbers):
            logps = [reference[n][0] for n in numbers] + [reference[n][1] for n in numbers]
            batch["reference_logps"] = torch.tensor(logps, dtype=torch.float32)
        return batch

    return collate


def _trimmed(batch: Batch) -> Batch:
    """Ask the model for logits only where labels are, and cut the labels to match.

    All rows end together, so this is the longest response and the token before it.
    """
    labels = batch["labels"]
    columns = (labels != IGNORED).any(0).nonzero()
    first = int(columns[0]) if len(columns) else labels.shape[1]
    keep = labels.shape[1] - first + 1
    return batch | {"labels": labels[:, -keep:], "logits_to_keep": keep}
