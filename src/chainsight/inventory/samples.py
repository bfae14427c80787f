"""Rows to look at: a question with a small picture, and the choice of which rows."""

import base64
import hashlib
import io
from dataclasses import dataclass

from PIL import Image

from chainsight.hygiene.picture import DAMAGE, FORMATS
from chainsight.records import Example, Quarantined

MAX_SIDE = 180  # pixels; with JPEG_QUALITY about 4 kB, so that 200 pictures stay below 2 MB
JPEG_QUALITY = 55
MAX_PIXELS = 50_000_000
"""A larger image is not decoded to be shown."""
MAX_CHARACTERS = 400
"""Of a question or an answer that is shown."""


@dataclass(frozen=True)
class Sample:
    """A row as the report shows it."""

    id: str
    question: str
    choices: tuple[str, ...]
    answer: str
    picture: str
    """The first image, a small JPEG file as data URI; "" if it cannot be read."""
    num_images: int
    detail: str = ""
    """What a quarantined row is like."""


def sample(example: Example) -> Sample:
    """What the report shows of `example`."""
    return Sample(
        id=example.id,
        question=_cut(example.question),
        choices=tuple(_cut(choice) for choice in example.choices or ()),
        answer=_cut(example.references[0]),
        picture=thumbnail(example.images[0]) if example.images else "",
        num_images=len(example.images),
    )


def bare(row: Quarantined) -> Sample:
    """What the report shows of a row that never became an example."""
    return Sample(row.id, "", (), "", "", 0, row.detail)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"


def thumbnail(content: bytes) -> str:
    """A small JPEG of an image file as data URI, on white; "" if it cannot be read."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                return ""
            image.draft("RGB", (MAX_SIDE, MAX_SIDE))
            layer = image.convert("RGBA")
    except (*DAMAGE, Image.DecompressionBombError):
        return ""
    layer.thumbnail((MAX_SIDE, MAX_SIDE))
    paper = Image.new("RGBA", layer.size, "white")
    file = io.BytesIO()
    Image.alpha_composite(paper, layer).convert("RGB").save(file, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


class Choice:
    """The few of many rows whose keys have the smallest digests.

    So it is a random choice, yet the same one whatever the order of the rows is.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._chosen: dict[str, Sample] = {}
        """By digest of the key."""

    def wants(self, key: str) -> bool:
        """Whether the row is among the chosen ones so far, and not yet there."""
        digest = _digest(key)
        if digest in self._chosen:
            return False
        return len(self._chosen) < self._most or digest < max(self._chosen)

    def add(self, key: str, chosen: Sample) -> None:
        """Take a row that is wanted, in place of another if need be."""
        self._chosen[_digest(key)] = chosen
        if len(self._chosen) > self._most:
            del self._chosen[max(self._chosen)]

    @property
    def samples(self) -> list[Sample]:
        """The chosen rows, by id."""
        return sorted(self._chosen.values(), key=lambda one: one.id)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
