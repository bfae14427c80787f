"""The shape of a model from its config.json: widths, layers and the exact number of parameters.

Keys that a configuration leaves out have the defaults of its `model_type` in transformers, whose
own models the tests compare (`tests/planner/test_shapes.py`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chainsight.errors import CheckpointError
from chainsight.inventory import tokens

Config = Mapping[str, Any]
Linear = tuple[int, int]
"""Inputs and outputs of a linear layer."""


@dataclass(frozen=True)
class Decoder:
    """A language model of Llama's kind: RMSNorm, grouped queries, a gated MLP."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    tied: bool
    """Whether the output layer is the embedding itself."""
    qkv_bias: bool = False
    o_bias: bool = False
    mlp_bias: bool = False
    head_norms: bool = False
    """Queries and keys are normalised head by head (Qwen3)."""

    @property
    def queries(self) -> int:
        """Width of all queries."""
        return self.heads * self.head_size

    @property
    def keys(self) -> int:
        """Width of all keys; the values' too."""
        return self.kv_heads * self.head_size

    @property
    def linears(self) -> tuple[Linear, ...]:
        """Of one layer."""
        h, f, q, kv = self.hidden, self.intermediate, self.queries, self.keys
        return ((h, q), (h, kv), (h, kv), (q, h), (h, f), (h, f), (f, h))

    @property
    def layer_parameters(self) -> int:
        """Of one layer."""
        biases = (self.queries + 2 * self.keys) * self.qkv_bias + self.hidden * self.o_bias
        biases += (2 * self.intermediate + self.hidden) * self.mlp_bias
        norms = 2 * self.hidden + 2 * self.head_size * self.head_norms
        return sum(a * b for a, b in self.linears) + biases + norms

    @property
    def embedding(self) -> int:
        """Parameters of the embedding, and of the output layer."""
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        """All of them."""
        ends = self.embedding * (1 if self.tied else 2) + self.hidden
        return self.layers * self.layer_parameters + ends


@dataclass(frozen=True)
class Tower:
    """What sees: a vision transformer and, where it is part of it, its merger."""

    kind: str
    """A key of `activations.TOWERS`."""
    layers: int
    hidden: int
    intermediate: int
    linears: tuple[Linear, ...]
    """All of them."""
    parameters: int


@dataclass(frozen=True)
class Shape:
    """A vision language model."""

    text: Decoder
    tower: Tower
    projector: tuple[Linear, ...]
    """Layers between tower and language model; () where they are part of the tower."""
    projector_parameters: int
    picture: Callable[[int, int], "Picture"]
    """What a picture of so many pixels across and down is to the model."""
    largest: "Picture"
    """What the largest one is."""

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.text.parameters + self.tower.parameters + self.projector_parameters


@dataclass(frozen=True)
class Picture:
    """One picture's cost."""

    tokens: int
    """In the language model."""
    patches: int
    """In the tower."""


def of(config: Config) -> Shape:
    """The shape of the model that a config.json describes.

    Raises:
        CheckpointError: its `model_type` is none that is known here, or a key is not a number.
    """
    kind = str(config.get("model_type"))
    if kind not in FAMILIES:
        raise CheckpointError(
            f"model_type {kind!r}: the memory of such a model is not known here; known are "
            f"{', '.join(FAMILIES)}"
        )
    try:
        return FAMILIES[kind](config)
    except (
        AttributeError,
        IndexError,
        KeyError,
        TypeError,
        ValueError,
        ZeroDivisionError,
    ) as error:
        raise CheckpointError(
            f"config.json of a {kind} cannot be read ({type(error).__name__}: {error}); copy it "
            "again"
        ) from None


# --- language models -------------------------------------------------------------------------

TEXT_DEFAULTS: Mapping[str, Config] = {
    "llama": {"vocab_size": 32000, "intermediate_size": 11008},
    "mistral": {"vocab_size": 32000, "intermediate_size": 14336, "num_key_value_heads": 8},
    "qwen2": {"vocab_size": 151936, "intermediate_size": 22016},
    "qwen2_5_vl_text": {
        "vocab_size": 152064,
        "hidden_size": 8192,
        "intermediate_size": 29568,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
    },
    "qwen3_vl_text": {"vocab_size": 151936, "intermediate_size": 22016, "head_dim": 128},
}
"""By `model_type`, beside 32 layers and heads of 4,096 in all, which most have."""


def _decoder(config: Config, kind: str, *, tied: bool) -> Decoder:
    if kind not in TEXT_DEFAULTS:
        raise CheckpointError(
            f"model_type {kind!r} of text_config: the memory of such a language model is not known "
            f"here; known are {', '.join(TEXT_DEFAULTS)}"
        )
    common = {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32}
    given = {key: value for key, value in config.items() if value is not None}
    have: dict[str, Any] = {**common, **TEXT_DEFAULTS[kind], **given}
    heads = int(have["num_attention_heads"])
    qwen2, llama = kind in ("qwen2", "qwen2_5_vl_text"), kind in ("llama", "qwen3_vl_text")
    return Decoder(
        layers=int(have["num_hidden_layers"]),
        hidden=int(have["hidden_size"]),
        intermediate=int(have["intermediate_size"]),
        heads=heads,
        kv_heads=int(have.get("num_key_value_heads", heads)),
        head_size=int(have.get("head_dim", have["hidden_size"] // heads)),
        vocabulary=int(have["vocab_size"]),
        tied=tied,
        qkv_bias=qwen2 or (llama and bool(have.get("attention_bias"))),
        o_bias=llama and bool(have.get("attention_bias")),
        mlp_bias=kind == "llama" and bool(have.get("mlp_bias")),
        head_norms=kind == "qwen3_vl_text",
    )


# --- LLaVA -----------------------------------------------------------------------------------

CLIP_L_336: Config = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "image_size": 336,
    "patch_size": 14,
}
"""Where a LLaVA says nothing of its tower."""
CLIP: Config = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "image_size": 224,
    "patch_size": 32,
}
"""Where a tower's configuration leaves a key out."""
PINPOINTS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]


def _clip(config: Config | None) -> tuple[Tower, int, int]:
    """The tower, the side of a tile and of a patch, in pixels."""
    have: dict[str, Any] = dict(CLIP_L_336) if config is None else {**CLIP, **config}
    h, f, layers = have["hidden_size"], have["intermediate_size"], have["num_hidden_layers"]
    tile, patch = int(have["image_size"]), int(have["patch_size"])
    linears = ((h, h),) * 4 + ((h, f), (f, h))
    each = sum(a * b + b for a, b in linears) + 2 * 2 * h
    ends = h + 3 * patch**2 * h + ((tile // patch) ** 2 + 1) * h + 2 * 2 * h
    return Tower("clip", layers, h, f, linears * layers, layers * each + ends), tile, patch


def _llava(config: Config) -> Shape:
    inner: Config = config.get("text_config") or {}
    text = _decoder(
        inner, inner.get("model_type", "llama"), tied=bool(config.get("tie_word_embeddings"))
    )
    tower, tile, patch = _clip(config.get("vision_config"))
    chosen = config.get("vision_feature_layer", -2)
    wide = tower.hidden * (1 if isinstance(chosen, int) else len(chosen))
    projector = ((wide, text.hidden), (text.hidden, text.hidden))
    biased = bool(config.get("multimodal_projector_bias", True))
    parameters = sum(a * b + b * biased for a, b in projector)
    side = tile // patch
    if config["model_type"] == "llava":
        one = Picture(side**2, side**2 + 1)
        return Shape(text, tower, projector, parameters, lambda _width, _height: one, one)
    pinpoints = config.get("image_grid_pinpoints") or PINPOINTS
    grids = tuple((tall // tile, wide // tile) for tall, wide in pinpoints)

    def picture(width: int, height: int) -> Picture:
        counted = tokens.llava_next(width, height, tile, patch, grids)
        down, across = tokens.grid(width, height, tile, grids)
        return Picture(counted, (down * across + 1) * (side**2 + 1))

    filling = [picture(across * tile, down * tile) for down, across in grids]
    largest = Picture(max(p.tokens for p in filling), max(p.patches for p in filling))
    return Shape(text, tower, projector, parameters + text.hidden, picture, largest)


# --- Qwen ------------------------------------------------------------------------------------


def _qwen2_5(config: Config) -> Shape:
    inner = config.get("text_config") or config
    text = _decoder(inner, "qwen2_5_vl_text", tied=bool(config.get("tie_word_embeddings")))
    defaults = {
        "depth": 32,
        "hidden_size": 3584,
        "intermediate_size": 3420,
        "out_hidden_size": 3584,
    }
    have: dict[str, Any] = {**defaults, **(config.get("vision_config") or {})}
    h, f, layers = have["hidden_size"], have["intermediate_size"], have["depth"]
    linears = ((h, 3 * h), (h, h), (h, f), (h, f), (f, h))
    each = sum(a * b + b for a, b in linears) + 2 * h
    wide = h * have.get("spatial_merge_size", 2) ** 2
    merger = ((wide, wide), (wide, have["out_hidden_size"]))
    ends = _pixels(have, 14) * h + h + sum(a * b + b for a, b in merger)
    tower = Tower("qwen2_5", layers, h, f, linears * layers + merger, layers * each + ends)
    return _qwen(text, tower, have.get("patch_size", 14), have.get("spatial_merge_size", 2))


def _qwen3(config: Config) -> Shape:
    text = _decoder(
        config.get("text_config") or {},
        "qwen3_vl_text",
        tied=bool(config.get("tie_word_embeddings")),
    )
    defaults = {
        "depth": 27,
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "out_hidden_size": 3584,
        "num_position_embeddings": 2304,
        "deepstack_visual_indexes": (8, 16, 24),
    }
    have: dict[str, Any] = {**defaults, **(config.get("vision_config") or {})}
    h, f, layers = have["hidden_size"], have["intermediate_size"], have["depth"]
    linears = ((h, 3 * h), (h, h), (h, f), (f, h))
    each = sum(a * b + b for a, b in linears) + 4 * h
    wide = h * have.get("spatial_merge_size", 2) ** 2
    deep = len(have["deepstack_visual_indexes"])
    merger = ((wide, wide), (wide, have["out_hidden_size"]))
    mergers = merger * (1 + deep)
    norms = 2 * h + 2 * wide * deep
    positions = have["num_position_embeddings"] * h
    ends = _pixels(have, 16) * h + h + positions + norms + sum(a * b + b for a, b in mergers)
    tower = Tower("qwen3", layers, h, f, linears * layers + mergers, layers * each + ends)
    return _qwen(text, tower, have.get("patch_size", 16), have.get("spatial_merge_size", 2))


def _pixels(have: Config, patch: int) -> int:
    """Values that a patch is made of."""
    side = have.get("patch_size", patch)
    return int(have.get("in_channels", 3) * have.get("temporal_patch_size", 2) * side**2)


def _qwen(text: Decoder, tower: Tower, patch: int, merge: int) -> Shape:
    def picture(width: int, height: int) -> Picture:
        counted = tokens.qwen(width, height, patch * merge)
        return Picture(counted, counted * merge**2)

    side = 4096 * patch  # pixels; more than any of the processors keeps
    return Shape(text, tower, (), 0, picture, picture(side, side))


FAMILIES: Mapping[str, Callable[[Config], Shape]] = {
    "llava_next": _llava,
    "llava": _llava,
    "qwen2_5_vl": _qwen2_5,
    "qwen3_vl": _qwen3,
}
"""By `model_type`."""
