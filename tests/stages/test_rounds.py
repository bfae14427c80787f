"""Several rounds: an aligned model is the policy that samples and is aligned next."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file

from chainsight.config import ModelSection, RunSection
from chainsight.job import job
from chainsight.provenance import trace
from chainsight.runner import execute, lineage
from chainsight.store import open_store
from chainsight.vlm import checkpoint

SETTINGS = {
    "sample": {"num_candidates": 2, "max_new_tokens": 3},
    "pair": {"teacher_as_chosen": True},  # a random model is never right
    "dpo": {"batch_size": 4, "device_batch_size": 2, "learning_rate": 1e-3, "max_steps": 3},
}


class Rounds:
    """A store with the world's examples, rationales and a policy, and stages run in it."""

    def __init__(self, world, **dpo):
        self.run = RunSection(home=str(world.root / "home"), tracking_uri="none")
        self.model = ModelSection(base=str(world.student))
        self.store = open_store(self.run.store_uri(), world.root / "cache")
        self.settings = SETTINGS | {"dpo": SETTINGS["dpo"] | dpo}
        self.uris, inputs = {}, {}
        for kind, stage in (("examples", "prepare"), ("rationales", "distill"), ("policy", "sft")):
            folder = world.student if kind == "policy" else world.root / kind
            about = {"config": {}, "input_digests": {}, "metrics": {}, "code_version": "t"}
            self.store.commit(
                folder, kind=kind, key="k", stage=stage, inputs=inputs, seconds=0.0, **about
            )
            self.uris[kind] = inputs[kind] = self.store.artifact_uri(kind, "k")
            inputs = dict(inputs)

    def __call__(self, stage, **changes):
        asked = job(stage, self.settings[stage], run=self.run, model=self.model, inputs={
            kind: self.uris[kind] for kind in STAGE_INPUTS[stage]
        }, store=self.store)  # fmt: skip
        done = execute(asked)
        made = {k: self.store.artifact_uri(k, m.key) for k, m in done.outputs.items()}
        self.uris |= made
        return done

    def round(self):
        """Sample, pair, dpo; the aligned model is the next policy."""
        for stage in ("sample", "pair"):
            self(stage)
        done = self("dpo")
        self.uris["policy"] = self.uris["aligned"]
        return done.outputs["aligned"]


STAGE_INPUTS = {
    "sample": ("examples", "policy"),
    "pair": ("candidates", "rationales"),
    "dpo": ("examples", "pairs", "policy"),
}


def history(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


LORA = {"tuning": "lora", "lora_rank": 2}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        LORA,
        LORA | {"lora_save": "adapter"},
        LORA | {"lora_save": "adapter", "reference": "cache"},
    ],
    ids=["full", "merged", "adapter", "adapter-cache"],
)
def test_a_second_round_is_compared_with_its_own_start(world, settings):
    rounds = Rounds(world, **settings)
    first, second = rounds.round(), rounds.round()
    assert second.inputs["policy"] == rounds.store.artifact_uri("aligned", first.key)
    one, two = (rounds.store.fetch(m) for m in (first, second))
    assert history(one)[-1]["rewards/margins"] != 0.0  # so against the first start it were not 0
    start = history(two)[0]
    assert start["loss"] == torch.tensor(math.log(2)).item()
    assert start["rewards/chosen"] == start["rewards/rejected"] == 0.0
    weights = [checkpoint.load(f, fetch=rounds.store.fetch).model.state_dict() for f in (one, two)]
    assert any(not torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


def test_adapters_of_three_rounds_are_what_merged_rounds_are(world):
    kept = Rounds(world, **LORA, lora_save="adapter", max_steps=2)
    merged = Rounds(world, **LORA, max_steps=2)
    ends = [[rounds.round() for _ in range(3)][-1] for rounds in (kept, merged)]
    folder, whole = kept.store.fetch(ends[0]), merged.store.fetch(ends[1])
    assert not (folder / "model.safetensors").exists()
    loaded = checkpoint.load(folder, fetch=kept.store.fetch).model.state_dict()
    theirs = checkpoint.load(whole).model.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in loaded.items())
    assert load_file(folder / "adapter_model.safetensors")


def test_the_lineage_of_a_round_leads_to_its_own_stages_and_to_sft(world):
    rounds = Rounds(world)
    rounds.round()
    last = rounds.round()
    stages = lineage(rounds.store, {"aligned": last})
    assert list(stages) == ["prepare", "distill", "sft", "sample", "pair", "dpo"]
    assert stages["dpo"].outputs["aligned"].key == last.key
    pairs = rounds.store.load(last.inputs["pairs"])
    assert stages["pair"].outputs["pairs"].key == pairs.key
    assert stages["sample"].outputs["candidates"].key == rounds.uris["candidates"].rsplit("/")[-1]
    found = trace({"aligned": rounds.uris["aligned"]}, rounds.store.load)
    assert found.uris["policy"] == last.inputs["policy"]
    assert found.manifests["first_policy"].stage == "sft"
    assert found.settings["dpo"] == last.config["config"]
