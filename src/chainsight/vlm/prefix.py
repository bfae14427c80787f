"""A prompt and its responses as one sequence: the prompt is computed once (architecture, idea 4).

A group is a prompt, pictures included, and m branches that go on after it, each alone. Groups
stand one behind the other in a single row of tokens without padding:

    [prompt 1 | branch | branch | ... | prompt 2 | branch | ...]

A token sees its group's prompt and its own branch up to itself; positions restart at the end of
the prompt for each branch. So each response has the very log-probabilities, and gives the very
gradients, that it has in a row of its own (Wang & Hegde, arXiv 2410.20305, without their copy of
the prompt's last token: the hidden state there is read once for each branch).

Letters in shapes: S tokens of all groups, A position axes (1, or 3 for multimodal rotary
positions), K learned tokens, M branches of all groups, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

IGNORED = -100
"""Label of a token that is not learned (torch's cross entropy skips it)."""

ATTENTION = "chainsight_prefix"
"""Name of the attention in transformers' registry. Without a layout it is plain sdpa."""


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
class Bunch:
    """Branches that are attended to in one call."""

    start: int
    stop: int
    """Their tokens' places in the row."""
    mask: torch.Tensor
    """[stop - start, prompt + stop - start], bool: which keys a token sees."""


@dataclass(frozen=True)
class Span:
    """Where a group stands in the row."""

    start: int
    prompt_stop: int
    stop: int
    bunches: tuple[Bunch, ...]
    """None for a single branch: that is an ordinary sequence."""


@dataclass(frozen=True)
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

    def to(self, device: torch.device) -> "Layout":
        """The same on another device."""
        moved: dict[str, Any] = {
            f.name: value.to(device)
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), torch.Tensor)
        }
        spans = tuple(
            replace(
                span,
                bunches=tuple(replace(b, mask=b.mask.to(device)) for b in span.bunches),
            )
            for span in self.spans
        )
        return replace(self, **moved, spans=spans)

    def sees(self) -> torch.Tensor:
        """[1, 1, S, S], bool: which token (row) sees which (column). The oracle of all attentions:
        given as a 4D mask, any of transformers' own implementations is exact, and slow."""
        place = torch.arange(len(self.groups), device=self.groups.device)
        own = (self.branches[None] == 0) | (self.branches[None] == self.branches[:, None])
        same = self.groups[None] == self.groups[:, None]
        return (same & own & (place[None] <= place[:, None]))[None, None]


def lay_out(groups: Sequence[Group], prompts: Sequence[torch.Tensor] | None = None) -> Layout:
    """Put groups one behind the other.

    Args:
        groups: at least one, each with a prompt of at least one token.
        prompts: positions of each group's prompt, [A, P]; none: 0, 1, 2, ... Branches go on from
            the highest one.
    """
    ids: list[int] = []
    positions, number, branch_of, spans = [], [], [], []
    sources: list[int] = []
    targets: list[int] = []
    owners: list[int] = []
    owner = 0
    for n, group in enumerate(groups):
        start, size = len(ids), len(group.prompt_ids)
        assert size, f"{group.key}: a group needs a prompt"
        own = torch.arange(size)[None] if prompts is None else prompts[n]
        after = own.max() + 1
        ids.extend(group.prompt_ids)
        positions.append(own)
        branch_of.append(torch.zeros(size, dtype=torch.long))
        for branch in group.branches:
            begin = len(ids)
            for i, label in enumerate(branch.labels):
                if label != IGNORED:
                    sources.append(begin + i - 1 if i else start + size - 1)
                    targets.append(label)
                    owners.append(owner)
            ids.extend(branch.ids)
            owner += 1
            length = len(branch.ids)
            positions.append((after + torch.arange(length))[None].expand(len(own), -1))
            branch_of.append(torch.full((length,), owner))
        number.append(torch.full((len(group),), n))
        spans.append(_span(start, group))
    return Layout(
        input_ids=torch.tensor([ids]),
        positions=torch.cat(positions, 1)[:, None],
        groups=torch.cat(number),
        branches=torch.cat(branch_of),
        sources=torch.tensor(sources, dtype=torch.long),
        targets=torch.tensor(targets, dtype=torch.long),
        owners=torch.tensor(owners, dtype=torch.long),
        spans=tuple(spans),
        num_branches=owner,
    )


def _span(start: int, group: Group) -> Span:
    size = len(group.prompt_ids)
    stop = start + len(group)
    if len(group.branches) < 2:
        return Span(start, start + size, stop, ())
    bunches: list[Bunch] = []
    lengths: list[int] = []
    begin = start + size
    limit = max(size // 2, 1)
    for branch in group.branches:
        if lengths and sum(lengths) + len(branch.ids) > limit:
            bunches.append(_bunch(begin, size, lengths))
            begin += sum(lengths)
            lengths = []
        lengths.append(len(branch.ids))
    bunches.append(_bunch(begin, size, lengths))
    return Span(start, start + size, stop, tuple(bunches))


def _bunch(start: int, prompt: int, lengths: Sequence[int]) -> Bunch:
    """Branches see each other in vain, so a bunch is kept shorter than about half the prompt."""
    total = sum(lengths)
    branch = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    place = torch.arange(total)
    own = (branch[:, None] == branch[None]) & (place[None] <= place[:, None])
    seen = torch.ones(total, prompt, dtype=torch.bool)
    return Bunch(start, start + total, torch.cat([seen, own], 1))


# --- attention -------------------------------------------------------------------------------


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    layout: Layout | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention interface; [1, H, S, D] to [1, S, H, D] along `layout`.

    Exact, without a mask of S x S: a prompt is causal, bunches of branches see it and themselves.

    Raises:
        ValueError: a cache, a padding mask or dropout came along, which would make it wrong.
    """
    if layout is None or not getattr(module, "is_causal", True):  # or in a vision tower
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    _require_bare(query, key, attention_mask, dropout, layout)
    parts = []
    for span in layout.spans:
        part = slice(span.start, span.prompt_stop if span.bunches else span.stop)
        parts.append(_causal(query[:, :, part], key[:, :, part], value[:, :, part], scaling))
        for bunch in span.bunches:
            keys, values = (_seen(t, span, bunch) for t in (key, value))
            own = query[:, :, bunch.start : bunch.stop]
            parts.append(_masked(own, keys, values, bunch.mask, scaling))
    return torch.cat(parts, 2).transpose(1, 2).contiguous(), None


def _require_bare(
    query: torch.Tensor,
    key: torch.Tensor,
    mask: torch.Tensor | None,
    dropout: float,
    layout: Layout,
) -> None:
    if dropout:
        raise ValueError(f"dropout is {dropout}: a shared prompt has one draw for all; set it to 0")
    if query.shape[0] != 1 or query.shape[2] != layout.input_ids.shape[1]:
        raise ValueError(f"{tuple(query.shape)} is not the layout's one row of tokens")
    if key.shape[2] != query.shape[2]:
        raise ValueError("keys of a cache came along with a layout; pass use_cache=False")
    if mask is None or mask.shape != NO_MASK:
        raise ValueError("pass the arguments that `forward` makes, and no mask of your own")


NO_MASK = (1, 1, 1, 1)
"""Shape of the mask that stands for none: transformers passes a 4D mask on as it is. With None it
would take restarting positions for packed documents and hide the prompt from the branches."""


def _seen(states: torch.Tensor, span: Span, bunch: Bunch) -> torch.Tensor:
    """Keys or values of the prompt and of one bunch; copied only if they don't lie together."""
    if bunch.start == span.prompt_stop:
        return states[:, :, span.start : bunch.stop]
    prompt, own = (
        states[:, :, span.start : span.prompt_stop],
        states[:, :, bunch.start : bunch.stop],
    )
    return torch.cat([prompt, own], 2)


def _causal(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None
) -> torch.Tensor:
    return functional.scaled_dot_product_attention(
        query,
        key,
        value,
        is_causal=query.shape[2] > 1,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )


def _masked(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    scaling: float | None,
) -> torch.Tensor:
    """With grouped queries, those that share a key head become rows: masked kernels know no
    groups, and copies of the keys would be kept for the backward pass."""
    batch, heads, rows, size = query.shape
    shared = heads // key.shape[1]
    folded = query.reshape(batch, key.shape[1], shared * rows, size)
    found = functional.scaled_dot_product_attention(
        folded, key, value, attn_mask=mask.repeat(shared, 1), scale=scaling
    )
    return found.reshape(batch, heads, rows, value.shape[-1])


AttentionInterface.register(ATTENTION, attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


# --- scores ----------------------------------------------------------------------------------


def forward(layout: Layout, position_ids: torch.Tensor) -> dict[str, Any]:
    """The arguments that a model of attention ATTENTION takes beside pictures.

    Its `logits` are then [1, K, V]: those that predict `layout.targets`, in their order.
    """
    return {
        "input_ids": layout.input_ids,
        "position_ids": position_ids,
        "attention_mask": torch.ones(NO_MASK, device=layout.input_ids.device),
        "layout": layout,
        "logits_to_keep": layout.sources,
        "use_cache": False,
    }


def token_logps(logits: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Log-probability of each learned token in float32, [K], from logits [1, K, V]."""
    return -functional.cross_entropy(logits[0].float(), layout.targets, reduction="none")


def branch_sums(values: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Sum of the learned tokens' values of each branch, [M], from [K]."""
    return values.new_zeros(layout.num_branches).index_add(0, layout.owners, values)
