"""Which rows an optimizer step learns, and in which forward passes: pure, and equal on all ranks.

Rows that have their prompt in common are learned on one computation of it. Such units are drawn
as a whole, laid one behind the other and cut into optimizer steps of an exact number of rows; so
a step is made of fewer prompts than rows, and its gradient is that of the same rows apart. Within
a step units are never cut: each goes to one forward pass.
"""

import heapq
import itertools
import math
import random
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

MAX_ROWS = 8
"""Most rows of a unit: beyond, the shared prompt saves little, and one picture fills a step."""

Part = tuple[int, ...]
"""Numbers of rows (or pairs) that share one computation of their prompt: a unit, or a cut of it."""
Forward = tuple[Part, ...]
"""What stands in one packed row of tokens; () is a ghost: a pass in which nothing is learned."""


def units(
    keys: Iterable[Hashable], tokens: Callable[[Part], int] = len, limit: float = math.inf
) -> list[Part]:
    """Numbers of rows whose keys are equal, in the order of the rows.

    A unit has MAX_ROWS rows at most, and more than one only if `tokens` of it are within `limit`:
    it is computed in one forward pass, whatever its length.
    """
    found: dict[Hashable, list[Part]] = {}
    for number, key in enumerate(keys):
        made = found.setdefault(key, [()])
        more = (*made[-1], number)
        if len(more) == 1 or (len(more) <= MAX_ROWS and tokens(more) <= limit):
            made[-1] = more
        else:
            made.append((number,))
    return [unit for made in found.values() for unit in made]


def steps(
    drawn: Sequence[Part], *, seed: int, epochs: float, batch_size: int, max_steps: int | None
) -> list[tuple[Part, ...]]:
    """The parts of each optimizer step of a whole training, `batch_size` rows each but the last.

    Each epoch is its own seeded permutation of the units; only a step's border cuts one.
    """
    left = math.ceil(sum(map(len, drawn)) * epochs)
    left = min(left, (max_steps or left) * batch_size)
    made: list[list[Part]] = []
    room = 0
    for unit in _laid(drawn, seed):
        part = unit
        while part and left:
            if not room:
                made.append([])
                room = batch_size
            taken, part = part[: min(room, left)], part[min(room, left) :]
            made[-1].append(taken)
            room -= len(taken)
            left -= len(taken)
        if not left:
            break
    return [tuple(step) for step in made]


def _laid(drawn: Sequence[Part], seed: int) -> Iterator[Part]:
    for epoch in itertools.count():
        permutation = list(drawn)
        random.Random(f"{seed}/{epoch}").shuffle(permutation)  # noqa: S311
        yield from permutation


def deal(
    parts: Sequence[Part], tokens: Callable[[Part], int], *, size: int, num_ranks: int
) -> list[Forward]:
    """A step's forward passes, as many for each rank: rank r runs those at r, r + num_ranks, ...

    About `size` rows each, and about as many tokens: the longest part goes first, into the pass
    that is the shortest so far. Long passes come first, so that ranks at the same round run
    equally long ones. Where units are too few for all ranks the rest are ghosts.
    """
    rounds = math.ceil(sum(map(len, parts)) / size / num_ranks)
    passes: list[tuple[int, int, list[Part]]] = [
        (0, number, []) for number in range(min(rounds * num_ranks, len(parts)))
    ]
    for part in sorted(parts, key=lambda part: (-tokens(part), part)):
        load, number, content = heapq.heappop(passes)
        heapq.heappush(passes, (load + tokens(part), number, [*content, part]))
    passes.sort(key=lambda one: (-one[0], one[1]))
    forwards = [tuple(content) for _, _, content in passes]
    return forwards + [()] * (-len(forwards) % num_ranks)
