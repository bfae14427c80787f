"""Shapes held against transformers' own models, built from the same config.json without weights."""

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from chainsight.errors import CheckpointError
from chainsight.inventory import tokens
from chainsight.planner import shapes
from chainsight.planner.shapes import Picture

LLAMA_3: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128320,
}
QWEN_7B: dict[str, Any] = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
}
QWEN_TOWER = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "out_hidden_size": 3584}
CONFIGS: dict[str, dict[str, Any]] = {
    "LLaVA-NeXT-8B": {"model_type": "llava_next", "text_config": LLAMA_3},
    "LLaVA-NeXT by its defaults": {"model_type": "llava_next"},
    "LLaVA-NeXT on Mistral": {
        "model_type": "llava_next",
        "text_config": {"model_type": "mistral", "vocab_size": 32064},
    },
    "LLaVA-1.5 on Qwen2, tied": {
        "model_type": "llava",
        "text_config": {"model_type": "qwen2", **QWEN_7B, "tie_word_embeddings": True},
        "tie_word_embeddings": True,
    },
    "a LLaVA with biases and two feature layers": {
        "model_type": "llava",
        "multimodal_projector_bias": False,
        "vision_feature_layer": [-2, -3],
        "text_config": {**LLAMA_3, "attention_bias": True, "mlp_bias": True, "head_dim": 96},
        "vision_config": {"model_type": "clip_vision_model", "hidden_size": 384},
    },
    "Qwen2.5-VL-7B": {
        "model_type": "qwen2_5_vl",
        "text_config": {"model_type": "qwen2_5_vl_text", **QWEN_7B},
        "vision_config": QWEN_TOWER,
    },
    "Qwen2.5-VL-3B, tied and flat as published": {
        "model_type": "qwen2_5_vl",
        **QWEN_7B,
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
        "vision_config": {**QWEN_TOWER, "out_hidden_size": 2048},
    },
    "Qwen3-VL by its defaults": {"model_type": "qwen3_vl"},
    "Qwen3-VL-4B": {
        "model_type": "qwen3_vl",
        "tie_word_embeddings": True,
        "text_config": {
            "model_type": "qwen3_vl_text",
            "hidden_size": 2560,
            "intermediate_size": 9728,
            "num_hidden_layers": 36,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "vocab_size": 151936,
            "tie_word_embeddings": True,
        },
        "vision_config": {
            "depth": 24,
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "out_hidden_size": 2560,
            "deepstack_visual_indexes": [5, 11, 17],
        },
    },
}


def outlined(config: dict[str, Any]) -> Any:
    """transformers' model of `config`, without a byte of weights."""
    inner = {key: value for key, value in config.items() if key != "model_type"}
    made = AutoConfig.for_model(config["model_type"], **inner)
    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(made)


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_are_counted_as_transformers_makes_them(name: str) -> None:
    config = CONFIGS[name]
    model, shape = outlined(config), shapes.of(config)
    sizes = {n: p.numel() for n, p in model.named_parameters()}
    tower = sum(size for n, size in sizes.items() if "vision_tower" in n or "visual." in n)
    assert shape.tower.parameters == tower
    assert shape.parameters == sum(sizes.values())


@pytest.mark.parametrize("name", CONFIGS)
def test_linear_layers_are_those_of_transformers(name: str) -> None:
    """They get the adapters; the output layer has none."""
    config = CONFIGS[name]
    model, shape = outlined(config), shapes.of(config)
    linears = [
        (m.in_features, m.out_features)
        for n, m in model.named_modules()
        if isinstance(m, torch.nn.Linear) and not n.endswith("lm_head")
    ]
    ours = shape.text.linears * shape.text.layers + shape.tower.linears + shape.projector
    assert sorted(ours) == sorted(linears)


def test_an_8b_llava_next_has_8_36_billion_parameters() -> None:
    assert shapes.of(CONFIGS["LLaVA-NeXT-8B"]).parameters == 8_355_276_800


def test_pictures_cost_what_the_inventory_says() -> None:
    llava, qwen = (shapes.of(CONFIGS[name]) for name in ("LLaVA-NeXT-8B", "Qwen2.5-VL-7B"))
    for width, height in ((640, 480), (300, 1200), (1240, 1754), (5000, 80)):
        assert llava.picture(width, height).tokens == tokens.llava_next(width, height)
        assert qwen.picture(width, height).tokens == tokens.qwen2_5_vl(width, height)


def test_the_largest_picture_fills_its_tiles() -> None:
    largest = shapes.of(CONFIGS["LLaVA-NeXT-8B"]).largest
    assert largest == Picture(tokens=576 + 48 * 48 + 48, patches=5 * 577)
    assert shapes.of({"model_type": "llava"}).largest == Picture(576, 577)
    assert shapes.of(CONFIGS["Qwen2.5-VL-7B"]).largest == Picture(16384, 4 * 16384)


def test_a_page_is_cut_into_the_tiles_that_fit_it() -> None:
    shape = shapes.of(CONFIGS["LLaVA-NeXT-8B"])
    assert shape.picture(336, 336).patches == 3 * 577  # two tiles and the overview
    assert shape.picture(1240, 1754).patches == 5 * 577


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "model_type 'None': the memory of such a model is not known here"),
        ({"model_type": "idefics3"}, "'idefics3'.*known are llava_next, llava, qwen2_5_vl"),
        ({"model_type": "llava", "text_config": {"model_type": "gpt2"}}, "'gpt2' of text_config"),
        ({"model_type": "llava", "text_config": {"hidden_size": "x"}}, "cannot be read"),
        ({"model_type": "llava", "vision_config": {"patch_size": 0}}, "ZeroDivisionError"),
        ({"model_type": "qwen3_vl", "vision_config": 7}, "TypeError.*copy it again"),
    ],
)
def test_what_is_not_known_is_refused_by_name(config: dict[str, Any], said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        shapes.of(config)
