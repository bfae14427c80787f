"""Pictures opened with care and prepared once: what a model's vision tower is given.

Letters in shapes: T tiles, C channels, H and W a tile's pixels.
"""

import hashlib
import io
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, overload

import torch
from PIL import Image, UnidentifiedImageError

from chainsight.errors import RecordError

MAX_PIXELS = 80_000_000
"""Larger pictures are refused before they are decoded (240 MB as RGB)."""
CACHE_BYTES = 256 * 2**20
"""Prepared pictures kept for reuse: the rows of one example come close together."""


def open_image(image: bytes, key: str) -> Image.Image:
    """Open an image file without decoding its pixels.

    Raises:
        RecordError: no image, or above MAX_PIXELS; the message names `key`.
    """
    try:
        picture = Image.open(io.BytesIO(image))
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise RecordError(f"{key}: not an image ({error}); prepare the examples again") from None
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise RecordError(
            f"{key}: image of {width} x {height} pixels, at most {MAX_PIXELS} allowed"
        )
    return picture


class Shown(Sequence[bytes]):
    """Pictures in the order in which a prompt shows them: another one, or one of them twice."""

    __slots__ = ("_images", "_order")

    def __init__(self, images: Sequence[bytes], order: Sequence[int]) -> None:
        self._images, self._order = images, tuple(order)

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[bytes, ...]: ...
    def __getitem__(self, index: int | slice) -> bytes | tuple[bytes, ...]:
        if isinstance(index, slice):
            return tuple(self._images[i] for i in self._order[index])
        return self._images[self._order[index]]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


class Pictures:
    """An image processor with the last pictures that it prepared, up to CACHE_BYTES.

    They are known again by the digest of their files, whoever read these.
    """

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        self._kept: OrderedDict[bytes, dict[str, torch.Tensor]] = OrderedDict()
        self._size = 0

    def get(self, image: bytes, key: str) -> dict[str, torch.Tensor]:
        """The tensors of one picture; `pixel_values` is [T, C, H, W] for tiled models.

        Raises:
            RecordError: the picture is refused or damaged; the message names `key`.
        """
        known = hashlib.blake2b(image, digest_size=16).digest()
        if known in self._kept:
            self._kept.move_to_end(known)
            return self._kept[known]
        try:
            rgb = open_image(image, key).convert("RGB")
        except (OSError, SyntaxError, ValueError) as error:
            raise RecordError(f"{key}: image does not decode ({error})") from None
        made = self._processor(images=[rgb], return_tensors="pt")
        tensors = {name: _flat(tensor) for name, tensor in made.items()}
        self._keep(known, tensors)
        return tensors

    def _keep(self, known: bytes, tensors: dict[str, torch.Tensor]) -> None:
        self._kept[known] = tensors
        self._size += _num_bytes(tensors)
        while self._size > CACHE_BYTES:
            self._size -= _num_bytes(self._kept.popitem(last=False)[1])


def _num_bytes(tensors: dict[str, torch.Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    """Drop the batch dimension before tiles: [1, T, C, H, W] to [T, C, H, W]."""
    return tensor[0] if tensor.dim() == 5 else tensor
