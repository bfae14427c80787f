"""Two processes against one, over 30 steps: the same losses, the same weights."""

from pathlib import Path
from typing import Any

import pytest
from trainings import Place, Trained, largest_difference, largest_gap

from chainsight.vlm import checkpoint

SETTINGS = {"epochs": 16, "max_steps": 30}
KINDS: dict[str, dict[str, Any]] = {
    "full": {},
    "lora": {"tuning": "lora", "model": {"gradient_checkpointing": True}},
    "half": {"model": {"dtype": "bfloat16"}},
}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The training in one process, made once for each kind."""
    made: dict[tuple[str, str], Trained] = {}

    def train(stage: str, kind: str) -> Trained:
        if (stage, kind) not in made:
            place = Place(tmp_path_factory.mktemp("alone") / "home", num_questions=15)
            made[stage, kind] = place.train(stage, 1, "ddp", **SETTINGS, **KINDS[kind])
        return made[stage, kind]

    return train


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("stage", "parallel", "kind"),
    [
        ("sft", "ddp", "full"),
        ("sft", "fsdp", "full"),
        ("sft", "fsdp", "lora"),
        ("sft", "fsdp", "half"),
        ("dpo", "ddp", "full"),
        ("dpo", "fsdp", "full"),
        ("dpo", "ddp", "lora"),
        ("dpo", "fsdp", "lora"),
    ],
)
def test_two_processes_train_as_one_does(
    tmp_path: Path, alone: Any, stage: str, parallel: str, kind: str
) -> None:
    one = alone(stage, kind)
    place = Place(tmp_path / "home", num_questions=15)
    two = place.train(stage, 2, parallel, **SETTINGS, **KINDS[kind])
    assert len(one.curve) == 30
    gaps = {name: largest_gap(one, two, name) for name in one.curve[0]}
    difference = largest_difference(one, two)
    print(f"{stage} {parallel} {kind}: weights {difference:.1e}, {gaps}")
    assert abs(one.curve[-1]["loss"] - one.curve[0]["loss"]) > 0.05, "nothing was learned"
    assert abs(one.curve[0]["loss"] - two.curve[0]["loss"]) < 1e-6
    if kind == "half":  # a weight's last digit, summed in another order, tips roundings to 2^-8
        assert gaps["loss"] < 1e-2
    else:
        assert gaps["loss"] < 1e-4
        assert difference < 1e-4


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_an_adapter_that_two_processes_kept_is_the_one_they_would_have_merged(
    tmp_path: Path, stage: str
) -> None:
    """Of weights that were cut up; DPO's is loaded on its policy in the store."""
    options: dict[str, Any] = {"tuning": "lora", "max_steps": 3}
    place = Place(tmp_path / "home", num_questions=15)
    merged = place.train(stage, 2, "fsdp", **options)
    kept = place.train(stage, 2, "fsdp", lora_save="adapter", **options)
    assert not (kept.folder / "model.safetensors").exists()
    one, other = (checkpoint.load(made.folder).model.state_dict() for made in (merged, kept))
    assert max((one[name] - other[name]).abs().max().item() for name in one) < 1e-6
