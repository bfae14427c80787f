"""FLOPs against figures worked out by hand for Llama 3 8B with CLIP L/14 of 336 pixels."""

import pytest
from transformers import CLIPVisionConfig, LlamaConfig

from benchmarks import flops

LLAMA = LlamaConfig(
    vocab_size=128_256,
    hidden_size=4096,
    intermediate_size=14_336,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=8,
)
CLIP = CLIPVisionConfig(
    hidden_size=1024,
    intermediate_size=4096,
    num_hidden_layers=24,
    num_attention_heads=16,
    image_size=336,
    patch_size=14,
)


def test_a_pair_that_shares_its_prompt_takes_half_of_two_rows():
    shared = flops.language(LLAMA, 2900, [90, 90])
    rows = 2 * flops.language(LLAMA, 2900, [90])
    assert shared == pytest.approx(45.67e12, rel=1e-3)
    assert rows == pytest.approx(88.35e12, rel=1e-3)


def test_five_tiles_take_two_teraflops():
    assert flops.vision(CLIP, 5) == pytest.approx(1.91e12, rel=0.02)


@pytest.mark.parametrize(("tuning", "passes"), [("lora", 2), ("full", 3)])
def test_adapters_skip_the_backward_pass_for_weights(tuning, passes):
    class Both:
        text_config, vision_config = LLAMA, CLIP

    given = {"tuning": tuning, "tiles": 5}
    one = flops.language(LLAMA, 2900, [90, 90])
    alone = flops.step(Both, 2900, [90, 90], reference=False, **given)
    with_reference = flops.step(Both, 2900, [90, 90], reference=True, **given)
    assert alone == pytest.approx(passes * one + flops.vision(CLIP, 5))
    assert with_reference - alone == pytest.approx(one)


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H200", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("Radeon", None),
    ],
)
def test_a_chip_is_known_by_its_name(name, peak):
    assert flops.peak(name) == peak
