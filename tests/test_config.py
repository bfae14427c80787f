"""The configuration is closed, and each error names the key, the bound and what was found."""

from pathlib import Path
from typing import get_args

import pytest

from chainsight.config import ModelSection, RunConfig, load_config, validate
from chainsight.datasets import named
from chainsight.errors import ConfigError

ROOT = Path(__file__).parents[1]
PREPARE = {"examples": [{"dataset": "bars"}], "benchmarks": [{"dataset": "bars", "split": "test"}]}


def problems(**sections: object) -> str:
    with pytest.raises(ConfigError) as caught:
        validate(RunConfig, {"prepare": PREPARE} | sections, "x.yaml")
    return str(caught.value)


RUNS = [path for path in sorted((ROOT / "configs").glob("*.yaml")) if path.stem != "ablations"]


@pytest.mark.parametrize("path", RUNS, ids=lambda p: p.name)
def test_every_committed_configuration_is_valid(path: Path) -> None:
    assert load_config(path).run.name == path.stem


def test_each_committed_configuration_names_datasets_and_splits_that_there_are() -> None:
    for path in RUNS:
        prepare = load_config(path).prepare
        for source in (*prepare.examples, *prepare.benchmarks):
            named(source.dataset).require_split(source.split)


def test_the_papers_run_does_not_evaluate_on_what_it_learns_from() -> None:
    prepare = load_config(ROOT / "configs/paper.yaml").prepare
    learned = {(source.dataset, source.split) for source in prepare.examples}
    held_out = {(source.dataset, source.split) for source in prepare.benchmarks}
    assert len(held_out) == 11
    assert not learned & held_out
    assert "mathvision" not in {dataset for dataset, _ in held_out}
    assert "mathvista" not in {dataset for dataset, _ in learned}


def test_a_misspelt_key_is_named_with_its_nearest_neighbour() -> None:
    assert "sft.learning_rat: unknown key; did you mean 'learning_rate'?" in problems(
        sft={"learning_rat": 1e-4}
    )


def test_a_misspelt_key_of_an_inner_section_is_named() -> None:
    message = problems(register={"gate": {"confidense": 0.9}})
    assert "register.gate.confidense: unknown key; did you mean 'confidence'?" in message


def test_a_value_out_of_bounds_is_shown_with_its_bound() -> None:
    assert (
        "distill.concurrency: Input should be less than or equal to 2048 (found 2049)"
        in problems(distill={"concurrency": 2049})
    )


def test_a_long_value_is_not_repeated_in_whole() -> None:
    message = problems(run={"name": ["long"] * 500})
    assert "(found ['long', 'long'" in message
    assert len(message) < 400


def test_all_problems_are_listed_at_once() -> None:
    message = problems(sft={"epochs": 0}, dpo={"beta": -1}, typo={})
    assert "3 problem(s)" in message
    assert "sft.epochs" in message
    assert "dpo.beta" in message
    assert "typo: unknown key" in message


def test_a_wrong_item_is_told_once_and_an_empty_list_too(tmp_path: Path) -> None:
    """Pydantic calls a list too short as well, when its only item is wrong."""
    wrong, empty = tmp_path / "wrong.yaml", tmp_path / "empty.yaml"
    benchmarks = "run: {name: x}\nprepare:\n  benchmarks: [{dataset: bars, split: test}]\n"
    wrong.write_text(f"{benchmarks}  examples: [{{dataset: bars, limit: 0}}]\n")
    empty.write_text(f"{benchmarks}  examples: []\n")
    with pytest.raises(ConfigError, match=r"1 problem\(s\)\n  prepare.examples.0.limit: .*"):
        load_config(wrong)
    with pytest.raises(ConfigError, match=r"1 problem\(s\)\n  prepare.examples: .* at least 1"):
        load_config(empty)


def test_a_missing_section_is_named() -> None:
    with pytest.raises(ConfigError, match="prepare: Field required"):
        validate(RunConfig, {}, "x.yaml")


def test_an_empty_accuracy_band_is_refused() -> None:
    assert "min_accuracy 0.9 is above max_accuracy 0.85" in problems(pair={"min_accuracy": 0.9})


def test_a_teacher_that_is_no_name_and_no_address_is_refused() -> None:
    assert "write openai, scripted, published or a base URL" in problems(
        distill={"teacher": "gpt-4o"}
    )


def test_integers_that_kfp_made_floats_become_integers_again() -> None:
    config = validate(RunConfig, {"prepare": PREPARE, "run": {"seed": 3.0}}, "x")
    assert config.run.seed == 3
    assert isinstance(config.run.seed, int)


def test_a_broken_count_stays_an_error() -> None:
    assert "sample.num_candidates" in problems(sample={"num_candidates": 2.5})


def test_overrides_reach_inner_keys(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("prepare: {examples: [{dataset: bars}], benchmarks: [{dataset: bars}]}")
    config = load_config(path, {"sft.max_steps": 7, "register.gate.min_gain": 0.5})
    assert config.sft.max_steps == 7
    assert config.section("register").gate.min_gain == 0.5  # type: ignore[attr-defined]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such configuration"):
        load_config(tmp_path / "nowhere.yaml")


def test_a_key_that_is_there_twice_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("run: {name: one}\nsft: {epochs: 2}\nsft: {epochs: 3}\n")
    with pytest.raises(ConfigError, match="'sft' is there twice"):
        load_config(path)


@pytest.mark.parametrize("text", ["a: [", "\x00", "- 1\n- 2", "3"])
def test_a_file_that_holds_no_sections_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"c\.yaml"):
        load_config(path)


def test_the_champion_is_looked_for_where_promotion_puts_it() -> None:
    production = {"production_name": "prod"}
    config = validate(RunConfig, {"prepare": PREPARE, "promotion": production}, "x")
    assert config.register_.champion_name == "prod"
    again = validate(RunConfig, config.model_dump(by_alias=True), "x")
    assert again == config
    message = problems(register={"champion_name": "other"}, promotion=production)
    assert "'other' is not promotion.production_name 'prod'; leave the former out" in message


def test_every_field_says_what_it_is() -> None:
    sections = [RunConfig] + [f.annotation for f in RunConfig.model_fields.values()]
    undocumented = [
        f"{section.__name__}.{name}"  # type: ignore[union-attr]
        for section in sections[1:]
        for name, field in section.model_fields.items()  # type: ignore[union-attr]
        if not field.description
    ]
    assert undocumented == []


def test_what_may_be_unset_is_unset_by_default() -> None:
    # KFP has no null: pipelines.train leaves unset values out, and gets the default back
    sections = [f.annotation for f in RunConfig.model_fields.values()]
    fields = {f"{s.__name__}.{n}": f for s in sections for n, f in s.model_fields.items()}  # type: ignore[union-attr]
    optional = {n: f.default for n, f in fields.items() if type(None) in get_args(f.annotation)}
    assert "SftSection.max_steps" in optional
    assert {n for n, default in optional.items() if default is not None} == set()


def test_flash_attention_is_refused_in_single_precision() -> None:
    with pytest.raises(ValueError, match="does not compute in float32; write dtype: bfloat16"):
        ModelSection(attention="flash_attention_2")
    assert ModelSection(attention="flash_attention_2", dtype="bfloat16")
