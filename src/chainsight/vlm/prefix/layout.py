"""Groups as one row of tokens: which token stands where, sees what, and is predicted from where.

A group is a prompt, pictures included, and m branches that go on after it, each alone. Groups
stand one behind the other in a single row of tokens without padding:

    [prompt 1 | branch | branch | ... | prompt 2 | branch | ...]

A token sees its group's prompt and its own branch up to itself; positions restart at the end of
the prompt for each branch. So each response has the very log-probabilities, and gives the very
gradients, that it has in a row of its own (Wang & Hegde, arXiv 2410.20305, without their copy of
the prompt's last token: the hidden state there is read once for each branch).

Letters in shapes: S tokens of all groups, A position axes (1, or 3 for multimodal rotary
positions), K learned tokens, M branches of all groups.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import accumulate, count
from typing import Any, TypeVar

import numpy as np
import torch

IGNORED = -100
"""Label of a token that is not learned (torch's cross entropy skips it)."""

T = TypeVar("T")


@dataclass(frozen=True)
class Branch:
    """What follows a prompt: the rest of a question, its answer, or both, or more turns."""

    ids: Sequence[int]
    labels: Sequence[int]
    """As many: the id itself where it is learned, else IGNORED."""


@dataclass(frozen=True)
class Group:
    """A prompt, and what is computed after it."""

    prompt_ids: Sequence[int]
    """With every image placeholder of the group, each repeated once per image token."""
    branches: tuple[Branch, ...]
    images: Sequence[bytes] = ()
    """The image files, in the order of their tokens."""
    key: str = ""
    """Stands in messages."""

    def __len__(self) -> int:
        return len(self.prompt_ids) + sum(len(branch.ids) for branch in self.branches)


@dataclass(frozen=True)
class Span:
    """Where a group stands in the row."""

    start: int
    prompt_stop: int
    stops: tuple[int, ...]
    """The end of each branch; it begins where the one before ends."""

    @property
    def stop(self) -> int:
        """The end of the group."""
        return self.stops[-1] if self.stops else self.prompt_stop

    @property
    def reach(self) -> int:
        """The most tokens that one token sees."""
        starts = (self.prompt_stop, *self.stops)
        longest = max(
            (stop - start for start, stop in zip(starts, self.stops, strict=False)), default=0
        )
        return self.prompt_stop - self.start + longest


@dataclass(frozen=True, eq=False)
class Layout:
    """Groups as one row. Made by `lay_out`; goes to the attention as the argument `layout`."""

    input_ids: torch.Tensor
    """[1, S]."""
    positions: torch.Tensor
    """[A, 1, S]."""
    groups: torch.Tensor
    """[S]: the number of each token's group."""
    branches: torch.Tensor
    """[S]: the number of each token's branch, from 1 over all groups; 0 in prompts."""
    sources: torch.Tensor
    """[K]: the place whose hidden state predicts a learned token."""
    targets: torch.Tensor
    """[K]: the learned tokens' ids, branch by branch."""
    owners: torch.Tensor
    """[K]: the branch that a learned token is of, from 0 over all groups."""
    spans: tuple[Span, ...]
    num_branches: int
    kept: dict[str, Any] = field(default_factory=dict, repr=False)
    """What an attention made of it for all its layers."""

    def to(self, device: torch.device) -> "Layout":
        """The same on another device."""
        moved: dict[str, Any] = {
            f.name: value.to(device)
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), torch.Tensor)
        }
        return replace(self, **moved, kept={})

    def sees(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """Whether the token at place `query` sees that at `key`: the one rule of all attentions."""
        own = (self.branches[key] == 0) | (self.branches[key] == self.branches[query])
        return (self.groups[key] == self.groups[query]) & own & (key <= query)

    def dense(self) -> torch.Tensor:
        """`sees` of all pairs, [1, 1, S, S]. Given as a 4D mask, any of transformers' own
        implementations is exact, and slow."""
        place = torch.arange(len(self.groups), device=self.groups.device)
        return self.sees(place[:, None], place[None])[None, None]

    def keep(self, name: str, make: Callable[["Layout"], T]) -> T:
        """What `make` makes of this layout, made once."""
        if name not in self.kept:
            with torch.inference_mode(False):  # so that a training may use what a scoring made
                self.kept[name] = make(self)
        made: T = self.kept[name]
        return made


def lay_out(groups: Sequence[Group], prompts: Sequence[torch.Tensor] | None = None) -> Layout:
    """Put groups one behind the other.

    Args:
        groups: at least one, each with a prompt of at least one token.
        prompts: positions of each group's prompt, [A, P]; none: 0, 1, 2, ... Branches go on from
            the highest one.
    """
    spans = _spans(groups)
    branches = [branch for group in groups for branch in group.branches]
    labels = [_array(branch.labels) for branch in branches]
    learned = [np.flatnonzero(own != IGNORED) for own in labels]
    owners = np.repeat(np.arange(len(branches)), [len(places) for places in learned])
    firsts = [
        (span.prompt_stop - 1, start)
        for span in spans
        for start in (span.prompt_stop, *span.stops)[: len(span.stops)]
    ]
    sources = [
        np.where(places > 0, start + places - 1, last)
        for (last, start), places in zip(firsts, learned, strict=True)
    ]
    targets = [own[places] for own, places in zip(labels, learned, strict=True)]
    parts = [part for g in groups for part in (g.prompt_ids, *(b.ids for b in g.branches))]
    return Layout(
        input_ids=_tensor(parts)[None],
        positions=_positions(groups, prompts)[:, None],
        groups=torch.repeat_interleave(torch.tensor([len(group) for group in groups])),
        branches=_numbers(groups),
        sources=_tensor(sources),
        targets=_tensor(targets),
        owners=torch.from_numpy(owners),
        spans=spans,
        num_branches=len(branches),
    )


def _spans(groups: Sequence[Group]) -> tuple[Span, ...]:
    spans: list[Span] = []
    start = 0
    for group in groups:
        assert len(group.prompt_ids), f"{group.key}: a group needs a prompt"
        for branch in group.branches:
            assert len(branch.ids) == len(branch.labels), f"{group.key}: a label for each token"
        prompt_stop = start + len(group.prompt_ids)
        lengths = [len(branch.ids) for branch in group.branches]
        spans.append(Span(start, prompt_stop, tuple(accumulate(lengths, initial=prompt_stop))[1:]))
        start = spans[-1].stop
    return tuple(spans)


def _positions(groups: Sequence[Group], prompts: Sequence[torch.Tensor] | None) -> torch.Tensor:
    """[A, S]."""
    parts = []
    for n, group in enumerate(groups):
        own = torch.arange(len(group.prompt_ids))[None] if prompts is None else prompts[n]
        parts.append(own)
        after = int(own.max()) + 1
        parts += [
            torch.arange(after, after + len(branch.ids)).expand(len(own), -1)
            for branch in group.branches
        ]
    return torch.cat(parts, 1)


def _numbers(groups: Sequence[Group]) -> torch.Tensor:
    """[S]: each token's branch."""
    numbers: list[int] = []
    lengths: list[int] = []
    number = count(1)
    for group in groups:
        numbers += [0, *(next(number) for _ in group.branches)]
        lengths += [len(group.prompt_ids), *(len(branch.ids) for branch in group.branches)]
    return torch.repeat_interleave(torch.tensor(numbers), torch.tensor(lengths))


def _array(ids: Sequence[int]) -> "np.ndarray[Any, np.dtype[np.int64]]":
    return np.asarray(ids, dtype=np.int64)


def _tensor(parts: Sequence[Any]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([_array(()), *(_array(part) for part in parts)]))
