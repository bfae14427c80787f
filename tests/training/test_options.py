"""TRL's arguments: what is passed on, what is refused and with which words."""

import dataclasses

import pytest
from lessons import context, dpo_trainer, sft_trainer, step
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.sft_config import SFTConfig

from chainsight.config import DpoSection, SftSection
from chainsight.config.trainer import PASSED_ON, REFUSED
from chainsight.errors import ConfigError


def names(config):
    return {field.name for field in dataclasses.fields(config)}


def test_both_tables_name_arguments_that_there_are():
    assert set(PASSED_ON) <= names(SFTConfig) & names(DPOConfig)
    assert set(REFUSED) <= names(SFTConfig) | names(DPOConfig)
    assert not set(PASSED_ON) & set(REFUSED)


def test_what_is_passed_on_arrives(tmp_path, student_folder):
    options = {"adam_beta2": 0.5, "lr_scheduler_type": "linear", "optim": "adamw_torch"}
    for make in (sft_trainer, dpo_trainer):
        trainer = make(context(tmp_path / make.__name__, student_folder), trainer=options)
        assert trainer.args.adam_beta2 == 0.5
        assert trainer.args.lr_scheduler_type == "linear"
        assert trainer.create_optimizer().param_groups[0]["betas"] == (0.9, 0.5)


@pytest.mark.parametrize("section", [SftSection, DpoSection])
@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"packing": True}, "trainer.packing is of no use here: there is no padding"),
        ({"loss_type": "ipo"}, "of no use here: the losses are the paper's"),
        ({"precompute_ref_log_probs": True}, "write dpo.reference: cache"),
        ({"learning_rate": 1.0}, "trainer.learning_rate: write learning_rate in the section"),
        ({"optim": "adafactor"}, "'adafactor', whose state our checkpoints cannot hold"),
        ({"hub_model_id": "x"}, "not known to be right where prompts are shared; choose from"),
    ],
)
def test_what_would_have_no_effect_or_a_wrong_one_is_refused(section, option, message):
    with pytest.raises(ValueError, match=message):
        section(trainer=option)


def test_a_reference_that_the_tuning_cannot_have_is_refused():
    with pytest.raises(ValueError, match="tuning: full has none; write cache"):
        DpoSection(reference="adapter")
    with pytest.raises(ValueError, match="no second model with tuning: lora"):
        DpoSection(reference="model", tuning="lora")


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, "cache"),
        ({"tuning": "lora"}, "adapter"),
        ({"tuning": "lora", "epochs": 2}, "cache"),  # once for all epochs
    ],
)
def test_the_reference_is_chosen_by_what_it_costs(tmp_path, student_folder, settings, kind):
    trainer = dpo_trainer(context(tmp_path, student_folder), lora_rank=2, **settings)
    assert (tmp_path / "reference.jsonl").exists() == (kind == "cache")
    assert step(trainer)[0] == pytest.approx(0.6931, abs=1e-4)


def test_an_attention_without_a_backward_pass_is_refused_before_anything_is_loaded(
    tmp_path, student_folder
):
    where = context(tmp_path, student_folder)
    model = where.model.model_copy(update={"attention": "flex_attention"})
    with pytest.raises(ConfigError, match="trains on a GPU only; set it to sdpa"):
        sft_trainer(dataclasses.replace(where, model=model))
