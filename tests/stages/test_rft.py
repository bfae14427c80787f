"""RFT: begun from the policy, on its own chains; the format set from what it was first taught."""

import json
from dataclasses import replace

import pytest
import torch

from chainsight.config import RftSection, SftSection
from chainsight.errors import ChainsightError
from chainsight.records import Rationale
from chainsight.stages import rft
from chainsight.store import LocalStore
from chainsight.training.composition import compose
from chainsight.training.lessons import Reasons, build_rows
from chainsight.vlm import checkpoint

FAST = {"batch_size": 4, "device_batch_size": 2, "learning_rate": 1e-3, "max_steps": 2}


@pytest.fixture
def own(world):
    """The policy's own chains: of the first two examples."""
    return {e.id: f"Own {i}.\n\n### Answer: {2 * i}" for i, e in enumerate(world.examples[:2])}


def write(world, kind, reasons):
    rows = [Rationale(i, text, "", "marker", "policy", 0, 1, 0.0) for i, text in reasons.items()]
    world.write(kind, rows, Rationale)
    (world.root / kind / f"{kind}.parquet").rename(world.root / kind / "rationales.parquet")


def context_of(world, name, **stages):
    """A context whose store has a policy of SFT, and of what came of it since."""
    store = LocalStore(world.root / "store")
    about = {"config": {}, "input_digests": {}, "metrics": {}, "seconds": 0.0, "code_version": "t"}
    folder = world.root / "rationales"
    store.commit(folder, kind="rationales", key="k", stage="distill", inputs={}, **about)
    uri = store.artifact_uri("rationales", "k")
    inputs = {"rationales": uri}
    for stage, kind in {"sft": "policy", **stages}.items():
        place = world.folder(f"made-{stage}")
        (place / "model").write_text(stage)
        store.commit(place, kind=kind, key="k", stage=stage, inputs=inputs, **about)
        inputs = {"policy": store.artifact_uri(kind, "k")}
    return replace(world.context(name), inputs=inputs, fetch=store.fetch, manifest=store.load)


def learn(world, own, name="rft", context=None, **changes):
    write(world, "own", own)
    aligned = world.folder(f"aligned-{name}")
    metrics = rft.run(
        RftSection(**(FAST | changes)),
        examples=world.root / "examples",
        rationales=world.root / "own",
        policy=world.student,
        aligned=aligned,
        context=context or world.context(name),
    )
    return aligned, metrics


def test_it_learns_the_own_chains_alone_and_begins_from_the_policy(world, own):
    # A base that is not there: only the policy is loaded.
    context = world.context("rft")
    context = replace(context, model=context.model.model_copy(update={"base": "no/where"}))
    aligned, metrics = learn(world, own, context=context, batch_size=2, epochs=2)
    assert (metrics["num_cot"], metrics["num_direct"], metrics["num_instruct"]) == (2, 0, 0)
    seal = json.loads((aligned / "chainsight.json").read_text())
    assert seal["base"] == checkpoint.fingerprint(world.student)
    before, after = (checkpoint.load(f).model.state_dict() for f in (world.student, aligned))
    assert any(not torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert len((aligned / "history.jsonl").read_text().splitlines()) == 2


def rows_of(world, own, template, **changes):
    taught = {r.example_id: r.text for r in world.rationales}
    known = {e.id: e for e in world.examples}
    config = RftSection(**changes)
    return build_rows(known, Reasons(own, taught), template, config, stage="rft")


def test_format_rows_show_both_modes_with_the_chains_that_were_taught(world, own):
    template = checkpoint.load(world.student).template
    rows = rows_of(world, own, template, format_rows=6)
    said = [template.tokenizer.decode(row.response_ids[:-1]) for row in rows.kept]
    assert rows.counts == {("toy", "direct"): 6, ("toy", "cot"): 6}
    assert said[1::2] == [*own.values(), *(r.text for r in world.rationales[2:])]


def test_the_format_set_is_the_one_that_sft_has_learned(world, own):
    taught = {r.example_id for r in world.rationales}
    for seed in range(5):
        sft = compose(world.examples, taught, SftSection(composition="format", format_rows=2), seed)
        both = compose(world.examples, own, RftSection(format_rows=2), seed, taught)
        assert both.direct == sft.direct
        assert both.cot == sft.cot | own.keys()


@pytest.mark.parametrize("since", [{}, {"dpo": "aligned"}, {"dpo": "aligned", "rft": "aligned"}])
def test_what_was_first_taught_is_found_behind_any_number_of_rounds(world, own, since):
    context = context_of(world, "rft", **since)
    assert rft.first_taught(context) == {r.example_id: r.text for r in world.rationales}
    _, metrics = learn(world, own, context=context, format_rows=3, max_steps=1)
    assert (metrics["num_direct"], metrics["num_cot"]) == (
        3,
        5 - len(own.keys() & format_of(world)),
    )


def format_of(world):
    taught = {r.example_id for r in world.rationales}
    return compose(world.examples, taught, SftSection(composition="format", format_rows=3), 5).cot


def test_a_policy_of_unknown_origin_has_no_format_rows(world, own):
    with pytest.raises(ChainsightError, match=r"set rft\.format_rows to 0"):
        learn(world, own, format_rows=3)


def test_requests_come_with_the_format_and_not_without(world, own):
    requests = [replace(e, kind="instruct", id=f"{e.id}/i") for e in world.examples[:1]]
    world.write("examples", [*world.examples, *requests], type(world.examples[0]))
    _, without = learn(world, own, "without", max_steps=1)
    _, given = learn(world, own, "with", context_of(world, "with"), max_steps=1, format_rows=1)
    assert (without["num_instruct"], given["num_instruct"]) == (0, 1)


def test_nothing_adopted_is_refused_by_its_own_name(world):
    with pytest.raises(ChainsightError, match=r"rft: no rationales were kept.*rft\.composition"):
        learn(world, {})
