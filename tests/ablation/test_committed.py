"""configs/ablations.yaml: the paper's orderings on the toy world."""

from collections import Counter
from pathlib import Path

from chainsight.ablation.plan import Plan, plan
from chainsight.analysis.voting import METHODS
from chainsight.config import PrepareSection, SftSection
from chainsight.config.ablate import AblateConfig, load_ablation
from chainsight.datasets import named

CONFIG = Path(__file__).parents[2] / "configs/ablations.yaml"


def committed() -> tuple[AblateConfig, Plan]:
    config, run = load_ablation(CONFIG)
    return config, plan(config, run)


def test_five_seeds_share_what_settings_have_in_common() -> None:
    config, found = committed()
    stages = Counter(node.stage.name for node in found.nodes.values())
    assert len(config.seeds) == 5
    assert (stages["prepare"], stages["distill"]) == (1, 1)
    assert stages["sft"] == 5 * 6  # five compositions, and STaR's second
    assert stages["sample"] == 5 * 6  # all, the judge's, each domain, STaR's, the second round
    assert len(found.nodes) < sum(len(row.steps) for row in found.rows) / 2


def test_it_reports_on_questions_that_nothing_was_chosen_by() -> None:
    _, found = committed()
    (prepare,) = (node.config for node in found.nodes.values() if node.stage.name == "prepare")
    assert isinstance(prepare, PrepareSection)
    assert {source.split for source in prepare.benchmarks} == {"test"}
    assert {source.split for source in prepare.examples} == {"train"}
    for source in (*prepare.examples, *prepare.benchmarks):
        named(source.name).require_split(source.split)


def test_compositions_are_trained_alike() -> None:
    """But for the row that says otherwise in its name, and STaR's second training."""
    _, found = committed()
    odd = "format only (30 epochs)"
    trained = {
        (node.config.epochs, node.config.max_steps, node.config.learning_rate)
        for row in found.rows
        for node in (found.nodes[row.steps["sft"]],)
        if row.name != odd and isinstance(node.config, SftSection)
    }
    assert len(trained) == 1


def test_claims_can_be_judged() -> None:
    config, _ = committed()
    assert len({claim.name for claim in config.claims}) == len(config.claims)
    for side in (side for claim in config.claims for side in (claim.better, claim.than)):
        assert side.method in (None, *METHODS)
        assert side.method is None or config.settings[side.setting].verify
