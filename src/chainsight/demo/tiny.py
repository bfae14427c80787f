"""The tiny LLaVA-NeXT of the demo: same classes as the real one, 1/3000 of its size.

The tokenizer knows the demo's words as single tokens and every byte besides, so any text goes
through and comes back. Heavy imports (torch, transformers, tokenizers) belong to this module
and `pretrain`.
"""

from collections.abc import Iterable
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil,
)

TILE, PATCH = 32, 8  # pixels: CLIP sees tiles of 4 x 4 patches
PINPOINTS = [[64, 64], [32, 64], [64, 32]]
"""Tile grids as [height, width] in pixels: a square picture gives 4 tiles and a thumbnail."""
MAX_POSITIONS = 4096

BOS, START, END, EOT, PAD, IMAGE = (
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|pad|>",
    "<image>",
)

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+| ?\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Llama 3's pre-tokenizer, except that a number keeps the space before it.

It keeps the header's blank line one token whatever follows, so that a prompt's tokens are a
prefix of the conversation's (GPT-2's pattern is not like that).
"""

CHAT_TEMPLATE = (
    "{{- bos_token }}"
    "{%- for message in messages %}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
    "{%- if message['content'] is string %}"
    "{{- message['content'] }}"
    "{%- else %}"
    "{%- for item in message['content'] %}"
    "{%- if item['type'] == 'image' %}{{- '<image>\n' }}"
    "{%- elif item['type'] == 'text' %}{{- item['text'] }}{%- endif %}"
    "{%- endfor %}"
    "{%- endif %}"
    "{{- '<|eot_id|>' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
    "{%- endif %}"
)
"""The wire format of `llava_llama_3` (LLaVA-NeXT); a system turn only if one is given."""


def build_tokenizer(corpus: Iterable[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE in which each word of `corpus` is one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2000,  # never reached: merging ends when every word is one token
        min_frequency=1,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=[PAD, BOS, EOT, START, END, IMAGE],
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    make: Any = PreTrainedTokenizerFast
    fast: PreTrainedTokenizerFast = make(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOT,
        pad_token=PAD,
        additional_special_tokens=[START, END],
        extra_special_tokens={"image_token": IMAGE},
        padding_side="left",  # generation appends to the right
        model_max_length=MAX_POSITIONS,
        clean_up_tokenization_spaces=False,
    )
    return fast


def build_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaNextProcessor:
    """Tiles, thumbnail and chat template, with the PIL back end (torchvision is not needed)."""
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": TILE},
        crop_size={"height": TILE, "width": TILE},
        image_grid_pinpoints=PINPOINTS,
    )
    make: Any = LlavaNextProcessor
    processor: LlavaNextProcessor = make(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,  # CLIP's class token, which "default" drops again
        image_token=IMAGE,
        chat_template=CHAT_TEMPLATE,
    )
    return processor


def build_config(tokenizer: PreTrainedTokenizerFast) -> LlavaNextConfig:
    """4 layers of width 128 that see, 4 layers of width 192 that speak."""
    vision = CLIPVisionConfig(
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=TILE,
        patch_size=PATCH,
        projection_dim=128,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=MAX_POSITIONS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    make: Any = LlavaNextConfig
    config: LlavaNextConfig = make(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_grid_pinpoints=PINPOINTS,
        vision_feature_layer=-1,  # with 4 layers none is wasted, unlike -2 of the real model
        vision_feature_select_strategy="default",
        image_seq_length=(TILE // PATCH) ** 2,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return config


def build_model(config: LlavaNextConfig, seed: int) -> LlavaNextForConditionalGeneration:
    """Untrained weights, float32, reproducible by `seed`."""
    torch.manual_seed(seed)
    model: Any = LlavaNextForConditionalGeneration(config)
    text: Any = config.text_config
    model.generation_config.update(
        pad_token_id=text.pad_token_id,
        eos_token_id=text.eos_token_id,
        bos_token_id=text.bos_token_id,
    )
    built: LlavaNextForConditionalGeneration = model.float()
    return built
