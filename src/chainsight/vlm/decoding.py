"""Cache and attention of decoding: a prompt is kept once and read once for all its candidates.

A group's prompt part is computed once. Each row, a candidate of one of its questions, attends to
that part and to what is its own: what it wrote, and before that the rest of its question, where
several questions share a picture. The two are attended to apart and joined by the log-sum-exps of
their scores, which is the softmax over both (as Hydragen does, arXiv 2402.05099).

Letters in shapes: S tokens of a packed row, R rows, P tokens of a prompt part, T tokens of a row's
own, C room for them, N key heads, Q query heads for each of them, D their size, 2: keys and values.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.cache_utils import Cache
from transformers.masking_utils import sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from chainsight.vlm import fused, prefix
from chainsight.vlm.fused import Part

ATTENTION = "chainsight_decoding"
"""Name of the attention in transformers' registry. Without a cache of ours it is `prefix`'s."""

ROOM = 32
"""Tokens that a row has room for at first; doubled when it is full, up to GROWTH more."""
GROWTH = 128
RUN_TOKENS = 8192
"""Prompt parts of equal size are read in one product up to so many tokens together."""
FEW = 4
"""Rows that a group counts as in such a product, if it has fewer: reading keys is what costs."""


@dataclass(frozen=True)
class Run:
    """Neighbouring groups whose prompt parts are of equal size, G of them."""

    tokens: int
    """Of all their prompt parts."""
    rows: torch.Tensor
    """[G, M]: the rows of each; the last one again where a group has fewer than M."""
    kept: torch.Tensor
    """Which of these, flat, are the rows in their order."""


def runs(sizes: Sequence[int], counts: Sequence[int], device: torch.device) -> list[Run]:
    """The runs of groups of `sizes` tokens and `counts` rows each."""
    found, first, alike = [], 0, []
    for size, count in zip(sizes, counts, strict=True):
        alike.append((size, max(FEW, 1 << (count - 1).bit_length())))
    numbered = zip(alike, counts, strict=True)
    for (size, _), same in groupby(numbered, key=lambda one: one[0]):
        several = [count for _, count in same]
        most = max(1, RUN_TOKENS // size)
        for start in range(0, len(several), most):
            part = several[start : start + most]
            found.append(_run(size, part, first, device))
            first += sum(part)
    return found


def _run(size: int, counts: Sequence[int], first: int, device: torch.device) -> Run:
    rows: list[list[int]] = []
    kept: list[int] = []
    longest = max(counts)
    for number, count in enumerate(counts):
        own = range(first, first + count)
        rows.append([own[min(place, count - 1)] for place in range(longest)])
        kept += range(number * longest, number * longest + count)
        first += count
    return Run(
        size * len(counts), torch.tensor(rows, device=device), torch.tensor(kept, device=device)
    )


class Captured(Cache):
    """Takes the keys and values of a pass over one packed row."""

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.states: list[torch.Tensor] = []
        """By layer, [2, N, S, D]."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keep what a layer made, [1, N, S, D] each, and give it back as it is."""
        assert layer_idx == len(self.states), f"layer {layer_idx} came as number {len(self.states)}"
        self.states.append(torch.cat([key_states, value_states]))
        return key_states, value_states


class Shared(Cache):
    """Groups' prompt parts, each once, and for each row a room of its own, which grows.

    The rows of a group lie together, in the order of the groups.
    """

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.sizes: list[int] = []
        """P of each group."""
        self.counts: list[int] = []
        """How many rows a group has."""
        self.lengths: list[int] = []
        """How many tokens a row has of its own."""
        self.prompts: list[torch.Tensor] = []
        """By layer: the prompt parts one behind the other, [2, sum of N * P, D]."""
        self.rooms: list[torch.Tensor] = []
        """By layer, [2, R, N, C, D]; zeros where nothing is written yet."""
        self._capacity = ROOM
        self._places = torch.empty(0)
        self._mask: torch.Tensor | None = None
        self._plan: fused.Plan | None = None
        self._runs: list[Run] | None = None

    @property
    def num_bytes(self) -> int:
        """What the cache takes, empty room included."""
        return sum(tensor.nbytes for tensor in (*self.prompts, *self.rooms))

    def join(self, captured: Captured, prompt: slice, tails: Sequence[slice]) -> None:
        """Add a group of a packed pass, as `join_all`."""
        self.join_all(captured, [prompt], [tails])

    def join_all(
        self, captured: Captured, prompts: Sequence[slice], tails: Sequence[Sequence[slice]]
    ) -> None:
        """Add the groups of a packed pass.

        Args:
            captured: what the pass made.
            prompts: where each group's prompt part stood.
            tails: for each of its rows, where the rest of its question stood (empty: nowhere).
        """
        every = [tail for of_group in tails for tail in of_group]
        lengths = [tail.stop - tail.start for tail in every]
        self._require_room(max(lengths))
        for layer, states in enumerate(captured.states):
            parts = [states[:, :, prompt].flatten(1, 2) for prompt in prompts]
            room = self._new_room(layer, states, every)
            if layer == len(self.prompts):
                self.prompts.append(torch.cat(parts, 1))
                self.rooms.append(room)
            else:
                self.prompts[layer] = torch.cat([self.prompts[layer], *parts], 1)
                self.rooms[layer] = torch.cat([self.rooms[layer], room], 1)
        self.sizes += [prompt.stop - prompt.start for prompt in prompts]
        self.counts += map(len, tails)
        self.lengths += lengths

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all other rows (`rows` ascend), and the groups that have none left."""
        chosen = torch.tensor(rows, dtype=torch.long, device=self.rooms[0].device)
        counts, stop = [], 0
        for count in self.counts:
            start, stop = stop, stop + count
            counts.append(sum(start <= row < stop for row in rows))
        for layer, (room, parts) in enumerate(zip(self.rooms, self.prompts, strict=True)):
            self.rooms[layer] = room.index_select(1, chosen)
            if not all(counts):
                found = torch.split(parts, [size * room.shape[2] for size in self.sizes], 1)
                kept = [part for part, count in zip(found, counts, strict=True) if count]
                self.prompts[layer] = torch.cat(kept, 1) if kept else parts[:, :0]
        self.sizes = [size for size, count in zip(self.sizes, counts, strict=True) if count]
        self.counts = [count for count in counts if count]
        self.lengths = [self.lengths[row] for row in rows]

    def extend(self) -> None:
        """Make ready for one more token of each row, before the pass that computes it."""
        device, longest = self.rooms[0].device, max(self.lengths)
        self._require_room(longest + 1)
        self._places = torch.tensor(self.lengths, device=device)
        self._mask = None
        if min(self.lengths) < longest:
            every = torch.arange(longest + 1, device=device)
            self._mask = (every <= self._places[:, None])[:, None, None]
        self.lengths = [length + 1 for length in self.lengths]
        self._plan = self._runs = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write a token of each row, [R, N, 1, D]; gives what the rows have, [R, N, T, D]."""
        room = self.rooms[layer_idx]
        rows = torch.arange(len(key_states), device=room.device)
        room[0][rows, :, self._places] = key_states[:, :, 0]
        room[1][rows, :, self._places] = value_states[:, :, 0]
        own = room[:, :, :, : max(self.lengths)]
        return own[0], own[1]

    def attend(
        self, query: torch.Tensor, own: tuple[torch.Tensor, torch.Tensor], layer: int, scale: float
    ) -> torch.Tensor:
        """Attention of one token of each row, [R, N, Q, D] to the same."""
        if fused.usable(query):
            parts = fused.parts(
                query, self.prompts[layer], self.rooms[layer], self._planned(query), scale
            )
        else:
            parts = self._to_prompts(query, layer, scale), attend(query, *own, scale, self._mask)
        return joined(*parts).to(query.dtype)

    def _planned(self, query: torch.Tensor) -> fused.Plan:
        if self._plan is None:
            self._plan = fused.plan(
                self.counts,
                self.sizes,
                self.lengths,
                heads=query.shape[1],
                shared=query.shape[2],
                capacity=self._capacity,
                device=query.device,
            )
        return self._plan

    def _to_prompts(self, query: torch.Tensor, layer: int, scale: float) -> Part:
        """The queries of a group's rows become rows of one product with its keys."""
        heads, size = query.shape[1], query.shape[3]
        if self._runs is None:
            self._runs = runs(self.sizes, self.counts, query.device)
        found: list[Part] = []
        lengths = [heads * run.tokens for run in self._runs]
        parts = torch.split(self.prompts[layer], lengths, 1)
        for run, part in zip(self._runs, parts, strict=True):
            folded = query[run.rows].transpose(1, 2).flatten(2, 3)  # [G, N, M * Q, D]
            keys, values = part.reshape(2, len(run.rows), heads, -1, size)
            out, total = attend(folded, keys, values, scale)
            found.append((_unfolded(out, run), _unfolded(total, run)))
        return torch.cat([out for out, _ in found]), torch.cat([total for _, total in found])

    def _new_room(self, layer: int, states: torch.Tensor, tails: Sequence[slice]) -> torch.Tensor:
        size = self.rooms[layer].shape[3] if layer < len(self.rooms) else self._capacity
        room = states.new_zeros(2, len(tails), states.shape[1], size, states.shape[3])
        for row, tail in enumerate(tails):
            room[:, row, :, : tail.stop - tail.start] = states[:, :, tail]
        return room

    def _require_room(self, tokens: int) -> None:
        while self._capacity < tokens:
            self._capacity += min(self._capacity, GROWTH)
        for layer, room in enumerate(self.rooms):
            missing = self._capacity - room.shape[3]
            if missing:
                self.rooms[layer] = torch.nn.functional.pad(room, (0, 0, 0, missing))


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    mask: torch.Tensor | None = None,
) -> Part:
    """Attention in float32: [..., M, D] to keys [..., K, D]; `mask` [..., M, K] tells which."""
    scores = (query.float() * scale) @ key.float().transpose(-1, -2)
    if mask is not None:
        scores.masked_fill_(~mask, -torch.inf)
    highest = scores.amax(-1, keepdim=True)
    weights = scores.sub_(highest).exp_()
    total = weights.sum(-1, keepdim=True)
    return weights @ value.float() / total, highest + total.log()


def _unfolded(states: torch.Tensor, run: Run) -> torch.Tensor:
    """[G, N, M * Q, ...] to those of its rows, [R, N, Q, ...]."""
    groups, heads, _, size = states.shape
    apart = states.reshape(groups, heads, run.rows.shape[1], -1, size).transpose(1, 2)
    return apart.flatten(0, 1)[run.kept]


def joined(one: Part, other: Part) -> torch.Tensor:
    """Attention to the keys of both parts, exactly, in float32."""
    share = (one[1] - other[1]).sigmoid()
    return one[0].float() * share + other[0].float() * (1 - share)


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    shared: Shared | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention interface; with `shared`, [R, H, 1, D] to [R, 1, H, D]."""
    if shared is None:
        plain = ALL_ATTENTION_FUNCTIONS[prefix.ATTENTION]
        found: tuple[torch.Tensor, None] = plain(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
        return found
    rows, heads, _, size = query.shape
    folded = query.reshape(rows, key.shape[1], -1, size)
    scale = size**-0.5 if scaling is None else scaling
    layer: Any = module.layer_idx
    written = shared.attend(folded, (key, value), layer, scale)
    return written.reshape(rows, 1, heads, size), None


AttentionInterface.register(ATTENTION, attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


@contextmanager
def attending(language_model: Any) -> Iterator[None]:
    """Have a decoder stack attend by ATTENTION meanwhile, whatever it was loaded with."""
    config = language_model.config
    before = config._attn_implementation
    config._attn_implementation = ATTENTION
    try:
        yield
    finally:
        config._attn_implementation = before


def forward(shared: Shared, input_ids: torch.Tensor, position_ids: torch.Tensor) -> dict[str, Any]:
    """The arguments of a pass that computes one more token, [R, 1], of each row."""
    shared.extend()
    return {
        "input_ids": input_ids,
        "position_ids": position_ids,
        "attention_mask": torch.ones(1, 1, 1, 1, device=input_ids.device),  # 4D: taken as it is
        "past_key_values": shared,
        "shared": shared,
        "use_cache": True,
    }
