"""A model with multimodal positions goes the whole way: taught, sampled from, aligned."""

import math

import pytest
import tiny_families
from safetensors.torch import load_file

from chainsight import records
from chainsight.config import DpoSection, SampleSection, SftSection
from chainsight.records import Candidate, Pair
from chainsight.stages import dpo, sample, sft
from chainsight.vlm import checkpoint

FAST = {"batch_size": 4, "device_batch_size": 2, "learning_rate": 1e-3}


@pytest.fixture(params=["qwen2_5_vl", "llava"])
def world(request, world, tmp_path):
    world.student = tiny_families.MADE[request.param](tmp_path / "student")
    return world


def teach(world):
    policy = world.folder("policy")
    sft.run(
        SftSection(max_steps=2, **FAST),
        examples=world.root / "examples",
        rationales=world.root / "rationales",
        policy=policy,
        context=world.context("sft"),
    )
    return policy


def draw(world, policy):
    folder = world.folder("candidates")
    sample.run(
        SampleSection(num_candidates=2, max_new_tokens=8, batch_size=2),
        examples=world.root / "examples",
        policy=policy,
        candidates=folder,
        context=world.context("sample"),
    )
    return list(records.read(folder / "candidates.parquet", Candidate))


def align(world, policy):
    aligned = world.folder("aligned")
    metrics = dpo.run(
        DpoSection(max_steps=1, warmup_ratio=0.0, **FAST),
        examples=world.root / "examples",
        pairs=world.root / "pairs",
        policy=policy,
        aligned=aligned,
        context=world.context("dpo"),
    )
    return aligned, metrics


def test_a_family_is_taught_sampled_from_and_aligned(world):
    policy = teach(world)
    drawn = draw(world, policy)
    assert len(drawn) == 2 * len(world.examples)
    world.write("pairs", [Pair(c.example_id, "yes", c.text or "no", 0, 1) for c in drawn[:4]], Pair)
    aligned, metrics = align(world, policy)
    assert math.isfinite(metrics["final_loss"])
    family = checkpoint.load(aligned).family
    taught, moved = changed(world.student, policy), changed(policy, aligned)
    for part in (family.vision, family.projector):
        assert any(part.search(name) for name in taught)
        assert not any(part.search(name) for name in moved)
    assert moved


def changed(before, after):
    old, new = (load_file(folder / "model.safetensors") for folder in (before, after))
    return {name for name in old if not old[name].equal(new[name])}
