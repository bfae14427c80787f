"""The tiny model's tokenizer, template and processor, and the committed checkpoint."""

import io
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, LlavaNextForConditionalGeneration

from chainsight.demo import bars, lessons, pretrain, tiny
from chainsight.prompts import MARKER, SUFFIXES

BASE = Path(tiny.__file__).parent / "base"


@pytest.fixture(scope="module")
def processor() -> Any:
    return tiny.build_processor(tiny.build_tokenizer(lessons.corpus()))


@pytest.fixture(scope="module")
def model(processor: Any) -> Any:
    built: Any = tiny.build_model(tiny.build_config(processor.tokenizer), seed=0)
    return built.eval()


def prompt(processor: Any, text: str) -> str:
    content = [{"type": "image"}, {"type": "text", "text": text}]
    rendered: str = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )
    return rendered


@pytest.mark.parametrize(
    "text",
    ["héllo 日本語 🎉", "x = 3.14159\n\n\tcode  here ", "1234567 and 12%", " lead", "a\r\nb\n"],
)
def test_any_text_round_trips(processor: Any, text: str) -> None:
    ids = processor.tokenizer(text).input_ids
    assert processor.tokenizer.decode(ids) == text


def test_the_words_of_the_demo_are_single_tokens(processor: Any) -> None:
    words = [f" {name}" for name in bars.NAMES] + [f" {n}" for n in range(19)]
    for word in [*words, " is", " plus", "###", " Answer", "jan", "12"]:
        assert len(processor.tokenizer(word).input_ids) == 1, word


def test_the_template_is_the_wire_format(processor: Any) -> None:
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Why?"}]},
        {"role": "assistant", "content": "So."},
    ]
    assert processor.apply_chat_template(messages) == (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n<image>\nWhy?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nSo.<|eot_id|>"
    )


def test_no_system_turn_unless_one_is_given(processor: Any) -> None:
    assert "system" not in prompt(processor, "Why?")


@pytest.mark.parametrize("answer", ["12", "jan", "The bars", "\tx", " 3"])
def test_a_prompts_tokens_begin_the_conversations_tokens(processor: Any, answer: str) -> None:
    asked = prompt(processor, "Why?")
    alone = processor.tokenizer(asked).input_ids
    assert processor.tokenizer(asked + answer).input_ids[: len(alone)] == alone


@pytest.mark.parametrize("size", [(64, 64), (640, 480), (300, 900), (1000, 100), (37, 800)])
def test_real_image_shapes_pass(processor: Any, model: Any, size: tuple[int, int]) -> None:
    inputs = processor(
        images=[Image.new("RGB", size)], text=[prompt(processor, "Why?")], return_tensors="pt"
    )
    with torch.no_grad():
        logits = model(**inputs).logits
    assert torch.isfinite(logits).all()


def test_branches_do_not_see_each_other(processor: Any, model: Any) -> None:
    chart = next(bars.charts(0, "pretrain"))
    pack = pretrain.Packer(processor, pretrain.read_pixels(processor, [chart]))
    first, second = ("How high is jan?", "3"), ("List the bars.", bars.listing(chart.table))
    with torch.no_grad():
        both, _ = pretrain.answer_logits(model, pack([lessons.Lesson("", 0, (first, second))]))
        alone, _ = pretrain.answer_logits(model, pack([lessons.Lesson("", 0, (second,))]))
    torch.testing.assert_close(both[-len(alone) :], alone, rtol=1e-4, atol=1e-5)


def test_the_packed_prefix_is_the_processors_prompt(processor: Any, model: Any) -> None:
    """Packing and the processor's road give the same logits for the same conversation."""
    chart = next(bars.charts(0, "pretrain"))
    pack = pretrain.Packer(processor, pretrain.read_pixels(processor, [chart]))
    turns = (("How high is jan?", "3"),)
    inputs = processor(
        images=[Image.open(io.BytesIO(chart.image))],
        text=[prompt(processor, turns[0][0]) + "3<|eot_id|>"],
        return_tensors="pt",
    )
    with torch.no_grad():
        packed, _ = pretrain.answer_logits(model, pack([lessons.Lesson("", 0, turns)]))
        plain = model(**inputs).logits[0, -3:-1]
    torch.testing.assert_close(packed, plain, rtol=1e-4, atol=1e-5)


def test_the_base_never_meets_the_reasoning_prompt_or_the_marker() -> None:
    rows = list(islice(lessons.text_lessons(0), 300))
    tables = [chart.table for chart in islice(bars.charts(0, "pretrain"), 50)]
    for phase in pretrain.PHASES:
        rows += islice(lessons.picture_lessons(0, tables, phase.turns), 300)
    taught = [turn for row in rows for turn in row.turns]
    assert not any(SUFFIXES["cot", False] in question for question, _ in taught)
    assert not any(MARKER in answer for _, answer in taught)


@pytest.fixture(scope="module")
def base() -> tuple[Any, Any]:
    model: Any = LlavaNextForConditionalGeneration.from_pretrained(BASE, dtype=torch.float32)
    processors: Any = AutoProcessor
    return model.eval(), processors.from_pretrained(BASE)


def test_the_committed_checkpoint_is_small() -> None:
    assert sum(file.stat().st_size for file in BASE.iterdir()) < 10_000_000


def test_the_readme_names_the_committed_weights() -> None:
    digest = pretrain.sha256(BASE / "model.safetensors")
    assert digest in (BASE / "README.md").read_text(encoding="utf-8")


def test_the_committed_base_reads_charts_it_never_saw(base: tuple[Any, Any]) -> None:
    rates = pretrain.report(*base, num_charts=40)
    assert rates["review"] >= 0.3  # 0.50 of 80 charts; the last phase unlearned the bare list
    assert 0.15 <= rates["direct"] <= 0.6
