"""Two processes against one, over 30 steps: the same losses, the same weights."""

from pathlib import Path
from typing import Any

import pytest
from trainings import Place, Trained, largest_difference, largest_gap

SETTINGS = {"epochs": 16, "max_steps": 30}
MODELS = {"full": {}, "lora": {"dtype": "bfloat16", "gradient_checkpointing": True}}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The training in one process, made once for each kind."""
    made: dict[tuple[str, str], Trained] = {}

    def train(stage: str, tuning: str) -> Trained:
        if (stage, tuning) not in made:
            place = Place(tmp_path_factory.mktemp("alone") / "home", num_questions=15)
            made[stage, tuning] = train_in(place, stage, tuning, 1, "ddp")
        return made[stage, tuning]

    return train


def train_in(place: Place, stage: str, tuning: str, processes: int, parallel: str) -> Trained:
    settings = SETTINGS | {"tuning": tuning, "model": MODELS[tuning]}
    return place.train(stage, processes, parallel, **settings)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("tuning", ["full", "lora"])
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_two_processes_train_as_one_does(
    tmp_path: Path, alone: Any, stage: str, parallel: str, tuning: str
) -> None:
    one = alone(stage, tuning)
    two = train_in(Place(tmp_path / "home", num_questions=15), stage, tuning, 2, parallel)
    assert len(one.curve) == 30
    gaps = {name: largest_gap(one, two, name) for name in one.curve[0]}
    difference = largest_difference(one, two)
    print(f"{stage} {parallel} {tuning}: loss {gaps['loss']:.1e}, weights {difference:.1e}, {gaps}")
    assert gaps["loss"] < 1e-4
    assert difference < (
        1e-4 if tuning == "full" else 1e-2
    )  # one bfloat16 digit of a merged weight
    assert abs(one.curve[-1]["loss"] - one.curve[0]["loss"]) > 0.05, "nothing was learned"
