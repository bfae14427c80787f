"""The pictures of questions in the page: small, as data URIs, together below a bound."""

import base64
import io
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from PIL import Image

from chainsight.report.choice import spread

MAX_SIDE = 480
"""Longest side of a picture, in pixels."""
TINY = 210
"""Up to this side a picture is kept as it is, and shown larger with sharp pixels."""
MIN_SIDE = 96
NUM_TRIED = 16
QUALITY = 80
"""Of JPEG."""
MAX_COLOURS = 16_384
"""A picture of more is a photograph."""

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Picture:
    """A picture in the page."""

    uri: str
    """Data URI."""
    width: int
    height: int
    """In pixels."""
    pixelated: bool
    """Whether it was small, and is shown larger with sharp pixels."""


def picture(image: bytes, side: int = MAX_SIDE) -> Picture | None:
    """A picture as PNG or JPEG, whichever is smaller; None if it does not decode."""
    try:
        with Image.open(io.BytesIO(image)) as opened:
            tiny = max(opened.size) <= TINY
            opened.draft("RGB", (side, side))  # a large JPEG is decoded small
            shown = opened.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None  # the page shows the text alone
    shown.thumbnail((side, side))
    form, content = min(_forms(shown, tiny).items(), key=lambda one: len(one[1]))
    encoded = base64.b64encode(content).decode("ascii")
    return Picture(f"data:image/{form};base64,{encoded}", *shown.size, tiny)


def _forms(shown: Image.Image, tiny: bool) -> dict[str, bytes]:
    """Tiny ones as PNG alone, photographs as JPEG alone: theirs would be a large PNG, and slow."""
    forms = {}
    if tiny or shown.getcolors(MAX_COLOURS) is not None:
        file = io.BytesIO()
        shown.save(file, "PNG", optimize=True)
        forms["png"] = file.getvalue()
    if not tiny:
        file = io.BytesIO()
        shown.save(file, "JPEG", quality=QUALITY)
        forms["jpeg"] = file.getvalue()
    return forms


def fitted(images: Mapping[Key, bytes], num_bytes: int) -> dict[Key, Picture]:
    """All that decode, at one longest side at which their URIs take at most `num_bytes`."""
    some = spread(list(images), NUM_TRIED)
    side = MAX_SIDE
    if len(some) < len(images):  # a few tell about what size all have
        tried = sum(len(one.uri) for key in some if (one := picture(images[key])))
        side = _smaller(side, tried * len(images) / len(some), num_bytes)
    while True:
        shown = {key: one for key, image in images.items() if (one := picture(image, side))}
        total = sum(len(one.uri) for one in shown.values())
        if total <= num_bytes or side == MIN_SIDE:
            return shown
        side = _smaller(side, total, num_bytes)


def _smaller(side: int, total: float, wanted: int) -> int:
    """The side at which pictures of `total` bytes take what is wanted, and a little less."""
    if total <= wanted:
        return side
    return max(MIN_SIDE, int(0.94 * side * math.sqrt(wanted / total)))
