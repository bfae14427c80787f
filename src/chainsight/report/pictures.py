"""The pictures of questions in the page: small, as data URIs, together below a bound."""

import base64
import io
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from PIL import Image

MAX_SIDE = 480
"""Longest side of a picture, in pixels."""
TINY = 210
"""Up to this side a picture is kept as it is, and shown larger with sharp pixels."""
MIN_SIDE = 96
QUALITY = 80
"""Of JPEG."""

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
    forms = {"png": io.BytesIO(), "jpeg": io.BytesIO()}
    shown.save(forms["png"], "PNG", optimize=True)
    shown.save(forms["jpeg"], "JPEG", quality=QUALITY)
    form = "png" if tiny or forms["png"].tell() <= forms["jpeg"].tell() else "jpeg"
    encoded = base64.b64encode(forms[form].getvalue()).decode("ascii")
    return Picture(f"data:image/{form};base64,{encoded}", *shown.size, tiny)


def fitted(images: Mapping[Key, bytes], num_bytes: int) -> dict[Key, Picture]:
    """All that decode, at one longest side at which their URIs take at most `num_bytes`."""
    side = MAX_SIDE
    while True:
        shown = {key: one for key, image in images.items() if (one := picture(image, side))}
        total = sum(len(one.uri) for one in shown.values())
        if total <= num_bytes or side == MIN_SIDE:
            return shown
        side = max(MIN_SIDE, int(0.96 * side * math.sqrt(num_bytes / total)))
