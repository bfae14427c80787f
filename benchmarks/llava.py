"""A LLaVA-NeXT of random weights, of any size, with a tokenizer and a processor made from scratch.

Time, memory and counts don't depend on what a model has learned; its shape is all that matters.
"""

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextProcessor,
)
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil,
)

from chainsight.demo.tiny import CHAT_TEMPLATE, IMAGE, build_tokenizer
from chainsight.vlm.checkpoint import Loaded
from chainsight.vlm.prefix import ATTENTION
from chainsight.vlm.template import Template

WORDS = tuple("".join(letters) for letters in product("bdfgkl", "aeiou", "mnrt"))
"""120 words of three letters, each one token; so the vocabulary is small: on a CPU, TRL multiplies
every position with the output layer, and a large one would flatter us."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a model and of what it is asked."""

    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    tile: int
    """Pixels along a tile's edge; a square picture gives four and a thumbnail."""
    patch: int
    vision_hidden: int
    vision_layers: int
    vision_heads: int
    vision_intermediate: int
    response: int
    """Tokens of a response, R; lengths are drawn about it (`questions.lengths`)."""
    vocabulary: int | None = None
    """Rows of the output layer; none: as many as the tokenizer has."""

    @property
    def image_tokens(self) -> int:
        """Of one square picture: thumbnail, four tiles, and the ends of their lines."""
        side = self.tile // self.patch
        return side**2 + 2 * side * (2 * side + 1)


CPU = Shape("cpu", 512, 4, 8, 8, 1376, 224, 14, 64, 3, 2, 256, response=41)
"""P is 1,346 and R about 41: the paper's 2,900 to 90 in proportion."""
TINY = Shape("tiny", 64, 2, 4, 2, 128, 32, 8, 32, 2, 2, 64, response=10)
EIGHT_B = Shape(
    "8b", 4096, 32, 32, 8, 14336, 336, 14, 1024, 24, 16, 4096, response=90, vocabulary=128_320
)
"""Llama 3 8B with CLIP L/14 of 336 pixels, as in LLaVA-NeXT: P is 2,962."""
SHAPES = {shape.name: shape for shape in (CPU, TINY, EIGHT_B)}


def build(
    shape: Shape, *, seed: int = 0, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> Loaded:
    """The model and its processor, ready for the shared-prefix engine."""
    tokenizer = build_tokenizer([f"{word} {word}" for word in WORDS])
    processor = _processor(shape, tokenizer)
    torch.manual_seed(seed)
    with torch.device(device):
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)  # an 8B model in float32 would not fit beside another
        make: Any = LlavaNextForConditionalGeneration._from_config
        model = make(_config(shape, tokenizer), attn_implementation=ATTENTION, dtype=dtype)
        torch.set_default_dtype(before)
    text = model.config.text_config
    model.generation_config.update(
        pad_token_id=text.pad_token_id, eos_token_id=text.eos_token_id, bos_token_id=None
    )
    model.eval()
    template = Template(processor, system_prompt=False)
    return Loaded(model, processor, template, Path(shape.name), torch.device(device))


def save_outline(shape: Shape, folder: Path) -> None:
    """Configuration, tokenizer and processor without weights, for engines that draw their own."""
    tokenizer = build_tokenizer([f"{word} {word}" for word in WORDS])
    config = _config(shape, tokenizer)
    config.architectures = ["LlavaNextForConditionalGeneration"]
    config.save_pretrained(folder)
    _processor(shape, tokenizer).save_pretrained(folder)


def fresh_template(loaded: Loaded) -> Loaded:
    """The same model with no picture prepared yet."""
    return replace(loaded, template=Template(loaded.processor, system_prompt=False))


def _processor(shape: Shape, tokenizer: Any) -> Any:
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": shape.tile},
        crop_size={"height": shape.tile, "width": shape.tile},
        image_grid_pinpoints=_pinpoints(shape),
    )
    make: Any = LlavaNextProcessor
    return make(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=shape.patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,  # CLIP's class token, which "default" drops again
        image_token=IMAGE,
        chat_template=CHAT_TEMPLATE,
    )


def _config(shape: Shape, tokenizer: Any) -> Any:
    vision = CLIPVisionConfig(
        hidden_size=shape.vision_hidden,
        intermediate_size=shape.vision_intermediate,
        num_hidden_layers=shape.vision_layers,
        num_attention_heads=shape.vision_heads,
        image_size=shape.tile,
        patch_size=shape.patch,
        projection_dim=shape.vision_hidden,
    )
    text = LlamaConfig(
        vocab_size=shape.vocabulary or len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=8192,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    make: Any = LlavaNextConfig
    return make(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_grid_pinpoints=_pinpoints(shape),
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_seq_length=(shape.tile // shape.patch) ** 2,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=False,
    )


def _pinpoints(shape: Shape) -> list[list[int]]:
    one, two = shape.tile, 2 * shape.tile
    return [[two, two], [one, two], [two, one]]
