"""What the benchmarks count, on a model of two layers: the figures are exact."""

from dataclasses import replace

import pytest
import torch

from benchmarks import cases, ours, peers
from benchmarks.counters import Counts, counting
from benchmarks.llava import TINY, fresh_template
from benchmarks.questions import lengths, pairs, question, rows, targets
from benchmarks.stand import Place, Stand

PLACE = Place(TINY)
P = 122
"""Tokens of a question of twelve words with a picture of 104 tokens."""


@pytest.fixture(scope="module")
def stand() -> Stand:
    return Stand(PLACE, "dpo", "lora")


def counted(stand: Stand, run) -> Counts:
    processor = stand.loaded.processor.image_processor
    with counting(*stand.models, image_processor=processor) as counts:
        run()
    return counts


def test_ours_computes_a_prompt_once_for_both_responses_of_a_pair(stand):
    asked = question(0, [11, 9])
    batch = ours.prepared(stand.loaded, rows(stand.loaded, asked))
    stand.ours()
    counts = counted(
        stand, lambda: ours.dpo_step(stand.loaded, stand.policy, stand.reference, batch)
    )
    assert counts.lm_tokens == 2 * (P + 11 + 9)  # policy and reference
    assert counts.vision_tiles == 5
    assert counts.head_rows == 2 * (11 + 9)


def test_trl_computes_it_for_each_response_and_its_picture_in_each_pass(stand):
    inputs = stand.collated(pairs(question(0, [11, 9])))
    stand.theirs(peers.tuned())()
    counts = counted(stand, lambda: peers.step(stand.trainer, inputs))
    assert counts.lm_tokens == 2 * 2 * (P + 11)  # the shorter response is padded
    assert counts.vision_tiles == 2 * 2 * 5
    assert counts.head_rows == 2 * 2 * (P + 11 - 1)  # every position but the last, on a CPU


def test_what_checkpointing_computes_again_is_not_counted(stand):
    inputs = stand.collated(pairs(question(0, [11, 9])))
    stand.theirs(peers.DEFAULT)()
    counts = counted(stand, lambda: peers.step(stand.trainer, inputs))
    assert counts.lm_tokens == 2 * 2 * (P + 11)


def test_eight_responses_of_one_question_cost_one_prompt(stand):
    asked = question(1, lengths(10, 8))
    batch = ours.prepared(stand.loaded, rows(stand.loaded, asked))
    stand.ours()
    counts = counted(stand, lambda: ours.score(stand.loaded, stand.policy, batch))
    assert counts.lm_tokens == P + sum(lengths(10, 8))
    assert counts.vision_tiles == 5


def test_a_pair_has_its_picture_prepared_once_by_ours_and_twice_by_trl(stand):
    case = cases.data(stand, 3)
    images = [counted(stand, one.run).images for one in case.contenders]
    assert images == [3, 6]


def test_a_prepared_picture_is_not_prepared_again(stand):
    fresh = fresh_template(stand.loaded)
    asked = question(0, [11, 9])

    def twice() -> None:
        for _ in range(2):
            ours.prepared(fresh, rows(fresh, asked))

    assert counted(stand, twice).images == 1


def test_generate_reads_the_prompt_once_a_sample_and_ours_once():
    case = cases.sampling(PLACE, 4)
    tokens = []
    for one in case.contenders:
        one.ready()
        with counting(*case.models) as counts:
            one.run()
        tokens.append(counts.lm_tokens)
    assert tokens[0] <= P + 4 * 9 < tokens[1]
    assert tokens[1] >= 4 * P


def test_kept_activations_are_each_tensors_memory_once_and_no_weights(stand):
    weight = stand.loaded.model.get_output_embeddings().weight.requires_grad_(True)
    kept = []

    def run() -> None:
        states = torch.randn(10, 64, requires_grad=True)
        logits = states @ weight.T  # keeps states and weight
        kept.append((logits.exp() + logits.exp(), states.square()))  # two results; states again

    with counting(*stand.models) as counts:
        run()
    assert counts.saved_bytes == 4 * 10 * (64 + 2 * len(weight))


def test_one_question_of_two_instructions_is_one_group(stand):
    made = rows(stand.loaded, cases.direct_and_reasoned(10))
    batch = ours.prepared(stand.loaded, made)
    assert len(batch.layout.spans) == 1
    assert batch.layout.num_branches == 2


@pytest.mark.parametrize("with_image", [True, False])
def test_both_sides_are_given_the_same_tokens(stand, with_image):
    asked = question(2, [11, 7], with_image=with_image)
    made = rows(stand.loaded, asked)
    inputs = stand.collated(pairs(asked))
    for row, ids, mask in zip(made, inputs["input_ids"], inputs["attention_mask"], strict=True):
        assert ids[mask.bool()].tolist() == [*row.prompt_ids, *row.response_ids]


def test_both_sides_are_given_the_same_targets():
    stand = Stand(PLACE, "sft", "lora")
    asked = cases.direct_and_reasoned(10)
    inputs = stand.collated(targets(asked))
    learned = [ids[ids != -100].tolist() for ids in inputs["labels"]]
    assert learned == [list(row.response_ids) for row in rows(stand.loaded, asked)]


def test_a_shape_says_how_many_tokens_a_picture_has(stand):
    row = rows(stand.loaded, question(0, [11]))[0]
    assert row.prompt_ids.count(stand.loaded.template.image_id) == TINY.image_tokens == 88
    assert replace(TINY, tile=336, patch=14).image_tokens == 2928
