"""Which rows a page of bounded size shows: a fair share of each kind, from all over it."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


def spread(items: Sequence[T], count: int) -> list[T]:
    """`count` of `items` at equal distances; all if there are fewer."""
    if len(items) <= count:
        return list(items)
    return [items[k * len(items) // count] for k in range(count)]


def level(sizes: Sequence[int], total: int) -> int:
    """The largest bound with which `min(size, bound)` over all sizes is at most `total`."""
    left, bound = total, 0
    for place, size in enumerate(sorted(sizes)):
        bound = left // (len(sizes) - place)
        if size > bound:
            return bound
        left -= size
    return max(sizes, default=0)


def shares(sizes: Mapping[T, int], total: int) -> dict[T, int]:
    """How many of each kind: the same of all, more of the large ones where small ones have not."""
    bound = level(list(sizes.values()), total)
    found = {kind: min(size, bound) for kind, size in sizes.items()}
    spare = total - sum(found.values())
    for kind, size in sizes.items():
        if spare > 0 and found[kind] < size:
            found[kind] += 1
            spare -= 1
    return found
