"""Random checkpoints of each family, a few hundred kB: real classes, special tokens and templates.

The tokenizers know single characters and the family's control tokens; the chat templates say what
the published ones say.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from chainsight.vlm import checkpoint
from chainsight.vlm.processors import without_videos

LLAVA_CHAT = (
    "{% for message in messages %}"
    "{% if message['role'] != 'system' %}{{ message['role'].upper() + ': ' }}{% endif %}"
    "{% for item in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\n' }}{% endfor %}"
    "{% for item in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ item['text'] + ' ' }}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
"""llava-hf/llava-1.5-7b-hf: pictures first, a space before the answer, no token after it."""

QWEN_CHAT = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for item in message['content'] %}"
    "{% if item['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in item %}{{ item['text'] }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Qwen/Qwen2.5-VL-7B-Instruct, without tools, videos and numbered pictures."""

QWEN_CONTROLS = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
    "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>",
    "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
]  # fmt: skip


def llava(folder: Path) -> Path:
    """LLaVA-1.5: one square tile of 2 x 2 patches a picture."""
    tokenizer = _sentencepieces()
    images = CLIPImageProcessorPil(
        size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}
    )
    processor = LlavaProcessor(
        images, tokenizer, patch_size=8, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, image_token="<image>", chat_template=LLAVA_CHAT,
    )  # fmt: skip
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        image_size=16, patch_size=8, projection_dim=32,
    )  # fmt: skip
    text = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=48, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=2048,
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=vision, text_config=text, vision_feature_layer=-2, image_seq_length=4,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    return _written(folder, LlavaForConditionalGeneration, config, processor)


def qwen2_vl(folder: Path) -> Path:
    vision: Any = {"depth": 2, "embed_dim": 32, "hidden_size": 48, "num_heads": 2, "mlp_ratio": 2}
    return _qwen(
        folder, Qwen2VLForConditionalGeneration, Qwen2VLConfig, Qwen2VLProcessor, vision
    )  # fmt: skip


def qwen2_5_vl(folder: Path) -> Path:
    """Windows of 2 x 2 tokens in the tower's first layer, the second sees the whole picture."""
    vision: Any = {
        "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2,
        "out_hidden_size": 48, "window_size": 32, "fullatt_block_indexes": [1],
    }  # fmt: skip
    kinds: Any = (Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLConfig, Qwen2_5_VLProcessor)
    return _qwen(folder, *kinds, vision)


def qwen3_vl(folder: Path) -> Path:
    """The tower's first layer goes into the language model's first, too (deepstack); the output
    layer is the embedding, as in the published models of up to 4B."""
    vision: Any = {
        "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2,
        "out_hidden_size": 48, "num_position_embeddings": 16, "deepstack_visual_indexes": [0],
    }  # fmt: skip
    kinds: Any = (Qwen3VLForConditionalGeneration, Qwen3VLConfig, Qwen3VLProcessor)
    return _qwen(folder, *kinds, vision, tied=True, head_dim=12)


MADE: dict[str, Callable[[Path], Path]] = {
    "llava": llava,
    "qwen2_vl": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
}
"""By `model_type`; LLaVA-NeXT is the demo's and `student_folder`."""


def _qwen(
    folder: Path,
    model: Any,
    config: Any,
    processor: Any,
    vision: dict[str, Any],
    tied: bool = False,
    **text: Any,
) -> Path:
    """A picture of 4 to 64 tokens of 16 x 16 pixels."""
    tokenizer = _bytewise(QWEN_CONTROLS)
    images = Qwen2VLImageProcessorPil(
        size={"shortest_edge": 4 * 16**2, "longest_edge": 64 * 16**2}, patch_size=8
    )
    known = {f"{name}_token_id": f"<|{name}|>" for name in ("vision_start", "vision_end")}
    known |= {"image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>"}
    written = text | {
        "vocab_size": len(tokenizer), "hidden_size": 48, "intermediate_size": 96,
        "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 2048, "tie_word_embeddings": tied,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 2, 2]},
        "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 0,
    }  # fmt: skip
    made = config(
        text_config=written,
        tie_word_embeddings=tied,
        vision_config=vision | {"patch_size": 8, "spatial_merge_size": 2},
        **{name: tokenizer.convert_tokens_to_ids(token) for name, token in known.items()},
    )
    bare = without_videos(processor)(images, tokenizer, chat_template=QWEN_CHAT)
    return _written(folder, model, made, bare)


def _written(folder: Path, model: Any, config: Any, processor: Any) -> Path:
    torch.manual_seed(7)
    made = model(config).float()
    for name, parameter in made.named_parameters():
        if parameter.dim() > 1 and "language_model" in name:
            parameter.data.mul_(4)  # so that answers differ from prompt to prompt
        elif parameter.dim() > 1:
            parameter.data.mul_(10)  # and from picture to picture
    made.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    made.save_pretrained(folder)
    processor.save_pretrained(folder)
    checkpoint.seal(folder, base="random", kind="full", system_prompt=True)
    return folder


def _bytewise(controls: list[str]) -> PreTrainedTokenizerFast:
    """As Qwen's: bytes, no token before a text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*controls, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>",
        additional_special_tokens=[t for t in controls if t not in ("<|im_end|>", "<|endoftext|>")],
        padding_side="left",
    )  # fmt: skip


def _sentencepieces() -> PreTrainedTokenizerFast:
    """As Llama's: a space before each text and inside words as a mark, bytes as a fallback."""
    controls = ["<unk>", "<s>", "</s>", "<pad>", "<image>"]
    pieces = ["▁", "\n", *map(chr, range(33, 127)), *(f"<0x{i:02X}>" for i in range(256))]
    vocabulary = {token: i for i, token in enumerate([*controls, *pieces])}
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
         decoders.Strip(" ", 1, 0)]
    )  # fmt: skip
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>",
        pad_token="<pad>", extra_special_tokens={"image_token": "<image>"}, padding_side="left",
    )  # fmt: skip
