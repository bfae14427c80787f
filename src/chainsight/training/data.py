"""Rows and pairs as groups that share their prompt, ready for a forward pass."""

import hashlib
import io
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from PIL import Image

from chainsight.training.plan import Forward, Part
from chainsight.vlm.checkpoint import Loaded
from chainsight.vlm.grouping import Batch, alone, batch, merge
from chainsight.vlm.prefix import IGNORED, Group
from chainsight.vlm.template import Prompt, Row

Share = Literal["picture", "question", "pair", "nothing"]


@dataclass(frozen=True)
class PairRow:
    """Two responses to one prompt."""

    chosen: Row
    rejected: Row

    def __len__(self) -> int:
        return max(len(self.chosen), len(self.rejected))


def sharing(rows: Sequence[Row], share: Share) -> list[Hashable]:
    """What a row must have in common with another one to stand in its unit."""
    if share in ("pair", "nothing"):
        return list(range(len(rows)))
    questions = [row.key.rpartition("/")[0] or row.key for row in rows]  # without the mode
    if share == "question":
        return list(questions)
    pictures: dict[int, tuple[bytes, ...]] = {}
    for row in rows:
        if id(row.images) not in pictures:  # rows of one example have them in common
            pictures[id(row.images)] = picture(row)
    return [
        pictures[id(row.images)] or question for row, question in zip(rows, questions, strict=True)
    ]


def picture(row: Row) -> tuple[bytes, ...]:
    """Tells a row's pictures from others'; they are read for it."""
    return tuple(hashlib.sha256(image).digest() for image in row.images)


def num_learned(row: Row) -> int:
    """How many tokens of a row are learned."""
    return sum(label != IGNORED for label in row.learned)


def tokens(rows: Sequence[Row], part: Part) -> int:
    """About how many tokens a part takes: one prompt and all responses."""
    return len(rows[part[0]].prompt_ids) + sum(len(rows[n].response_ids) for n in part)


def pair_tokens(pairs: Sequence[PairRow], part: Part) -> int:
    """Likewise, of pairs."""
    sides = [side for n in part for side in (pairs[n].chosen, pairs[n].rejected)]
    return tokens(sides, tuple(range(len(sides))))


class Maker:
    """Makes batches of a model's rows."""

    def __init__(self, loaded: Loaded, share: Share, *, pictured: bool) -> None:
        """`pictured`: each batch has a picture, be it a blank one beside the rows."""
        self.loaded, self.share, self.pictured = loaded, share, pictured

    def groups(self, rows: Sequence[Row]) -> list[Group]:
        """The groups of one part, whose branches are `rows` in their order."""
        if self.share == "nothing":
            return [alone(row) for row in rows]
        return merge(rows, self.loaded.template.image_id)

    def batch(self, groups: list[Group]) -> Batch:
        """The groups as a model takes them.

        Ranks must all use the same weights at the same time: weights that are cut up are gathered
        by all, and gradients of which a rank has none would be summed by the others alone. So
        where there are several, a pass without pictures, or without anything, takes a blank one
        along. Nothing of it is learned, and no other token sees it.
        """
        if not groups or (self.pictured and not any(group.images for group in groups)):
            groups = [*groups, self.blank()]
        return batch(self.loaded, groups)

    def blank(self) -> Group:
        """A question about nothing with a blank picture, and no answer."""
        file = io.BytesIO()
        Image.new("RGB", (8, 8), "white").save(file, format="PNG")
        row = self.loaded.template.row(Prompt("blank", "", (file.getvalue(),)))
        return Group(row.prompt_ids, (), row.images, row.key)

    def rows(self, rows: Sequence[Row], forward: Forward) -> Batch:
        """The batch of an SFT forward pass."""
        parts = ([rows[n] for n in part] for part in forward)
        return self.batch([group for part in parts for group in self.groups(part)])

    def pairs(self, pairs: Sequence[PairRow], forward: Forward) -> "PairBatch":
        """The batch of a DPO forward pass; a response that several pairs have stands there once."""
        groups: list[Group] = []
        responses: list[Row] = []
        places: list[tuple[int, int]] = []
        for part in forward:
            found: dict[Hashable, int] = {}
            first = len(responses)
            for pair in (pairs[n] for n in part):
                both = []
                for row in (pair.chosen, pair.rejected):
                    kind = (tuple(row.prompt_ids), tuple(row.response_ids))
                    both.append(found.setdefault(kind, len(responses)))
                    if both[-1] == len(responses):
                        responses.append(row)
                places.append((both[0], both[1]))
            groups += self.groups(responses[first:])
        sides = torch.tensor(places, dtype=torch.long).reshape(-1, 2)
        return PairBatch(self.batch(groups), sides[:, 0], sides[:, 1], tuple(responses))


@dataclass(frozen=True)
class PairBatch:
    """A DPO forward pass; M branches, B pairs."""

    batch: Batch
    chosen: torch.Tensor
    """[B]: the branch that is each pair's chosen response."""
    rejected: torch.Tensor
    responses: tuple[Row, ...]
    """[M]: what the branches are."""

    def to(self, device: torch.device) -> "PairBatch":
        """The same on another device."""
        chosen, rejected = self.chosen.to(device), self.rejected.to(device)
        return replace(self, batch=self.batch.to(device), chosen=chosen, rejected=rejected)
