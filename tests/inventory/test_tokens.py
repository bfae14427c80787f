"""Image tokens, held against the processors that transformers has; and OpenAI's own examples."""

import random
from typing import Any

import pytest

from chainsight.inventory import tokens
from chainsight.inventory.tokens import Patches, fitted, gpt_4o, gpt_4o_mini, llava_next, qwen2_5_vl
from chainsight.teacher import images

EDGES = [
    1,
    2,
    13,
    14,
    27,
    28,
    29,
    335,
    336,
    337,
    511,
    512,
    513,
    671,
    672,
    673,
    768,
    1008,
    1024,
    4000,
]
SIZES = [(width, height) for width in EDGES for height in EDGES]
RANDOM = random.Random(0)
SIZES += [(RANDOM.randint(1, 3000), RANDOM.randint(1, 3000)) for _ in range(2000)]


@pytest.fixture(scope="module")
def llava_processor() -> Any:
    from transformers import LlavaNextProcessor
    from transformers.models.llava_next.image_processing_pil_llava_next import (
        LlavaNextImageProcessorPil,
    )

    processor = LlavaNextProcessor.__new__(LlavaNextProcessor)  # counting needs no tokenizer
    processor.image_processor = LlavaNextImageProcessorPil(
        image_grid_pinpoints=[[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
    )
    processor.patch_size, processor.num_additional_image_tokens = 14, 1
    processor.vision_feature_select_strategy = "default"
    return processor


def test_llava_next_counts_as_its_processor(llava_processor: Any) -> None:
    for width, height in SIZES:
        counted = llava_processor._get_number_of_features(height, width, 336, 336) - 1
        assert llava_next(width, height) == counted, (width, height)


def test_qwen_counts_as_its_processor() -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    for width, height in SIZES:
        if max(width, height) <= 200 * min(width, height):  # it refuses others
            tall, wide = smart_resize(height, width, 28, 56 * 56, 16384 * 28 * 28)
            assert qwen2_5_vl(width, height) == tall * wide // 28**2, (width, height)


@pytest.mark.parametrize(
    ("size", "num_tokens"),
    [
        ((1024, 1024), 765),
        ((2048, 4096), 1105),
        ((512, 512), 255),
        ((513, 512), 425),
        ((1, 1), 255),
    ],
)
def test_gpt_4o_counts_as_in_openais_guide(size: tuple[int, int], num_tokens: int) -> None:
    """The first two are worked out in the guide."""
    assert gpt_4o(*size) == num_tokens


def test_gpt_4o_mini_has_the_same_tiles() -> None:
    for size in SIZES:
        assert (gpt_4o(*size) - 85) // 170 == (gpt_4o_mini(*size) - 2833) // 5667


@pytest.mark.parametrize(
    ("size", "num_patches"),
    [
        ((1024, 1024), 1024),
        ((1800, 2400), 1452),
        ((1, 1), 1),
        ((33, 32), 2),
        ((1536, 1024), 1536),
        ((1537, 1024), 1457),  # 47 x 31: one pixel more, and it is shrunk
        ((4000, 1474), 1449),  # what OpenAI's own calculator said in 2025
    ],
)
def test_patches_are_counted_as_in_openais_guide(size: tuple[int, int], num_patches: int) -> None:
    """The first two are worked out in the guide."""
    assert Patches(1.0)(*size) == num_patches


@pytest.mark.parametrize(
    ("size", "becomes"),
    [((800, 600), (800, 600)), ((2048, 1024), (1024, 512)), ((5000, 1), (1024, 1))],
)
def test_an_image_is_shrunk_and_never_enlarged(
    size: tuple[int, int], becomes: tuple[int, int]
) -> None:
    assert fitted(*size, 1024) == becomes


def test_the_teachers_images_are_shrunk_by_this_rule() -> None:
    assert images.fitted is tokens.fitted
