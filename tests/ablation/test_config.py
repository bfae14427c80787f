"""The file of an ablation: closed, and refused with the way out."""

from pathlib import Path
from typing import Any

import pytest

from chainsight.config import load_config
from chainsight.config.ablate import AblateConfig, load_ablation
from chainsight.errors import ConfigError
from tests.ablation.conftest import Bench

CLAIM = {"name": "c", "better": "both", "than": "format"}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({"settings": {}}, "neither settings nor grids"),
    "unknown field": ({"settigs": {}}, "settigs: unknown key; did you mean 'settings'"),
    "unknown field of a setting": (
        {"settings": {"a": {"recipe": "sft", "sets": {}}}}, r"settings.a.sets: unknown key",
    ),
    "recipe": ({"settings": {"a": {"recipe": "ppo"}}}, r"settings.a.recipe: .*\(found 'ppo'\)"),
    "no list of seeds": ({"seeds": 3}, r"seeds: expected a list, as \[0, 1, 2\] \(found 3\)"),
    "seed twice": ({"seeds": [1, 1]}, "each counts once"),
    "then": ({"settings": {"a": {"recipe": "dpo", "then": {"x": 1}}}}, "second sft of recipe star"),
    "rounds": ({"settings": {"a": {"recipe": "sft", "rounds": 2}}}, "nothing to repeat"),
    "verify": ({"settings": {"a": {"recipe": "star", "verify": True}}}, "write dpo or rft"),
    "claim": ({"claims": [CLAIM | {"than": "bot"}]}, "claim 'c', than: no setting 'bot'"),
    "baseline": ({"baseline": "bot"}, "baseline: no setting 'bot'; there are format, both"),
    "grid": (
        {"settings": {"G beta=0.1": {"recipe": "dpo"}},
         "grids": [{"name": "G", "recipe": "dpo", "over": {"dpo.beta": [0.1]}}]},
        "two settings are called 'G beta=0.1'",
    ),
    "empty grid": (
        {"grids": [{"name": "G", "recipe": "dpo", "over": {"dpo.beta": []}}]}, "at least 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_an_ablation_is_refused_with_the_reason(bench: Bench, case: str) -> None:
    fields, message = REFUSED[case]
    with pytest.raises(ConfigError, match=message):
        load_ablation(bench.write(**fields))


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ablation.yaml"
    path.write_text("name: x\nrun: run.yaml\nsettings:\n  a: {recipe: sft}\n  a: {recipe: dpo}\n")
    with pytest.raises(ConfigError, match="'a' is there twice"):
        load_ablation(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: no such ablation"):
        load_ablation(tmp_path / "none.yaml")


def test_a_rule_about_several_keys_does_not_repeat_the_file(bench: Bench) -> None:
    with pytest.raises(ConfigError) as caught:
        load_ablation(bench.write(seeds=[1, 1]))
    assert "found" not in str(caught.value)


def test_a_runs_configuration_is_told_from_an_ablations(bench: Bench) -> None:
    bench.write()
    with pytest.raises(ConfigError, match=r"run\.yaml is the configuration of a run; .*ablations"):
        load_ablation(bench.folder / "run.yaml")


def test_an_ablation_is_told_from_a_runs_configuration(bench: Bench) -> None:
    with pytest.raises(ConfigError, match=r"is an ablation of the run run\.yaml"):
        load_config(bench.write())


def test_the_run_lies_beside_the_ablation(bench: Bench) -> None:
    config, run = load_ablation(bench.write())
    assert run == bench.folder / "run.yaml"
    assert config.seeds == (0, 1)


def test_overrides_go_to_the_ablation_or_to_the_run(bench: Bench) -> None:
    path = bench.write(set={"dpo.beta": 0.1, "sft.epochs": 2})
    config, _ = load_ablation(path, {"seeds": [7], "name": "quick", "dpo.beta": 0.3})
    assert (config.seeds, config.name) == ((7,), "quick")
    assert config.set == {"dpo.beta": 0.3, "sft.epochs": 2}


def test_a_side_of_a_claim_is_a_name_or_more() -> None:
    sides = {"better": "a", "than": {"setting": "a", "method": "majority", "n": 8}}
    config = AblateConfig.model_validate(
        {"name": "x", "run": "r", "settings": {"a": {"recipe": "dpo", "verify": True}},
         "claims": [{"name": "c", **sides}]}
    )  # fmt: skip
    (claim,) = config.claims
    assert (claim.better.setting, claim.better.method) == ("a", None)
    assert (claim.than.method, claim.than.n) == ("majority", 8)


def test_keys_with_the_same_last_word_stay_whole_in_a_rows_name() -> None:
    config = AblateConfig.model_validate(
        {"name": "x", "run": "r", "grids": [
            {"name": "G", "recipe": "dpo", "over": {"sft.epochs": [1], "dpo.epochs": [2, None]}}]}
    )  # fmt: skip
    assert list(config.rows()) == [
        "G sft.epochs=1 dpo.epochs=2",
        "G sft.epochs=1 dpo.epochs=none",
    ]
