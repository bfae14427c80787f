"""SFT: which rows, which labels, which weights move, and resume to the last bit."""

import json
import resource
import shutil
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from chainsight import prompts
from chainsight.config import SftSection
from chainsight.errors import ChainsightError, CheckpointError
from chainsight.launch.checkpoints import Mirror
from chainsight.records import Rationale
from chainsight.stages import sft
from chainsight.store import LocalStore
from chainsight.training import data, plan, resume
from chainsight.training.lessons import Reasons, build_rows
from chainsight.vlm import checkpoint
from chainsight.vlm.prefix import ATTENTION

FAST = {
    "batch_size": 4,
    "device_batch_size": 2,
    "learning_rate": 3e-3,
    "vision_learning_rate": 1e-3,
}


def train(world, name="sft", progress=None, model=None, **changes):
    policy = world.folder(f"policy-{name}")
    metrics = sft.run(
        SftSection(**(FAST | changes)),
        examples=world.root / "examples",
        rationales=world.root / "rationales",
        policy=policy,
        context=world.context(name, progress, **(model or {})),
    )
    return policy, metrics


def history(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def tensors(folder):
    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def loaded(student_folder):
    return checkpoint.load(student_folder, attention=ATTENTION)


@pytest.fixture(scope="module")
def template(loaded):
    return loaded.template


def rows_of(world, template, **changes):
    reasons = {r.example_id: r.text for r in world.rationales}
    known = {e.id: e for e in world.examples}
    return build_rows(known, Reasons(reasons), template, SftSection(**changes))


def test_exactly_the_answer_and_its_end_of_turn_are_labelled(world, loaded, template):
    rows = rows_of(world, template).kept
    units = plan.units(data.sharing(rows, "question"))
    layout = data.Maker(loaded, "question", pictured=False).rows(rows, units).layout
    assert len(layout.spans) == len(rows) // 2
    wanted = [t for e, r in zip(world.examples, world.rationales, strict=True)
              for t in (prompts.short_answer(e), r.text)]  # fmt: skip
    for branch, target in enumerate(wanted):
        learned = layout.targets[layout.owners == branch].tolist()
        assert template.tokenizer.decode(learned) == f"{target}<|eot|>"
        assert learned.count(template.end_of_turn) == 1


def test_every_example_gives_a_direct_row_and_each_rationale_a_reasoned_one(world, template):
    world.rationales = world.rationales[:2]
    rows = rows_of(world, template)
    assert rows.counts == {("toy", "direct"): 6, ("toy", "cot"): 2}


def test_a_request_is_learned_word_for_word_and_counted_apart(world, template):
    request = replace(
        world.examples[0], id="llava/1", dataset="llava", kind="instruct",
        question="Describe it.", references=(" A red\n square. ",),
    )  # fmt: skip
    world.examples.insert(0, request)
    rows = rows_of(world, template, composition="format", format_rows=2)
    text = template.tokenizer.decode(rows.kept[0].prompt_ids)
    assert "\nDescribe it.<|eot|>" in text
    assert template.tokenizer.decode(rows.kept[0].response_ids) == " A red\n square. <|eot|>"
    assert rows.metrics() == {
        "num_direct": 2.0,
        "num_cot": 2.0,
        "num_instruct": 1.0,
        "llava/num_instruct": 1.0,
        "toy/num_direct": 2.0,
        "toy/num_cot": 2.0,
        "num_turns_cut": 0.0,
        "num_learned_tokens": 71.0,
        "num_too_long": 0.0,
    }


def test_a_composition_of_nothing_is_refused(world, template):
    nothing = {"composition": "direct", "direct_ratio": 0.0, "format_rows": 0}
    with pytest.raises(ChainsightError, match="composition 'direct' leaves nothing to learn"):
        rows_of(world, template, **nothing)


def test_requests_alone_need_no_rationale(world, template):
    world.rationales = []
    world.examples = [replace(e, kind="instruct") for e in world.examples]
    assert len(rows_of(world, template).kept) == 6


def test_all_pictures_of_an_example_are_in_its_rows(world, loaded, template, png):
    asked = "Is <image 2> like <image 1>?"
    both = (*world.examples[0].images, png("blue"))
    world.examples = [replace(world.examples[0], question=asked, images=both)]
    world.rationales = world.rationales[:1]
    rows = rows_of(world, template).kept
    assert [row.images for row in rows] == [world.examples[0].images[::-1]] * 2
    batch = data.Maker(loaded, "question", pictured=False).rows(rows, ((0, 1),))
    assert batch.pictures["image_sizes"].tolist() == [[32, 32], [24, 64]]


def test_a_style_is_trained_and_said_in_the_seal(world, template):
    policy, _ = train(world, "styled", max_steps=1, model={"prompt_style": "vlmevalkit"})
    assert checkpoint.load(policy).prompt_style == "vlmevalkit"
    plain, _ = train(world, "plain", max_steps=1)
    assert checkpoint.load(plain).prompt_style == "paper"
    assert "prompt_style" not in json.loads((plain / "chainsight.json").read_text())
    assert tensors(plain).keys() == tensors(policy).keys()
    assert history(plain) != history(policy)
    kept, _ = train(world, "adapter", max_steps=1, model={"prompt_style": "lmms_eval"},
                    tuning="lora", lora_rank=2, lora_save="adapter")  # fmt: skip
    assert checkpoint.load(kept).prompt_style == "lmms_eval"


def test_a_row_above_max_length_is_dropped_and_counted_and_one_at_it_is_kept(world, template):
    lengths = sorted(len(row) for row in rows_of(world, template).kept)
    rows = rows_of(world, template, max_length=lengths[-1] - 1)
    longest = lengths.count(lengths[-1])
    assert (rows.num_too_long, len(rows.kept)) == (longest, 12 - longest)
    assert rows_of(world, template, max_length=lengths[-1]).num_too_long == 0
    with pytest.raises(ChainsightError, match="none of 12 rows fits into max_length 20"):
        rows_of(world, template, max_length=20)


def test_without_rationales_there_is_nothing_to_learn(world, template):
    world.rationales = []
    with pytest.raises(ChainsightError, match="no rationales were kept"):
        rows_of(world, template)
    assert len(rows_of(world, template, composition="direct", format_rows=0).kept) == 6


def test_a_rationale_of_an_unknown_example_is_refused(world, template):
    world.rationales.append(Rationale("else/1", "x", "x", "marker", "t", 1, 1, 0.0))
    with pytest.raises(ChainsightError, match="'else/1', which is not among the examples"):
        rows_of(world, template)


def test_training_lowers_the_loss_and_writes_a_loadable_policy(world):
    policy, metrics = train(world, epochs=8)
    assert metrics["num_steps"] == 24
    assert (metrics["num_direct"], metrics["num_cot"], metrics["num_too_long"]) == (6, 6, 0)
    curve = history(policy)
    assert [entry["step"] for entry in curve] == list(range(1, 25))
    assert curve[-1]["loss"] == metrics["final_loss"] < 0.8 * curve[0]["loss"]
    assert set(curve[0]) == {"step", "loss", "learning_rate", "grad_norm"}
    assert curve[0]["learning_rate"] == 0.0  # warm-up of one step
    assert max(entry["learning_rate"] for entry in curve) == FAST["learning_rate"]
    checkpoint.save(checkpoint.load(world.student), world.root / "plain", base="")
    plain, trained = (
        json.loads((folder / "config.json").read_text())
        for folder in (world.root / "plain", policy)
    )
    assert trained == plain | {"use_cache": True}  # no setting for training is left behind
    assert json.loads((policy / "chainsight.json").read_text())["kind"] == "full"


def test_a_killed_training_goes_on_to_the_same_bytes(world, contents, interrupting, interrupted):
    straight, metrics = train(world, "straight", epochs=2, save_every_steps=2)
    assert metrics["num_steps"] == 6
    with pytest.raises(interrupted):
        train(world, "killed", interrupting("sft", 4), epochs=2, save_every_steps=2)
    checkpoints = world.root / "work/killed/checkpoints"
    assert resume.newest_complete(checkpoints).name == "checkpoint-4"
    resumed, again = train(world, "killed", epochs=2, save_every_steps=2)
    assert again == metrics
    assert contents(resumed) == contents(straight)


def test_a_training_whose_disk_is_lost_goes_on_from_the_store(
    world, contents, interrupting, interrupted
):
    straight, _ = train(world, "straight", epochs=2, save_every_steps=2)
    mirror = Mirror(LocalStore(world.root / "store"), "k1", print)
    lost = replace(world.context("lost", interrupting("sft", 4)), saved=mirror.saved)
    config = SftSection(**(FAST | {"epochs": 2, "save_every_steps": 2}))
    inputs = {kind: world.root / kind for kind in ("examples", "rationales")}
    with pytest.raises(interrupted):
        sft.run(config, **inputs, policy=world.folder("policy-lost"), context=lost)
    mirror.wait()
    shutil.rmtree(lost.work)
    assert mirror.restore(lost.work / "checkpoints").name == "checkpoint-4"
    resumed, _ = train(world, "lost", epochs=2, save_every_steps=2)
    assert contents(resumed) == contents(straight)


def test_a_torn_checkpoint_is_passed_over(world, contents, interrupting, interrupted):
    straight, _ = train(world, "straight", epochs=2, save_every_steps=2)
    with pytest.raises(interrupted):
        train(world, "torn", interrupting("sft", 4), epochs=2, save_every_steps=2)
    newest = world.root / "work/torn/checkpoints/checkpoint-4"
    (newest / resume.COMPLETE).unlink()
    (newest / "optimizer.pt").write_bytes(b"half")
    (newest / "trainer_state.json").unlink()
    assert resume.newest_complete(newest.parent).name == "checkpoint-2"
    resumed, _ = train(world, "torn", epochs=2, save_every_steps=2)
    assert contents(resumed) == contents(straight)


def test_a_finished_training_is_not_done_again(world, contents, interrupting):
    first, metrics = train(world, "once", epochs=2)
    before = contents(first)
    again, same = train(world, "once", interrupting("sft", 0), epochs=2)
    assert (contents(again), same) == (before, metrics)


def test_a_full_disk_ends_in_one_message_and_the_training_goes_on_afterwards(world, contents):
    straight, _ = train(world, "straight", epochs=2, save_every_steps=2)
    for room in (100_000, 600_000):  # too little for the weights; for the optimizer's state
        with limited(room), pytest.raises(CheckpointError, match=r"not written .*free space"):
            train(world, "full", epochs=2, save_every_steps=2)
    resumed, _ = train(world, "full", epochs=2, save_every_steps=2)
    assert contents(resumed) == contents(straight)


@contextmanager
def limited(room):
    """No file above `room` bytes can be written: the kernel's stand-in for a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_only_the_last_two_checkpoints_are_kept(world):
    train(world, "many", epochs=2, save_every_steps=1)
    kept = (world.root / "work/many/checkpoints").glob("checkpoint-*")
    assert sorted(path.name for path in kept) == ["checkpoint-5", "checkpoint-6"]


def test_accumulated_small_batches_give_the_same_training_as_large_ones(world):
    small, _ = train(world, "small", device_batch_size=1)
    large, _ = train(world, "large", device_batch_size=4)
    for a, b in zip(history(small), history(large), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-3)


def moved(world, folder):
    before, after = tensors(world.student), tensors(folder)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    parts = {"vision": "vision_tower", "projector": "projector", "language": "language_model"}
    return {part for part, word in parts.items() if any(word in name for name in changed)}


def test_a_vision_learning_rate_of_zero_freezes_the_tower(world):
    free, _ = train(world, "free", max_steps=2)
    assert moved(world, free) == {"vision", "projector", "language"}
    frozen, _ = train(world, "frozen", max_steps=2, vision_learning_rate=0.0)
    assert moved(world, frozen) == {"projector", "language"}


def test_the_tower_learns_at_its_own_rate(world):
    slow, _ = train(world, "slow", max_steps=2, vision_learning_rate=1e-6)
    fast, _ = train(world, "fast", max_steps=2, vision_learning_rate=1e-3)
    before, name = tensors(world.student), "vision_tower.encoder.layers.0.mlp.fc1.weight"
    name = next(n for n in before if n.endswith(name))
    steps = [(tensors(folder)[name] - before[name]).abs().max() for folder in (slow, fast)]
    assert steps[0] == pytest.approx(1e-6, rel=0.1)  # one Adam step is the rate itself
    assert steps[1] == pytest.approx(1e-3, rel=0.1)


def test_adapters_are_merged_into_a_whole_checkpoint(world):
    options = {"tuning": "lora", "lora_rank": 2, "lora_alpha": 4, "max_steps": 3}
    policy, _ = train(world, "lora", **options)
    assert tensors(policy).keys() == tensors(world.student).keys()
    assert moved(world, policy) == {"vision", "projector", "language"}
    head = "language_model.lm_head.weight"
    assert torch.equal(tensors(policy)[head], tensors(world.student)[head])
    assert json.loads((policy / "chainsight.json").read_text())["kind"] == "lora-merged"
    checkpoint.load(policy)


def test_interrupted_adapters_go_on_to_the_same_bytes(world, contents, interrupting, interrupted):
    options = {"tuning": "lora", "lora_rank": 2, "epochs": 1, "save_every_steps": 1}
    straight, _ = train(world, "straight", **options)
    with pytest.raises(interrupted):
        train(world, "killed", interrupting("sft", 1), **options)
    resumed, _ = train(world, "killed", **options)
    assert contents(resumed) == contents(straight)


def test_bfloat16_computes_in_half_and_keeps_small_updates(world):
    """At a rate of 1e-6 a bfloat16 weight of 0.1 would never move; the float32 master does."""
    policy, metrics = train(world, "half", model={"dtype": "bfloat16"}, max_steps=2)
    assert {t.dtype for t in tensors(policy).values()} == {torch.bfloat16}
    full, _ = train(world, "full", max_steps=2)
    assert metrics["final_loss"] == pytest.approx(history(full)[-1]["loss"], rel=0.02)
    assert metrics["final_loss"] != history(full)[-1]["loss"]


def test_gradient_checkpointing_changes_nothing(world):
    plain, _ = train(world, "plain", max_steps=2)
    saving, _ = train(world, "saving", max_steps=2, model={"gradient_checkpointing": True})
    assert history(plain)[-1]["loss"] == pytest.approx(history(saving)[-1]["loss"], rel=1e-5)


def test_a_loss_that_is_not_finite_ends_with_advice(world):
    with pytest.raises(ChainsightError, match=r"at step \d+ .*lower learning_rate"):
        train(world, "wild", learning_rate=1e30, epochs=4)


def test_fewer_rows_than_a_batch_make_one_step(world):
    _, metrics = train(world, "few", batch_size=32, device_batch_size=8)
    assert metrics["num_steps"] == 1


def test_an_adapter_kept_apart_answers_as_the_merged_weights(world):
    options = {"tuning": "lora", "lora_rank": 2, "lora_alpha": 4, "max_steps": 3}
    for dtype in ("float32", "bfloat16"):
        model = {"dtype": dtype}
        merged, metrics = train(world, f"merged-{dtype}", model=model, **options)
        kept, same = train(world, f"kept-{dtype}", model=model, lora_save="adapter", **options)
        assert same == metrics
        names = {path.name for path in kept.iterdir()}
        assert "history.jsonl" in names
        assert "model.safetensors" not in names
        ours, theirs = (
            checkpoint.load(folder, dtype=dtype).model.state_dict() for folder in (kept, merged)
        )
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    size = (kept / "adapter_model.safetensors").stat().st_size
    assert size < 0.2 * (merged / "model.safetensors").stat().st_size


def test_an_adapter_to_keep_needs_adapters():
    with pytest.raises(ValueError, match="needs tuning: lora"):
        SftSection(lora_save="adapter")
