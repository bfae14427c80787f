"""The graph of an ablation: what is shared, what reads what, what is refused before it starts."""

from collections import Counter
from typing import Any

import pytest

from chainsight.ablation.plan import Node, Plan, Row
from chainsight.config import DpoSection, EvaluateSection, SftSection
from chainsight.errors import ConfigError
from tests.ablation.conftest import Bench


def stages(plan: Plan) -> Counter[str]:
    return Counter(node.stage.name for node in plan.nodes.values())


def steps(plan: Plan, name: str, seed: int = 0) -> dict[str, Node]:
    """A row's nodes by step."""
    row = row_of(plan, name, seed)
    return {label: plan.nodes[node] for label, node in row.steps.items()}


def row_of(plan: Plan, name: str, seed: int = 0) -> Row:
    return next(row for row in plan.rows if (row.name, row.seed) == (name, seed))


def test_what_settings_share_is_planned_once(bench: Bench) -> None:
    plan = bench.state().plan
    assert stages(plan) == {
        "prepare": 1,
        "distill": 1,
        "sft": 4,  # two compositions, two seeds
        "sample": 2,
        "pair": 2,
        "dpo": 4,
        "score": 8,
    }
    assert len(plan.rows) == 8


def test_a_node_stands_after_what_it_reads(bench: Bench) -> None:
    plan = bench.state().plan
    order = list(plan.nodes)
    for node in plan.nodes.values():
        assert all(order.index(ref.node) < order.index(node.id) for ref in node.parents.values())
    names = [{node.stage.name for node in level} for level in plan.levels]
    assert names == [
        {"prepare"}, {"distill"}, {"sft"}, {"sample", "score"}, {"pair"}, {"dpo"}, {"score"},
    ]  # fmt: skip
    assert sum(map(len, plan.levels)) == len(plan.nodes)


CHAINS: dict[str, tuple[dict[str, Any], str]] = {
    "sft": ({"recipe": "sft"}, "prepare distill sft score"),
    "dpo": ({"recipe": "dpo"}, "prepare distill sft sample pair dpo score"),
    "rft": ({"recipe": "rft"}, "prepare distill sft sample adopt rft score"),
    "star": ({"recipe": "star"}, "prepare distill sft sample adopt sft score"),
    "verified": (
        {"recipe": "dpo", "verify": True}, "prepare distill sft sample pair dpo score verify",
    ),
    "rounds": (
        {"recipe": "dpo", "rounds": 2},
        "prepare distill sft sample pair dpo sample pair dpo score",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_a_recipe_is_a_chain_of_stages(bench: Bench, name: str) -> None:
    setting, chain = CHAINS[name]
    plan = bench.state({"it": setting}).plan
    assert [node.stage.name for node in steps(plan, "it").values()] == chain.split()


def test_a_second_round_begins_with_the_aligned_model_of_the_first(bench: Bench) -> None:
    setting = {"recipe": "dpo", "rounds": 2, "verify": True}
    found = steps(bench.state({"it": setting}).plan, "it")
    first = (found["dpo"].id, "aligned")
    assert found["sample"].parents["policy"] == (found["sft"].id, "policy")
    assert found["sample 2"].parents["policy"] == first
    assert found["dpo 2"].parents["policy"] == first
    assert found["dpo 2"].parents["pairs"] == (found["pair 2"].id, "pairs")
    assert found["score"].parents["policy"] == (found["dpo 2"].id, "aligned")
    assert found["verify"].parents["policy"] == (found["sft"].id, "policy")
    assert found["verify"].parents["aligned"] == (found["dpo 2"].id, "aligned")


def test_star_learns_its_own_chains_with_settings_of_their_own(bench: Bench) -> None:
    setting = {
        "recipe": "star",
        "set": {"sft.composition": "direct"},
        "then": {"sft.composition": "both", "sft.format_rows": 7},
    }
    found = steps(bench.state({"it": setting}).plan, "it")
    first, second = found["sft"].config, found["sft 2"].config
    assert isinstance(first, SftSection)
    assert isinstance(second, SftSection)
    assert (first.composition, second.composition, second.format_rows) == ("direct", "both", 7)
    assert found["sft"].parents["rationales"] == (found["distill"].id, "rationales")
    assert found["sft 2"].parents["rationales"] == (found["adopt"].id, "rationales")
    assert found["score"].parents["policy"] == (found["sft 2"].id, "policy")


def test_seeds_train_and_sample_anew_on_the_same_data(bench: Bench) -> None:
    plan = bench.state(seeds=[3, 5]).plan
    one, other = (steps(plan, "DPO", seed) for seed in (3, 5))
    differ = {label for label in one if one[label].id != other[label].id}
    assert differ == {"sft", "sample", "pair", "dpo", "score"}
    assert {one["sft"].run.seed, other["sft"].run.seed} == {3, 5}
    assert one["prepare"].run.seed == 3


def test_a_grid_is_a_row_for_each_combination(bench: Bench) -> None:
    grid = {
        "name": "DPO",
        "recipe": "dpo",
        "set": {"dpo.beta": 0.2},
        "over": {"sample.temperature": [0.8, 1.0], "sample.num_candidates": [4, 8]},
    }
    plan = bench.state({}, seeds=[0], grids=[grid]).plan
    assert [row.name for row in plan.rows] == [
        "DPO temperature=0.8 n=4",
        "DPO temperature=0.8 n=8",
        "DPO temperature=1.0 n=4",
        "DPO temperature=1.0 n=8",
    ]
    dpo = steps(plan, "DPO temperature=1.0 n=8")["dpo"].config
    assert isinstance(dpo, DpoSection)
    assert dpo.beta == 0.2
    assert stages(plan)["sample"] == 4
    assert stages(plan)["sft"] == 1


def test_scoring_asks_the_one_model_alone(bench: Bench) -> None:
    values = {"evaluate.models": {"other": "builtin:tiny"}, "evaluate.max_new_tokens": 9}
    plan = bench.state({"it": {"recipe": "sft"}}, set=values).plan
    config = steps(plan, "it")["score"].config
    assert isinstance(config, EvaluateSection)
    assert (config.models, config.include_base, config.max_new_tokens) == ({}, False, 9)


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "unknown key": (
        {"it": {"recipe": "dpo", "set": {"dpo.max_word": 3}}},
        {},
        r"setting 'it': .*\n *dpo.max_word: unknown key; did you mean 'max_words'",
    ),
    "bound": (
        {"it": {"recipe": "dpo", "set": {"dpo.beta": -1}}}, {}, r"setting 'it': .*\n *dpo.beta",
    ),
    "then": (
        {"it": {"recipe": "star", "then": {"sft.composition": "all"}}},
        {},
        r"setting 'it': .*\n *sft.composition",
    ),
    "a stage that is not there": (
        {"it": {"recipe": "sft", "set": {"dpo.beta": 0.2}}},
        {},
        "setting 'it': set: dpo.beta changes nothing in recipe 'sft'",
    ),
    "surroundings": (
        {"it": {"recipe": "sft", "set": {"run.home": "x"}}}, {}, "run.home changes nothing",
    ),
    "seed": ({"it": {"recipe": "sft"}}, {"set": {"run.seed": 3}}, "write seeds"),
}  # fmt: skip


JUDGED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown dataset": ({"dataset": "chartqa"}, "no benchmark of dataset 'chartqa'; write one of"),
    "unknown method": ({"better": {"setting": "it", "method": "guess"}}, "no method 'guess'"),
    "not verified": ({"than": {"setting": "good", "method": "best"}}, "'good'; give .* verify: tr"),
    "more answers than are drawn": (
        {"better": {"setting": "it", "method": "best", "n": 99}}, "n = 99, but 4 answers are drawn",
    ),
    "a number without a method": ({"better": {"setting": "it", "n": 4}}, "n = 4 needs a method"),
    "direct answers chosen": (
        {"better": {"setting": "it", "method": "best"}, "mode": "direct"}, "for reasoned answers",
    ),
    "nothing to compare": ({"than": "it"}, "both sides are the same"),
}  # fmt: skip


@pytest.mark.parametrize("case", JUDGED)
def test_a_claim_that_no_result_could_decide_is_refused_before_anything_runs(
    bench: Bench, case: str
) -> None:
    fields, message = JUDGED[case]
    claim = {"name": "c", "better": "it", "than": "good"} | fields
    settings = {"good": {"recipe": "sft"}, "it": {"recipe": "dpo", "verify": True}}
    with pytest.raises(ConfigError, match=f"claim 'c'.*{message}"):
        bench.state(settings, claims=[claim])


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_setting_is_refused_by_name_before_anything_runs(bench: Bench, case: str) -> None:
    settings, more, message = REFUSED[case]
    with pytest.raises(ConfigError, match=message):
        bench.state({"good": {"recipe": "sft"}, **settings}, **more)
    assert not (bench.folder / "home" / "store").exists()
