"""DPO: the cut, the tokens behind it, the reference, what may move, and resume."""

import json
import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from chainsight.config import DpoSection, SftSection
from chainsight.errors import ChainsightError
from chainsight.records import Example, Pair
from chainsight.stages import dpo, sft
from chainsight.store import LocalStore
from chainsight.training import dpo as loops
from chainsight.training import resume
from chainsight.training.data import Maker
from chainsight.vlm import checkpoint
from chainsight.vlm.prefix import ATTENTION

FAST = {"batch_size": 4, "device_batch_size": 2, "learning_rate": 1e-3}


@pytest.fixture
def pairs(world):
    made = [
        Pair(e.id, f"I see {i}, so it is {2 * i}.\n\n### Answer: {2 * i}",
             f"I see {i} and more.\n\n### Answer: {2 * i + 1}", 0, 1)
        for i, e in enumerate(world.examples)
    ]  # fmt: skip
    world.write("pairs", made, Pair)
    return made


def align(world, name="dpo", progress=None, model=None, **changes):
    aligned = world.folder(f"aligned-{name}")
    metrics = dpo.run(
        DpoSection(**(FAST | changes)),
        examples=world.root / "examples",
        pairs=world.root / "pairs",
        policy=world.student,
        aligned=aligned,
        context=world.context(name, progress, **(model or {})),
    )
    return aligned, metrics


def history(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def tensors(folder):
    return load_file(folder / "model.safetensors")


WORDS = [f"w{i}" for i in range(120)]


@pytest.mark.parametrize(
    ("text", "max_words", "expected"),
    [
        (" ".join(WORDS), 90, " ".join(WORDS[:90])),
        (" ".join(WORDS[:90]), 90, " ".join(WORDS[:90])),
        (" ".join(WORDS[:91]), 90, " ".join(WORDS[:90])),
        ("a b\n\nc d e", 3, "a b\n\nc d"),  # a newline does not end a word
        ("a  b c", 3, "a  b"),  # two spaces hold an empty word
        ("a b c", 0, "a b c"),
        ("", 90, ""),
    ],
)
def test_the_cut_is_the_public_codes(text, max_words, expected):
    assert dpo.cut(text, max_words) == expected


@pytest.fixture(scope="module")
def loaded(student_folder):
    return checkpoint.load(student_folder, attention=ATTENTION)


@pytest.fixture(scope="module")
def template(loaded):
    return loaded.template


def labels_of(world, loaded, pair, max_words=90):
    known = {e.id: e for e in world.examples}
    row = dpo.make_row(known, pair, loaded.template, max_words)
    layout = Maker(loaded, "question", pictured=False).pairs([row], ((0,),)).batch.layout
    return [layout.targets[layout.owners == n].tolist() for n in (0, 1)], row, layout


def test_neither_a_cut_nor_a_whole_response_teaches_the_end_of_turn(world, loaded, template):
    long, short = " ".join(WORDS) + "\n\n### Answer: 7", "It is 8.\n\n### Answer: 8"
    pair = Pair(world.examples[0].id, long, short, 0, 1)
    (chosen, rejected), row, layout = labels_of(world, loaded, pair)
    assert template.tokenizer.decode(chosen) == " ".join(WORDS[:90])
    assert template.tokenizer.decode(rejected) == short
    assert template.end_of_turn not in chosen + rejected
    prompt = template.tokenizer.decode(row.chosen.prompt_ids)
    assert prompt.endswith("<|start|>assistant<|end|>\n")
    ids = [*row.chosen.prompt_ids, *row.chosen.response_ids, *row.rejected.response_ids]
    assert layout.input_ids[0].tolist() == ids


def test_the_prompt_is_never_cut(world, template):
    question = " ".join(f"q{i}" for i in range(300))
    asked = Example(**(vars(world.examples[0]) | {"question": question}))
    row = dpo.make_row({asked.id: asked}, Pair(asked.id, "a", "b", 0, 1), template, 90)
    assert question in template.tokenizer.decode(row.chosen.prompt_ids)
    assert row.chosen.prompt_ids == row.rejected.prompt_ids


def test_control_tokens_in_a_sampled_text_stay_text(world, loaded, template):
    loud = "I see <image><image>, so<|eot|><|start|>assistant<|end|>\n### Answer: 8"
    (chosen, rejected), row, _ = labels_of(
        world, loaded, Pair(world.examples[0].id, loud, "<image>", 0, 1)
    )
    assert not template.special_ids & set(chosen + rejected)
    pictures = row.chosen.prompt_ids.count(template.image_id)
    assert [*row.chosen.prompt_ids, *row.chosen.response_ids].count(template.image_id) == pictures


@pytest.mark.parametrize(
    ("tuning", "reference"),
    [("full", "cache"), ("full", "model"), ("lora", "cache"), ("lora", "adapter")],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_first_loss_is_exactly_ln_2(world, pairs, tuning, reference, dtype):
    settings = {"tuning": tuning, "reference": reference, "lora_rank": 2, "max_steps": 1}
    aligned, _ = align(world, model={"dtype": dtype}, **settings)
    (first,) = history(aligned)
    assert first["loss"] == torch.tensor(math.log(2)).item()  # float32's nearest to ln 2
    assert first["rewards/chosen"] == first["rewards/rejected"] == 0.0


def test_training_widens_the_margin_and_writes_a_loadable_model(world, pairs):
    aligned, metrics = align(world, epochs=6)
    curve = history(aligned)
    assert metrics["num_pairs"] == metrics["num_questions"] == 6
    assert metrics["num_steps"] == len(curve) == 9
    assert metrics["num_cut"] == 0
    assert metrics["final_loss"] == curve[-1]["loss"] < math.log(2) - 0.02
    assert metrics["final_reward_accuracies"] == 1.0
    last = curve[-1]
    gap = last["rewards/chosen"] - last["rewards/rejected"]
    assert last["rewards/margins"] == pytest.approx(gap, abs=1e-6)
    assert last["loss"] == pytest.approx(math.log1p(math.exp(-gap)), abs=1e-3)
    checkpoint.load(aligned)


def test_vision_tower_and_projector_stay_frozen_and_the_language_model_moves(world, pairs):
    for tuning in ("full", "lora"):
        aligned, _ = align(world, tuning, tuning=tuning, lora_rank=2)
        before, after = tensors(world.student), tensors(aligned)
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert changed
        assert all(name.startswith("language_model.") for name in changed)


def loss_of(world, pairs, **changes):
    """The loop's loss of all pairs in one batch with a policy a step from its reference."""
    loaded = checkpoint.load(world.student, attention=ATTENTION)
    known = {e.id: e for e in world.examples}
    section = DpoSection(batch_size=8, device_batch_size=8, **changes)
    rows = dpo.build_rows(known, pairs, loaded.template, section)
    trainer = loops.build(loaded, rows, section, world.context(str(changes)))
    torch.manual_seed(0)
    for parameter in loaded.model.parameters():
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    (step,) = trainer.steps
    (forward,) = trainer.dealt(step)
    with torch.no_grad():
        return trainer.part_of_loss(trainer.model, trainer.make(forward), step).item()


def test_token_weights_and_the_sft_term_change_the_loss_as_they_should(world, pairs):
    plain = loss_of(world, pairs)
    losses = {kind: loss_of(world, pairs, token_weights=kind) for kind in ("cos", "linear")}
    assert len({round(v, 5) for v in (plain, *losses.values())}) == 3
    once = loss_of(world, pairs, sft_weight=0.5) - plain
    twice = loss_of(world, pairs, sft_weight=1.0) - plain
    assert twice == pytest.approx(2 * once, rel=1e-4)
    assert twice > 1.0  # the cross entropy of a random model over 262 tokens


def test_mpo_is_the_weighted_sum_of_its_three_terms(world, pairs):
    dpo_ = loss_of(world, pairs)
    bco = loss_of(world, pairs, dpo_weight=0.0, bco_weight=1.0)
    sft_ = loss_of(world, pairs, sft_weight=1.0) - dpo_
    mpo = loss_of(world, pairs, dpo_weight=0.8, bco_weight=0.2, sft_weight=1.0)
    assert mpo == pytest.approx(0.8 * dpo_ + 0.2 * bco + sft_, rel=1e-5)
    assert abs(bco - dpo_) > 0.1


def test_without_a_term_that_compares_there_is_no_dpo():
    with pytest.raises(ValueError, match="dpo_weight and bco_weight are both 0"):
        DpoSection(dpo_weight=0.0, sft_weight=1.0)


def test_weights_apply_to_policy_and_reference_alike(world, pairs):
    for kind in ("cos", "linear"):
        aligned, _ = align(world, kind, token_weights=kind, max_steps=1)
        assert history(aligned)[0]["rewards/chosen"] == 0.0


def test_a_killed_training_goes_on_to_the_same_bytes(
    world, pairs, contents, interrupting, interrupted
):
    options = {"epochs": 3, "save_every_steps": 2}
    straight, metrics = align(world, "straight", **options)
    for killed in (("reference", 3), ("dpo", 0), ("dpo", 3)):  # while scoring, training, twice
        with pytest.raises(interrupted):
            align(world, "killed", interrupting(*killed), **options)
    newest = resume.newest_complete(world.root / "work/killed/checkpoints")
    assert newest.name == "checkpoint-2"
    resumed, again = align(world, "killed", **options)
    assert again == metrics
    assert contents(resumed) == contents(straight)


def test_a_score_line_cut_by_a_kill_is_made_again(world, pairs, contents):
    straight, _ = align(world, "straight")
    scores = world.folder("work/torn") / "reference.jsonl"
    whole = (world.root / "work/straight/reference.jsonl").read_text()
    scores.write_text(whole[: len(whole) - 9])
    resumed, _ = align(world, "torn")
    assert contents(resumed) == contents(straight)
    assert sorted(set(scores.read_text().splitlines())) == sorted(whole.splitlines())


def test_no_pairs_and_strange_pairs_are_refused(world, pairs):
    world.write("pairs", [], Pair)
    with pytest.raises(ChainsightError, match="no pairs; widen"):
        align(world)
    world.write("pairs", [Pair("else/1", "a", "b", 0, 1)], Pair)
    with pytest.raises(ChainsightError, match="'else/1', which is not among the examples"):
        align(world)


def test_cut_responses_are_counted(world):
    long = " ".join(WORDS)
    world.write("pairs", [Pair(world.examples[0].id, long, "short", 0, 1)], Pair)
    _, metrics = align(world)
    assert (metrics["num_pairs"], metrics["num_cut"]) == (1, 1)


def test_an_empty_response_is_a_pair_like_any_other(world):
    world.write("pairs", [Pair(world.examples[0].id, "It is 0.", "", 0, 1)], Pair)
    aligned, _ = align(world, epochs=3)
    assert history(aligned)[-1]["rewards/rejected"] == 0.0


def test_an_adapter_on_an_adapter_in_the_store_answers_as_the_merged_weights(world, pairs):
    """SFT's adapter is the policy; DPO's own names it by its address in the store."""
    options = {"tuning": "lora", "lora_rank": 2, "max_steps": 2, "lora_save": "adapter"}
    policy = world.folder("policy")
    fast = FAST | options
    sft.run(
        SftSection(**fast),
        examples=world.root / "examples",
        rationales=world.root / "rationales",
        policy=policy,
        context=world.context("sft"),
    )
    store = LocalStore(world.root / "store")
    nothing = {"config": {}, "inputs": {}, "input_digests": {}, "metrics": {}, "seconds": 0.0}
    store.commit(policy, kind="policy", key="k", stage="sft", code_version="t", **nothing)
    uri = store.artifact_uri("policy", "k")
    found = []
    for kept in ("adapter", "merged"):
        aligned = world.folder(f"aligned-{kept}")
        context = replace(world.context(kept), inputs={"policy": uri}, fetch=store.fetch)
        dpo.run(
            DpoSection(**(fast | {"lora_save": kept})),
            examples=world.root / "examples",
            pairs=world.root / "pairs",
            policy=store.fetch(uri),
            aligned=aligned,
            context=context,
        )
        found.append(checkpoint.load(aligned, fetch=store.fetch).model.state_dict())
    seal = json.loads((world.root / "aligned-adapter" / "chainsight.json").read_text())
    assert (seal["base_model"]["ref"], seal["base_model"]["stored"]) == (uri, True)
    assert seal["base"] == checkpoint.fingerprint(store.fetch(uri))
    assert all(torch.equal(tensor, found[1][name]) for name, tensor in found[0].items())
