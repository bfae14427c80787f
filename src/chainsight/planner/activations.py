"""Bytes that a forward pass keeps for its backward pass, layer by layer and tensor by tensor.

Read off transformers 5.23 and torch 2.13 with saved-tensor hooks (docs/doctor.md has the table of
formula and measurement): a change of theirs makes `tests/planner/test_activations.py` fail.

Letters: S tokens of a group, P of its prompt, R of its branches together, K learned tokens,
h hidden, f intermediate width, c bytes of a number in computing, V vocabulary.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from chainsight.planner.shapes import Decoder, Shape

SINGLE = 4
"""Bytes of a float32."""
PIECE = 2**25
"""Logits that `vlm.prefix.score` holds at a time."""
PER_LAYER = 7
"""Adapted linear layers in a decoder layer."""


@dataclass(frozen=True)
class Question:
    """A group in tokens: a prompt, pictures included, and what goes on after it."""

    prompt: int
    branches: tuple[int, ...]
    learned: int
    """Tokens of the branches that have a label."""
    patches: int = 0
    """Of its pictures, in the tower."""
    image_tokens: int = 0

    @property
    def tokens(self) -> int:
        """All of them: the prompt counts once."""
        return self.prompt + sum(self.branches)


@dataclass(frozen=True)
class Manner:
    """How a model is trained."""

    bfloat16: bool = False
    """Compute in bfloat16 (autocast); weights that are trained stay float32."""
    lora: int | None = None
    """Rank of the adapters; None: all weights are trained."""
    checkpointing: bool = False
    """Keep each layer's input alone, and compute the rest once more."""
    tower: bool = False
    """Whether the vision tower is trained."""
    projector: bool = False

    @property
    def number(self) -> int:
        """Bytes of a number in computing."""
        return 2 if self.bfloat16 else SINGLE

    @property
    def weight(self) -> int:
        """Bytes of a number in the base's weights, hence in the residual stream."""
        return 2 if self.bfloat16 and self.lora else SINGLE


@dataclass(frozen=True)
class Activations:
    """Bytes, by where they are kept."""

    layers: int
    """Decoder layers; with checkpointing their inputs."""
    recomputed: int
    """One decoder layer's (or tower layer's) as it is computed once more; 0 without."""
    masks: int
    """Which tokens of the branches see which, a matrix a layer."""
    ends: int
    """Embedding, positions, last norm."""
    head: int
    """Of learned tokens: hidden states and log-probabilities over the vocabulary, float32."""
    vision: int
    """Tower and projector, as far as trained."""

    @property
    def kept(self) -> int:
        """From the forward pass to the backward pass: what `training.memory.measured` counts."""
        return self.layers + self.masks + self.ends + self.head + self.vision


def activations(shape: Shape, questions: Sequence[Question], manner: Manner) -> Activations:
    """Of one forward pass over `questions`, packed one behind the other."""
    text, tokens = shape.text, sum(one.tokens for one in questions)
    learned = sum(one.learned for one in questions)
    layer = sum(_layer(text, one, manner) for one in questions)
    masks = sum(_masks(text, one) for one in questions) * manner.number
    inputs = tokens * text.hidden * manner.weight
    vision, recomputed = _vision(shape, questions, manner)
    norm = (1 if manner.lora else 2) * SINGLE
    ends = tokens * (8 + 2 * text.head_size * manner.weight + norm * text.hidden)
    return Activations(
        layers=text.layers * (inputs if manner.checkpointing else layer),
        recomputed=max(layer + masks, recomputed) if manner.checkpointing else 0,
        masks=0 if manner.checkpointing else text.layers * masks,
        ends=ends,
        head=_head(text, learned, manner),
        vision=vision,
    )


def in_pieces(text: Decoder, learned: int) -> int:
    """Tokens whose logits are there at a time: all, unless they are many."""
    return min(learned, max(1, PIECE // text.vocabulary))


def _head(text: Decoder, learned: int, manner: Manner) -> int:
    """Hidden states and log-probabilities; of several pieces the former alone, to begin again."""
    if in_pieces(text, learned) < learned:
        return learned * text.hidden * manner.weight
    hidden = 0 if manner.lora else learned * text.hidden * manner.number
    return hidden + learned * text.vocabulary * SINGLE


def _layer(text: Decoder, one: Question, manner: Manner) -> int:
    """A decoder layer without checkpointing, its masks apart."""
    h, f, c = text.hidden, text.intermediate, manner.number
    norms = (2 if manner.lora else 4) * SINGLE * h  # inputs, and, for their weights, normalised
    inputs = (5 if manner.bfloat16 else 2) * h * c  # autocast makes a copy for each linear layer
    mlp = 4 * f * c  # gate, its activation, up, their product
    adapters = PER_LAYER * (manner.lora or 0) * c
    heads = (text.queries + text.keys) * text.head_norms
    heads *= SINGLE + (0 if manner.lora else c)
    per_token = norms + inputs + mlp + adapters + heads + text.queries * c
    return one.tokens * per_token + _attention(text, one, manner)


def _attention(text: Decoder, one: Question, manner: Manner) -> int:
    """Queries, keys, values and outputs, as `vlm.prefix.kernels.split` gives them to sdpa."""
    c, q, kv = manner.number, text.queries, text.keys
    kept = one.tokens * (2 * q * c + 2 * kv * c + text.heads * SINGLE)
    bunches = _bunches(one)
    if bunches and text.heads > text.kv_heads:
        kept += q * c * sum(bunches)  # folded: those that share a key become rows
    for rows in bunches[1:]:  # the prompt is put before each further bunch
        kept += 2 * kv * c * (one.prompt + rows)
    return kept


def _bunches(one: Question) -> list[int]:
    """Tokens of the branches that are attended to in one call, as `vlm.prefix.kernels` does."""
    if len(one.branches) < 2:
        return []
    limit, made = max(one.prompt // 2, 1), [0]
    for length in one.branches:
        if made[-1] and made[-1] + length > limit:
            made.append(0)
        made[-1] += length
    return made


def _masks(text: Decoder, one: Question) -> int:
    """Numbers in the masks of one layer."""
    shared = text.heads // text.kv_heads
    return sum(shared * rows * (one.prompt + rows) for rows in _bunches(one))


# --- vision ----------------------------------------------------------------------------------


def _vision(shape: Shape, questions: Sequence[Question], manner: Manner) -> tuple[int, int]:
    """What tower and projector keep, and one layer of the tower if it is computed once more."""
    tower, c = shape.tower, manner.number
    patches = sum(one.patches for one in questions)
    image_tokens = sum(one.image_tokens for one in questions)
    between = 0
    if manner.projector or manner.tower:
        wide = sum(a for a, _ in shape.projector)
        out = sum(b for _, b in shape.projector[:1])
        between = image_tokens * (wide + out) * c
    if not manner.tower:
        return between, 0
    layer = patches * TOWERS[tower.kind](tower.hidden, tower.intermediate, manner)
    if not manner.checkpointing:
        return between + tower.layers * layer, 0
    return between + tower.layers * patches * tower.hidden * manner.weight, layer


def _clip(h: int, f: int, manner: Manner) -> int:
    """LayerNorm, three projections, quick GELU."""
    c = manner.number
    norms, inputs = 2 * SINGLE * h, (4 if manner.bfloat16 else 2) * h * c
    return norms + inputs + 3 * h * c + 2 * h * c + 3 * f * c


def _qwen2_5(h: int, f: int, manner: Manner) -> int:
    """RMSNorm, one projection for all three, rotary positions, a gated MLP."""
    c = manner.number
    norms, inputs = (2 if manner.lora else 4) * SINGLE * h, (3 if manner.bfloat16 else 2) * h * c
    return norms + inputs + 3 * h * c + 2 * h * c + 2 * h * c + 4 * f * c


def _qwen3(h: int, f: int, manner: Manner) -> int:
    """LayerNorm, one projection for all three, rotary positions, GELU."""
    c = manner.number
    return 2 * SINGLE * h + 2 * h * c + 3 * h * c + 2 * h * c + 2 * h * c + 2 * f * c


TOWERS: Mapping[str, Callable[[int, int, Manner], int]] = {
    "clip": _clip,
    "qwen2_5": _qwen2_5,
    "qwen3": _qwen3,
}
"""Bytes a patch and layer, by `Tower.kind`."""
