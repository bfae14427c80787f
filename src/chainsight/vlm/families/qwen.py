"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL: pictures of any size, placed in height and width.

A token stands at three numbers: time, height, width (arXiv 2409.12191, 2.1). Text has the same in
all three. A picture of h x w tokens keeps its time and spreads over h and w from there; what
follows it goes on after the larger of the two, as transformers' `get_rope_index` has it. The
model is always given these positions: its own it would keep (`rope_deltas`) for later calls.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import torch

from chainsight.vlm.families.base import Family


class Qwen(Family):
    """A tower that takes patches, its merger, a language model with multimodal positions."""

    axes = 3
    vision = re.compile(r"(^|\.)visual\.(?!merger\.|deepstack_merger_list\.)")
    projector = re.compile(r"(^|\.)visual\.(merger|deepstack_merger_list)\.")

    def positions(
        self, config: Any, prompt_ids: Sequence[int], pictures: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """[3, P]; pictures' sizes are in `image_grid_thw`, in patches."""
        grids = iter(_merged(config, pictures))
        parts, start = [], 0
        for of_picture, run in groupby(prompt_ids, lambda i: i == config.image_token_id):
            length = sum(1 for _ in run)
            while length > 0:
                part = _picture(next(grids)) if of_picture else _text(length)
                parts.append(start + part)
                start += int(part.max()) + 1
                length -= part.shape[1]
        return torch.cat(parts, 1)


def _merged(config: Any, pictures: Mapping[str, torch.Tensor]) -> Iterator[tuple[int, int]]:
    """Each picture's height and width in tokens."""
    side = config.vision_config.spatial_merge_size
    for _, height, width in pictures["image_grid_thw"].tolist() if pictures else ():
        yield height // side, width // side


def _text(length: int) -> torch.Tensor:
    return torch.arange(length).expand(3, -1)


def _picture(size: tuple[int, int]) -> torch.Tensor:
    height, width = size
    place = torch.arange(height * width)
    return torch.stack([torch.zeros_like(place), place // width, place % width])


QWEN = Qwen()
