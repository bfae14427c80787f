"""What to change, in order of cost, each with the figure that it leads to."""

from typing import Any

import pytest
from models import plan

from chainsight.planner.advice import Plan, advice

GB = 10**9


def settings(found: Plan, memory: float) -> list[str]:
    return [change.setting for change, _ in advice(found, int(memory))]


def test_what_fits_needs_no_change() -> None:
    assert plan("sft").fits(80 * GB)
    assert not plan("sft", 1).fits(80 * GB)


def test_smaller_passes_come_first_as_they_give_the_same_result() -> None:
    sft = plan("sft", sft={"device_batch_size": 8})
    assert settings(sft, sft.longest.total - 1) == ["sft.device_batch_size: 4"]


def test_a_setting_that_is_lowered_twice_is_told_once() -> None:
    sft = plan("sft", model={"gradient_checkpointing": False}, sft={"device_batch_size": 8})
    least = plan("sft", model={"gradient_checkpointing": False}, sft={"device_batch_size": 2})
    assert settings(sft, least.longest.total) == ["sft.device_batch_size: 2"]


def test_checkpointing_comes_next_and_makes_the_smaller_passes_needless() -> None:
    bare: dict[str, Any] = {"model": {"gradient_checkpointing": False}}
    sft = plan("sft", **bare)
    assert settings(sft, plan("sft").longest.total) == ["model.gradient_checkpointing: true"]


def test_pieces_instead_of_copies_come_before_adapters() -> None:
    copies = plan("dpo", 8, "ddp")
    assert settings(copies, 80 * GB) == ["platform.parallel: fsdp"]


def test_adapters_come_before_more_gpus() -> None:
    assert settings(plan("dpo", 1), 24 * GB) == ["dpo.tuning: lora"]


def test_more_gpus_are_the_last_resort_but_for_dropping_rows() -> None:
    lora = {"tuning": "lora", "lora_rank": 512, "device_batch_size": 1}
    found = plan("sft", 1, sft=lora)
    assert settings(found, 30 * GB)[-1].startswith("platform.gpus: ")
    job = plan("sft", 8, sft={"tuning": "lora"}, platform={"launcher": "trainjob"})
    assert "platform.nodes: 4" in settings(job, 1)


def test_gpus_are_doubled_while_a_batch_gives_each_a_row() -> None:
    sft = plan("sft", 8, sft={"batch_size": 32, "device_batch_size": 1, "tuning": "lora"})
    asked = [one for one in settings(sft, 1) if "gpus" in one]
    assert asked == ["platform.gpus: 32"]
    assert not any("gpus" in one for one in settings(plan("sft", platform={"processes": 8}), 1))


def test_rows_are_dropped_only_when_nothing_else_helps() -> None:
    assert settings(plan("sft", 8), 1)[-1] == "sft.max_length: 1536"
    assert not any("max_length" in one for one in settings(plan("dpo", 8), 1))


@pytest.mark.parametrize("stage", ["sample", "evaluate"])
def test_decoding_takes_fewer_questions_at_a_time_then_cuts_answers(stage: str) -> None:
    found = plan(stage, model={"dtype": "float32"})
    assert settings(found, found.longest.total - 1) == [
        f"{stage}.batch_size: {8 if stage == 'evaluate' else 4}"
    ]
    assert settings(found, 1) == [
        f"{stage}.batch_size: 1",
        "model.dtype: bfloat16",
        f"{stage}.max_new_tokens: 128",
    ]


def test_each_change_is_told_with_the_need_after_it() -> None:
    copies = plan("sft", 8, "ddp", model={"gradient_checkpointing": False})
    told = advice(copies, 80 * GB)
    totals = [need.total for _, need in told]
    assert totals == sorted(totals, reverse=True)
    assert totals[-1] <= 80 * GB
    assert totals[-1] == plan("sft").longest.total
