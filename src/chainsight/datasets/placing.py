"""`<image k>` in a question or a choice: it stands for the k-th image of the example, from 1."""

import re
from collections.abc import Mapping, Sequence
from itertools import count

from chainsight.datasets.sources import BadRowError

NUMBERED = re.compile(r"<image\s*(\d+)\s*>")
BARE = re.compile(r"<image>")


def place(
    texts: Sequence[str], images: Mapping[int, bytes]
) -> tuple[tuple[str, ...], tuple[bytes, ...]]:
    """The images in the order of their numbers, and the texts with the places they now have.

    Where a number is missing (images 1 and 3), the later ones move up, in the texts as well: the
    k-th placeholder shows the k-th image.

    Raises:
        BadRowError: a placeholder stands for no image.
    """
    numbers = sorted(images)
    places = {number: k for k, number in enumerate(numbers, start=1)}

    def moved(found: re.Match[str]) -> str:
        if int(found[1]) not in places:
            raise BadRowError("a placeholder stands for no image")
        return f"<image {places[int(found[1])]}>"

    return tuple(NUMBERED.sub(moved, text) for text in texts), tuple(images[n] for n in numbers)


def number_bare(texts: Sequence[str]) -> tuple[str, ...]:
    """The texts with each bare `<image>` numbered, in the order of reading."""
    numbers = count(1)
    return tuple(BARE.sub(lambda _: f"<image {next(numbers)}>", text) for text in texts)
