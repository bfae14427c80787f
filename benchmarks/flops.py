"""FLOPs that a training step needs at least, and what a chip could do.

Work is counted once: nothing that a trainer computes twice, nothing that gradient checkpointing
repeats. A backward pass costs two forward passes, of which adapters skip the one for weights.
"""

from collections.abc import Sequence
from typing import Any

CHIPS = {
    "B200": 2250.0,
    "GH200": 989.0,
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100": 989.0,
    "H800": 989.0,
    "A100": 312.0,
    "A800": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
    "A10": 125.0,
    "RTX 4090": 165.2,
    "RTX 3090": 71.2,
}
"""Dense bfloat16 peak in TFLOP/s, from the makers' data sheets; the first name that fits counts."""


def peak(chip: str) -> float | None:
    """FLOP/s of a chip by the name that CUDA gives; None if it is not in the table."""
    found = next((rate for name, rate in CHIPS.items() if name in chip), None)
    return found * 1e12 if found else None


def language(config: Any, prompt: int, responses: Sequence[int]) -> float:
    """One forward pass over a prompt and its responses, each token once.

    `config` is the language model's; attention counts the pairs that are seen.
    """
    size = config.hidden_size // config.num_attention_heads
    attention = config.hidden_size * (
        2 * config.hidden_size + 2 * config.num_key_value_heads * size
    )
    layer = attention + 3 * config.hidden_size * config.intermediate_size
    tokens, learned = prompt + sum(responses), sum(responses)
    seen = prompt**2 / 2 + sum(prompt * r + r**2 / 2 for r in responses)
    layers = config.num_hidden_layers * (2 * layer * tokens + 4 * config.hidden_size * seen)
    return float(layers + 2 * config.hidden_size * config.vocab_size * learned)


def vision(config: Any, tiles: int) -> float:
    """One forward pass of the tower over tiles, all of its layers."""
    tokens = (config.image_size // config.patch_size) ** 2 + 1
    width = config.hidden_size
    layer = 4 * width**2 + 2 * width * config.intermediate_size
    each = config.num_hidden_layers * (2 * layer * tokens + 4 * width * tokens**2)
    return float(tiles * each)


def step(
    config: Any, prompt: int, responses: Sequence[int], *, tuning: str, reference: bool, tiles: int
) -> float:
    """A whole step: the policy both ways, the reference forward, the pictures once."""
    passes = (2 if tuning == "lora" else 3) + reference
    once = vision(config.vision_config, tiles)
    return passes * language(config.text_config, prompt, responses) + once
