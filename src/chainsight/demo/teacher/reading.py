"""A chat completion request as the scripted teacher reads it, and what it counts."""

import base64
import io
import json
import math
from dataclasses import dataclass
from typing import Any

from PIL import Image

from chainsight.demo.teacher.wire import Problem

MODEL = "scripted"
TOKENS_PER_WORD = 1.3
LONG_SIDE, SHORT_SIDE, TILE_SIDE = 2048, 768, 512
IMAGE_TOKENS = {"gpt-4o-mini": (2833, 5667), "": (85, 170)}
"""For the whole and for each tile, by how the model's name begins (OpenAI's vision guide)."""
MOST_CHOICES = 16
MALFORMED = (
    ValueError, LookupError, TypeError, AttributeError,
    OSError, SyntaxError, Image.DecompressionBombError,
)  # fmt: skip
"""What reading a request raises that is none."""


@dataclass(frozen=True)
class Asked:
    """A chat completion request, read."""

    model: str
    prompt: str
    """Text of the last user turn."""
    images: tuple[bytes, ...]
    prompt_tokens: int
    max_tokens: int | None
    choices: int
    temperature: float
    seed: int | None


def parse(body: bytes, headers: dict[str, str] | None = None) -> Asked:
    """Read a request's bytes.

    Raises:
        Problem: HTTP 400 with `headers`, if they are none.
    """
    try:
        return read_request(json.loads(body))
    except MALFORMED as error:
        message = f"not a chat completion request: {error!r}"
        raise Problem(400, message, headers=headers) from None


def read_request(request: Any) -> Asked:
    """What a request's JSON asks. Raises one of `MALFORMED` if it is none."""
    model = str(request.get("model", MODEL))
    content = [turn for turn in request["messages"] if turn["role"] == "user"][-1]["content"]
    text = "\n".join(part["text"] for part in content if part["type"] == "text")
    shown = [part["image_url"] for part in content if part["type"] == "image_url"]
    images = [_image(image["url"]) for image in shown or [{"url": ""}]]
    details = [image.get("detail", "auto") for image in shown]
    choices = int(request.get("n") or 1)
    if not 1 <= choices <= MOST_CHOICES:
        raise ValueError(f"n must be 1 to {MOST_CHOICES}")
    return Asked(
        model,
        text,
        tuple(data for data, _ in images),
        tokens(text)
        + sum(
            image_tokens(*size, model=model, detail=detail)
            for (_, size), detail in zip(images, details, strict=True)
        ),
        request.get("max_completion_tokens") or request.get("max_tokens"),
        choices,
        float(request.get("temperature") or 0.0),
        request.get("seed"),
    )


def _image(url: str) -> tuple[bytes, tuple[int, int]]:
    head, _, data = url.partition(";base64,")
    if not head.startswith("data:image/"):
        raise ValueError("expected an image as a data URL")
    image = base64.b64decode(data, validate=True)
    with Image.open(io.BytesIO(image)) as opened:
        size = opened.size
        opened.verify()
    return image, size


def image_tokens(width: int, height: int, *, model: str = "", detail: str = "auto") -> int:
    """Tokens that OpenAI counts for an image in high detail (its published tile formula).

    The image is fitted into 2048 x 2048, then its short side to 768, never enlarged; each
    512 x 512 tile counts 170, and 85 stand for the whole: 765 for 1024 x 1024. Detail `low` is
    the whole alone.
    """
    whole, tile = next(both for name, both in IMAGE_TOKENS.items() if model.startswith(name))
    if detail == "low":
        return whole
    scale = min(1.0, LONG_SIDE / max(width, height))
    scale *= min(1.0, SHORT_SIDE / (min(width, height) * scale))
    tiles = math.ceil(width * scale / TILE_SIDE) * math.ceil(height * scale / TILE_SIDE)
    return whole + tile * tiles


def tokens(text: str) -> int:
    """A count that anybody can repeat: 1.3 a word."""
    return round(len(text.split()) * TOKENS_PER_WORD)
