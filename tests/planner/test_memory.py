"""Bytes on a GPU: by hand where they can be counted, by a live count of a whole step elsewhere."""

import weakref
from typing import Any

import pytest
import torch
from models import LLAVA_8B, plan, run
from peft import LoraConfig, get_peft_model
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from transformers import LlamaConfig, LlamaForCausalLM

from chainsight.planner.activations import Manner, Question, activations
from chainsight.planner.memory import (
    CONTEXT_BYTES,
    FRAGMENTATION,
    OPEN,
    PREFILL_TOKENS,
    PROMPT_TEXT,
    _waves,
    manner_of,
    rows,
    trained_parameters,
)
from chainsight.planner.shapes import Decoder, Shape, Tower
from chainsight.vlm import prefix, sampling
from chainsight.vlm.prefix import Branch, Group

ALL, TEXT = 8_354_752_512, 8_030_261_248


def test_full_training_has_float32_weights_gradients_and_two_moments() -> None:
    parts = plan("sft", 1).usual.parts
    assert LLAVA_8B.parameters == ALL
    assert parts["weights"] == parts["gradients"] == 4 * ALL
    assert parts["AdamW"] == 8 * ALL
    copied = 2 * (ALL - 128256 * 4096)  # all but the embedding, a layer at a time
    assert parts["bfloat16 copies"] == copied // LLAVA_8B.text.layers
    assert parts["gathered layers"] == 0


def test_dpo_trains_the_language_model_alone() -> None:
    parts = plan("dpo", 1).usual.parts
    assert parts["weights"] == 4 * ALL
    assert parts["gradients"] == 4 * TEXT


def test_fsdp_cuts_up_weights_gradients_and_moments() -> None:
    alone, shared = plan("sft", 1).usual.parts, plan("sft", 8).usual.parts
    for part in ("weights", "gradients", "AdamW"):
        assert shared[part] == alone[part] // 8
    assert shared["activations"] == alone["activations"]
    ends = 2 * 128256 * 4096 + 4096 + LLAVA_8B.projector_parameters
    layer = LLAVA_8B.text.layer_parameters
    assert shared["gathered layers"] == 4 * (ends + 2 * layer) + 4 * (ends + layer)


def test_ddp_copies_everything_and_sends_gradients_from_buckets() -> None:
    alone, copied = plan("sft", 1).usual.parts, plan("sft", 8, "ddp").usual.parts
    assert copied["weights"] == alone["weights"]
    assert copied["gradients"] == 2 * alone["gradients"]


def test_adapters_alone_have_gradients_and_moments() -> None:
    parts = plan("dpo", 1, dpo={"tuning": "lora", "lora_rank": 64}).usual.parts
    adapters = 64 * 32 * ((4096 + 4096) * 2 + (4096 + 1024) * 2 + (4096 + 14336) * 3)
    assert parts["weights"] == 2 * ALL + 4 * adapters
    assert parts["gradients"] == 4 * adapters
    assert parts["bfloat16 copies"] < 2 * adapters


def test_a_frozen_tower_gets_no_adapters() -> None:
    seen = Manner(lora=8, tower=True, projector=True)
    difference = trained_parameters(LLAVA_8B, seen) - trained_parameters(LLAVA_8B, Manner(lora=8))
    tower = 24 * (4 * 2048 + 2 * 5120)
    assert difference == 8 * (tower + 1024 + 4096 + 2 * 4096)


def test_the_margin_is_a_context_and_a_tenth_of_what_comes_and_goes() -> None:
    need = plan("sft").usual
    coming = need.parts["activations"] + need.parts["passing"]
    assert need.total - need.net == pytest.approx(CONTEXT_BYTES + FRAGMENTATION * coming, abs=1)


def test_a_pair_is_one_prompt_and_two_responses_cut_to_its_words() -> None:
    (pair,) = rows(
        "dpo", LLAVA_8B, run(dpo={"max_words": 90, "device_batch_size": 1}), longest=True
    )
    assert pair == Question(PROMPT_TEXT + 2928, (126, 126), 252, 2885, 2928)
    whole = run(dpo={"max_words": 0}, sample={"max_new_tokens": 300})
    assert rows("dpo", LLAVA_8B, whole, longest=False)[0].branches == (300, 300)


def test_rows_of_sft_are_never_longer_than_max_length() -> None:
    longest = rows("sft", LLAVA_8B, run(), longest=True)
    assert [row.tokens for row in longest] == [PROMPT_TEXT + 2928 + 1024] * 4
    short = run(sft={"max_length": 2048})
    assert {row.tokens for row in rows("sft", LLAVA_8B, short, longest=True)} == {2048}


def test_a_cache_holds_each_prompt_once_and_each_candidate() -> None:
    config = {"batch_size": 2, "num_candidates": 32, "max_new_tokens": 100}
    longest = plan("sample", sample=config).longest
    tokens = OPEN * 2 * (PROMPT_TEXT + 2928) + 2 * 32 * 100
    assert longest.parts["cache"] == tokens * 2 * 1024 * 32 * 2  # keys and values, layers, bfloat16
    assert longest.parts["weights"] == 2 * ALL
    fewer = plan("sample", sample=config | {"num_candidates": 2}).longest
    assert fewer.total < longest.total


def test_candidates_are_scored_in_one_pass_of_a_question() -> None:
    config = {"batch_size": 1, "num_candidates": 32, "max_new_tokens": 512}
    tokens = PROMPT_TEXT + 2928 + 32 * 512
    per_token = 3 * 4096 * 2 + 4 * 4096 + 3 * 14336 * 2
    assert plan("sample", sample=config).longest.parts["passing"] == tokens * per_token


def test_the_planner_knows_how_the_sampler_works() -> None:
    assert (OPEN, PREFILL_TOKENS) == (sampling.OPEN, sampling.PREFILL_TOKENS)


def test_evaluation_reckons_with_the_longest_mode_it_asks_in() -> None:
    direct = plan("evaluate", evaluate={"modes": ["direct"], "batch_size": 4}).usual
    both = plan("evaluate", evaluate={"batch_size": 4}).usual
    assert both.tokens - direct.tokens == 4 * (512 - 32)


def test_the_manner_is_the_sections() -> None:
    config = run(sft={"vision_learning_rate": 0, "tuning": "lora", "lora_rank": 8})
    assert manner_of(config.sft, config.model) == Manner(
        bfloat16=True, lora=8, checkpointing=True, tower=False, projector=True
    )
    assert manner_of(config.dpo, config.model) == Manner(bfloat16=True, checkpointing=True)


# --- a whole step, counted live --------------------------------------------------------------


class Live(TorchDispatchMode):
    """Bytes of all storages that operations make, as they come and go: what a GPU's allocator
    would count."""

    def __init__(self, known: list[torch.Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.sizes = {tensor.untyped_storage()._cdata: 0 for tensor in known}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_iter(made):
            if isinstance(tensor, torch.Tensor):
                self.note(tensor.untyped_storage())
        return made

    def note(self, storage: torch.UntypedStorage) -> None:
        number = storage._cdata
        if number not in self.sizes:
            self.sizes[number] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self.free, number)

    def free(self, number: int) -> None:
        self.now -= self.sizes.pop(number, 0)


STEPS = [
    Manner(),
    Manner(checkpointing=True),
    Manner(bfloat16=True),
    Manner(bfloat16=True, checkpointing=True),
    Manner(bfloat16=True, lora=16),
    Manner(bfloat16=True, lora=16, checkpointing=True),
]


@pytest.mark.parametrize("manner", STEPS)
def test_a_steps_peak_is_within_a_tenth_of_the_plan(manner: Manner) -> None:
    text = Decoder(6, 256, 704, 8, 2, 32, 2000, tied=False)
    shape = Shape(text, Tower("clip", 0, 0, 0, (), 0), (), 0, None, None)  # type: ignore[arg-type]
    question = Question(400, (40, 30), 70)
    live = _step(text, question, manner)
    found = activations(shape, [question], manner)
    planned = found.kept + sum(_waves(shape, [question], manner, found))
    print(f"{manner} | {live.peak} | {planned}")
    assert planned == pytest.approx(live.peak, rel=0.1)


def _step(text: Decoder, question: Question, manner: Manner) -> Live:
    """One forward and backward pass with gradients in place, as in the middle of a training."""
    config = LlamaConfig(
        hidden_size=text.hidden,
        intermediate_size=text.intermediate,
        num_hidden_layers=text.layers,
        num_attention_heads=text.heads,
        num_key_value_heads=text.kv_heads,
        vocab_size=text.vocabulary,
        attn_implementation=prefix.ATTENTION,
    )
    model: Any = LlamaForCausalLM(config)
    if manner.lora:
        names = r".*(q|k|v|o|gate|up|down)_proj"
        model = model.to(torch.bfloat16 if manner.bfloat16 else torch.float32)
        model = get_peft_model(model, LoraConfig(r=manner.lora, target_modules=names))
    if manner.checkpointing:
        model.activation_checkpointing_enable()
        model.enable_input_require_grads()
    model.train()
    weights = list(model.parameters())
    for weight in weights:
        weight.grad = torch.zeros_like(weight) if weight.requires_grad else None
    branches = tuple(Branch([2] * n, [2] * n) for n in question.branches)
    layout = prefix.lay_out([Group([1] * question.prompt, branches)])
    known = [*weights, *(w.grad for w in weights if w.grad is not None)]
    with Live(known) as live:
        with torch.autocast("cpu", torch.bfloat16, manner.bfloat16, cache_enabled=False):
            logits = model(**prefix.forward(layout, layout.positions[0])).logits.float()
            loss = prefix.token_logps(logits, layout).sum()
        loss.backward()
    return live
