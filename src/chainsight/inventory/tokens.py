"""How many tokens a row takes, per model: image tokens by each model's exact rule, text estimated.

LLaVA-NeXT: arXiv 2310.03744 and its successor's "anyres" as transformers' LlavaNextProcessor counts
it (`test_tokens.py` holds both students against the real processors). All functions take the width
and the height of the image file in pixels.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

CHARACTERS_PER_TOKEN = 4
"""Of English, roughly, for any of the tokenizers; digits and other scripts take more tokens."""
TOKENS_PER_WORD = 1.4
"""As above: five or six characters a word, with its space."""

# --- sizes -----------------------------------------------------------------------------------


def fitted(width: int, height: int, max_side: float) -> tuple[int, int]:
    """The size after shrinking the longest side to `max_side`; a smaller image stays as it is."""
    scale = min(1.0, max_side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


# --- students --------------------------------------------------------------------------------

TILE, PATCH = 336, 14  # pixels; CLIP ViT-L/14-336 sees a tile
GRIDS = ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))
"""Tiles down and across, in the order of `image_grid_pinpoints`: of equal fits the first counts."""


@lru_cache(maxsize=65536)
def llava_next(
    width: int,
    height: int,
    tile: int = TILE,
    patch: int = PATCH,
    grids: tuple[tuple[int, int], ...] = GRIDS,
) -> int:
    """LLaVA-NeXT: an overview of 24 x 24, and the tiles without their padding, a newline per row.

    The published checkpoints' `tile` and `patch`, in pixels, and `grids` if none are given.
    """
    down, across = grid(width, height, tile, grids)
    side = tile // patch
    rows, columns = down * side, across * side
    if width / height > columns / rows:
        rows -= _padding(rows, height * (columns / width))
    else:
        columns -= _padding(columns, width * (rows / height))
    return side**2 + rows * columns + rows


def grid(
    width: int, height: int, tile: int = TILE, grids: tuple[tuple[int, int], ...] = GRIDS
) -> tuple[int, int]:
    """Tiles down and across that LLaVA-NeXT cuts an image into."""
    return max(grids, key=lambda one: _fit(width, height, one[0] * tile, one[1] * tile))


def _fit(width: int, height: int, tall: int, wide: int) -> tuple[int, int]:
    """The pixels that a grid keeps of an image; and, negative, those that it leaves empty."""
    scale = min(wide / width, tall / height)
    kept = min(int(width * scale) * int(height * scale), width * height)
    return kept, kept - tall * wide


def _padding(available: int, used: float) -> int:
    """Patches that are cut away, as many on both sides."""
    return (available - int(round(used, 7))) // 2 * 2


QWEN_MIN_TOKENS, QWEN_MAX_TOKENS = 4, 16384  # of the published Qwen2.5-VL and Qwen3-VL


@lru_cache(maxsize=65536)
def qwen(width: int, height: int, merged: int) -> int:
    """One token per `merged` x `merged` pixels, after rounding and keeping within bounds."""
    fewest, most = QWEN_MIN_TOKENS * merged**2, QWEN_MAX_TOKENS * merged**2  # pixels
    sides = [round(side / merged) for side in (height, width)]
    pixels = sides[0] * sides[1] * merged**2
    if pixels > most:
        beta = math.sqrt((height * width) / most)
        sides = [max(1, math.floor(side / beta / merged)) for side in (height, width)]
    elif pixels < fewest:
        beta = math.sqrt(fewest / (height * width))
        sides = [math.ceil(side * beta / merged) for side in (height, width)]
    return sides[0] * sides[1]


def qwen2_5_vl(width: int, height: int) -> int:
    """Qwen2.5-VL: 2 x 2 patches of 14 pixels are a token."""
    return qwen(width, height, 28)


STUDENTS: Mapping[str, Callable[[int, int], int]] = {
    "LLaVA-NeXT (336 px tiles)": llava_next,
    "Qwen2.5-VL": qwen2_5_vl,
}

# --- teachers --------------------------------------------------------------------------------
#
# OpenAI's guide "Images and vision", section "Calculating costs", as it was in August 2025; of an
# image as it is sent.


@dataclass(frozen=True)
class Tiles:
    """So many tokens for an image, and for each of its tiles; at low detail the first alone."""

    base: int
    tile: int

    def __call__(self, width: int, height: int, *, low: bool = False) -> int:
        return self.base if low else self.base + self.tile * _gpt_tiles(width, height)


@dataclass(frozen=True)
class Patches:
    """So many tokens for each of an image's patches, at any detail."""

    multiplier: float

    def __call__(self, width: int, height: int, *, low: bool = False) -> int:  # noqa: ARG002
        return math.ceil(round(_gpt_patches(width, height) * self.multiplier, 6))


gpt_4o, gpt_4o_mini = Tiles(85, 170), Tiles(2833, 5667)


@lru_cache(maxsize=65536)
def _gpt_tiles(width: int, height: int) -> int:
    """Tiles of 512 pixels, after shrinking into 2048 x 2048, then the shortest side to 768."""
    scale = min(1.0, 2048 / max(width, height))
    scale *= min(1.0, 768 / (min(width, height) * scale))
    return _count(width * scale, 512) * _count(height * scale, 512)


MOST_PATCHES = 1536


@lru_cache(maxsize=65536)
def _gpt_patches(width: int, height: int) -> int:
    """Patches of 32 pixels; an image of too many is shrunk, to a whole number along one side."""
    if _count(width, 32) * _count(height, 32) > MOST_PATCHES:
        scale = math.sqrt(32**2 * MOST_PATCHES / (width * height))
        sides = width * scale / 32, height * scale / 32
        scale *= min(math.floor(side) / side for side in sides)
        return min(MOST_PATCHES, _count(width * scale, 32) * _count(height * scale, 32))
    return _count(width, 32) * _count(height, 32)


def _count(side: float, pixels: int) -> int:
    return math.ceil(round(side / pixels, 9))
