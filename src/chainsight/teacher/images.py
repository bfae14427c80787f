"""Images as they are sent: the source's own bytes if they fit, else a smaller JPEG.

The paper caps the longest side at 1024 pixels (Lanczos, JPEG). OpenAI's models that count tiles
shrink the shortest side to 768 themselves: so do we, for the same tokens in fewer bytes. A PNG or
JPEG that already fits goes out untouched, and with it its metadata.

An image is encoded when it is sent. Several questions on one picture share the result.
"""

import base64
import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image, ImageOps

from chainsight.config import DistillSection
from chainsight.errors import RecordError
from chainsight.inventory.pricelist import listed
from chainsight.inventory.tokens import Tiles, fitted

JPEG_QUALITY = 90  # ours; not published
TILED_SHORT_SIDE = 768
"""Pixels; OpenAI's vision guide, of models that count tiles."""
SENT_AS_IS = {"PNG": "image/png", "JPEG": "image/jpeg"}


@dataclass(frozen=True)
class Plan:
    """How an image will be sent: untouched, or as a JPEG of this size."""

    mime: str
    size: tuple[int, int] | None
    """Width and height of the JPEG in pixels; None: the bytes as they are."""

    def describe(self) -> str:
        """Part of the request's identity: another plan sends other bytes."""
        if self.size is None:
            return "as is"
        return f"jpeg {self.size[0]}x{self.size[1]} lanczos q{JPEG_QUALITY}"


Key = tuple[bytes, Plan]
"""An image's sha256, and how it is sent."""


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise RecordError(f"the image cannot be read ({error})") from None


def plan(image: bytes, max_side: float, max_short_side: int | None = None) -> Plan:
    """Decide from the image's header alone, without decoding it; bounds in pixels.

    Raises:
        RecordError: not an image.
    """
    with _readable(), Image.open(io.BytesIO(image)) as opened:
        width, height = opened.size
        mime = SENT_AS_IS.get(opened.format or "")
    longest = max(width, height)
    if max_short_side:
        max_side = min(max_side, max_short_side * longest / min(width, height))
    if mime and longest <= max_side:
        return Plan(mime, None)
    return Plan("image/jpeg", fitted(width, height, max_side))


def planned(image: bytes, config: DistillSection) -> Plan:
    """How an image is sent to this teacher.

    Raises:
        RecordError: not an image.
    """
    known = listed(config)
    is_tiled = known is not None and isinstance(known.images, Tiles)
    return plan(image, config.image_max_side, TILED_SHORT_SIDE if is_tiled else None)


def data_url(image: bytes, how: Plan) -> str:
    """The image inline, as `plan` has decided.

    Raises:
        RecordError: the image's data are damaged.
    """
    if how.size is None:
        return _url(image, how)
    key = (hashlib.sha256(image).digest(), how)
    return KEPT.get(key, lambda: _url(_encode(image, how.size or (1, 1)), how))


def _url(sent: bytes, how: Plan) -> str:
    return f"data:{how.mime};base64,{base64.b64encode(sent).decode('ascii')}"


class Kept:
    """Encoded images, the ones last used, up to so many bytes. For many threads."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._urls: OrderedDict[Key, str] = OrderedDict()
        self._making: dict[Key, threading.Lock] = {}
        self._lock = threading.Lock()
        self.num_bytes = 0
        self.num_made = 0

    def get(self, key: Key, make: Callable[[], str]) -> str:
        """What is kept as `key`, else made now; two threads don't make the same."""
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            url = self._urls.get(key)
            if url is None:
                url = make()
            with self._lock:
                self._keep(key, url)
                self._making.pop(key, None)
        return url

    def _keep(self, key: Key, url: str) -> None:
        if key not in self._urls:
            self.num_made += 1
            self.num_bytes += len(url)
        self._urls[key] = url
        self._urls.move_to_end(key)
        while self.num_bytes > self._max_bytes:
            self.num_bytes -= len(self._urls.popitem(last=False)[1])


KEPT = Kept(64 * 2**20)
"""For the questions of one picture, which follow one another."""


def _encode(image: bytes, size: tuple[int, int]) -> bytes:
    with _readable(), Image.open(io.BytesIO(image)) as opened:
        picture = _on_white(opened)
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    file = io.BytesIO()
    ImageOps.exif_transpose(picture).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def _on_white(image: Image.Image) -> Image.Image:
    """JPEG has no transparency: a transparent chart is drawn on paper, not on black."""
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    paper = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(paper, layer).convert("RGB")
