"""Rows to groups that share what they have in common, and groups to a model's arguments."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from chainsight.vlm import prefix
from chainsight.vlm.checkpoint import Loaded
from chainsight.vlm.prefix import IGNORED, Branch, Group, Layout
from chainsight.vlm.template import Row

IdArray = np.ndarray[Any, np.dtype[Any]]


def alone(row: Row) -> Group:
    """A row as a group of one branch."""
    return Group(row.prompt_ids, (Branch(row.response_ids, row.learned),), row.images, row.key)


def merge(rows: Sequence[Row], image_id: int) -> list[Group]:
    """Rows as one group whose prompt is what their prompts have in common, in the order of rows.

    What a row's own prompt says beyond that leads its branch, unlearned. Rows whose pictures are
    not the same, or not all within the common part, become a group each: branches have none.

    Args:
        rows: of one question or one picture.
        image_id: the image placeholder's token id.
    """
    first, *others = rows
    prompts = [np.asarray(row.prompt_ids) for row in rows]
    shared = min(_num_shared(prompts[0], prompt) for prompt in prompts)
    same = all(_same(first.images, row.images) for row in others)
    if not shared or not same or any((prompt[shared:] == image_id).any() for prompt in prompts):
        return [alone(row) for row in rows]
    branches = []
    for row in rows:
        tail = row.prompt_ids[shared:]
        ids, labels = (*tail, *row.response_ids), (*[IGNORED] * len(tail), *row.learned)
        branches.append(Branch(ids, labels))
    return [Group(first.prompt_ids[:shared], tuple(branches), first.images, first.key)]


def gather(units: Sequence[Sequence[Row]], image_id: int) -> tuple[list[Group], list[int]]:
    """Rows of several units as groups: each shares all that it can, whichever unit it is of.

    Rows whose prompts are the same up to the end of the last picture go together, and so do rows
    of one unit that show no picture.

    Returns:
        The groups, and the places of their branches among all rows of all units.
    """
    together: dict[tuple[bytes, int], list[int]] = {}
    rows = [row for unit in units for row in unit]
    numbers = [number for number, unit in enumerate(units) for _ in unit]
    for place, (row, number) in enumerate(zip(rows, numbers, strict=True)):
        seen = head(row, image_id)
        together.setdefault((seen, -1 if seen else number), []).append(place)
    groups = [
        group
        for places in together.values()
        for group in merge([rows[place] for place in places], image_id)
    ]
    return groups, [place for places in together.values() for place in places]


def head(row: Row, image_id: int) -> bytes:
    """A digest of the prompt up to the end of its last picture; nothing without pictures."""
    if not row.images:
        return b""
    ids = np.asarray(row.prompt_ids, dtype=np.int32)
    stop = len(ids) - int((ids[::-1] == image_id).argmax())
    return digest(ids[:stop], row.images)


def digest(ids: IdArray, images: Sequence[bytes]) -> bytes:
    """Of tokens and the pictures in them."""
    made = hashlib.blake2b(np.asarray(ids, dtype=np.int32).tobytes(), digest_size=16)
    for image in images:
        made.update(hashlib.blake2b(image, digest_size=16).digest())
    return made.digest()


def _num_shared(a: IdArray, b: IdArray) -> int:
    """How many tokens two prompts begin with that are the same."""
    size = min(len(a), len(b))
    differs = np.flatnonzero(a[:size] != b[:size])
    return int(differs[0]) if len(differs) else size


def _same(a: Sequence[bytes], b: Sequence[bytes]) -> bool:
    """Compared by content only if they are not one and the same, as that reads files."""
    return a is b or a == b or tuple(a) == tuple(b)


@dataclass(frozen=True)
class Batch:
    """Groups as a model of one of our attentions (`prefix.implementation`) takes them."""

    layout: Layout
    position_ids: torch.Tensor
    """[1, S], or as the family wants them."""
    pictures: Mapping[str, torch.Tensor]
    """The image processor's tensors of all pictures; {} without any."""

    def to(self, device: torch.device) -> "Batch":
        """The same on another device."""
        pictures = {name: tensor.to(device) for name, tensor in self.pictures.items()}
        return replace(
            self,
            layout=self.layout.to(device),
            position_ids=self.position_ids.to(device),
            pictures=pictures,
        )

    def arguments(self, encoded: dict[str, Any] | None = None) -> dict[str, Any]:
        """For a forward pass; `encoded` stands for the pictures (`Family.encode`)."""
        given = prefix.forward(self.layout, self.position_ids)
        if encoded is None:
            return given | dict(self.pictures)
        return given | ({"mm_encoder_outputs": dict(encoded)} if encoded else {})


def batch(loaded: Loaded, groups: Sequence[Group]) -> Batch:
    """Lay groups out and prepare their pictures.

    Raises:
        RecordError: a picture is refused.
    """
    each = [_pictures(loaded, group) for group in groups]
    family, config = loaded.family, loaded.model.config
    prompts = [
        family.positions(config, group.prompt_ids, pictures)
        for group, pictures in zip(groups, each, strict=True)
    ]
    layout = prefix.lay_out(groups, prompts)
    names = dict.fromkeys(name for pictures in each for name in pictures)
    joined = {name: _cat([p[name] for p in each if name in p]) for name in names}
    return Batch(layout, family.position_ids(layout.positions), joined)


def _pictures(loaded: Loaded, group: Group) -> dict[str, torch.Tensor]:
    each = [loaded.template.pictures(image, group.key) for image in group.images]
    return {name: _cat([p[name] for p in each]) for name in each[0]} if each else {}


def _cat(parts: list[torch.Tensor]) -> torch.Tensor:
    """One behind the other; a single one is not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)
