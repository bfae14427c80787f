"""What the trainer is fed with: steps by their number, batches made ahead of their use."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import torch
from datasets import Dataset  # type: ignore[import-untyped]


class Movable(Protocol):
    """What a forward pass takes."""

    def to(self: "Inputs", device: torch.device) -> "Inputs":
        """The same on another device."""
        ...


Inputs = TypeVar("Inputs", bound=Movable)
Item = TypeVar("Item")
Made = TypeVar("Made")


def ahead(make: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """What `make` makes of each item; the next one in a thread while the last one is used."""
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(1) as pool:
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) > 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def numbered(steps: Sequence[Any]) -> Dataset:
    """The trainer's data: the steps' numbers."""
    return Dataset.from_dict({"step": range(len(steps))})


def only(items: list[Any]) -> Any:
    """The trainer's collator: a batch is one step's number."""
    return items[0]["step"]
