"""Which of our settings is which row of the paper, and what stands beside its figures."""

from collections.abc import Mapping
from typing import Any

import pytest

from chainsight.config import load_config
from chainsight.report.paper.figures import Place, Result, estimate, mean_of
from chainsight.report.paper.layout import AVERAGE, Line, Paper, Shown, Splits, lay_out
from chainsight.report.paper.published import DPO, STAR, TABLES, sft, verified
from chainsight.report.paper.settings import Setting, is_of, variation
from chainsight.report.paper.terms import BENCHMARKS

PAPERS = load_config("configs/paper.yaml").model_dump(mode="json", by_alias=True)
DEMO = load_config("configs/demo.yaml").model_dump(mode="json", by_alias=True)
CHARTQA = ("relaxed_accuracy", 2500)
BARS = ("exact_match", 300)
SPLITS = Splits({"chartqa": ("test",), "bars": ("test",)})
BY_KEY = {table.key: table for table in TABLES}


def result(value: float, metric: str, count: int) -> Result:
    return Result(value, 0.01, count, metric)


def scored(
    benchmarks: Mapping[str, tuple[str, int]], *values: float
) -> dict[str, dict[Place, Result]]:
    """Each seed has one of `values` wherever it is asked."""
    return {
        str(seed): {
            Place(mode, dataset): result(value, metric, count)
            for mode in ("direct", "cot")
            for dataset, (metric, count) in benchmarks.items()
        }
        for seed, value in enumerate(values)
    }


def setting(
    name: str, recipe: str, changes: Mapping[str, Any] | None = None, **more: Any
) -> Setting:
    own = {"config": DEMO, "results": scored({"bars": BARS}, 0.5)} | more
    return Setting(name, recipe, changes=changes or {}, **own)


def shown(paper: Paper, key: str, *, own: bool) -> Shown:
    return next(one for one in (paper.own if own else paper.beside) if one.table.key == key)


def ours(one: Shown) -> list[tuple[str, str, str]]:
    return [(line.row, line.mode, line.setting.name) for line in one.lines if line.setting]


# --- which row ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "changes", "row"),
    [
        ("sft", {"sft.composition": "direct"}, "2 direct"),
        ("sft", {"sft.composition": "format"}, "1 format"),
        ("sft", {"sft.composition": "reasoned"}, "3 reasoned"),
        ("sft", {}, "4 both (SFT)"),
        ("sft", {"sft.composition": "both"}, "4 both (SFT)"),
        ("dpo", {}, "6 SFT + DPO"),
    ],
)
def test_a_row_is_known_by_recipe_and_settings_whatever_its_name(
    recipe: str, changes: Mapping[str, Any], row: str
) -> None:
    made = setting("anything", recipe, changes)
    rows = BY_KEY["compositions"].rows
    assert [one.title for one in rows if one.recipe and is_of(made, one.recipe)] == [row]


@pytest.mark.parametrize(
    "made",
    [
        setting("2 direct", "sft", {"sft.composition": "direct", "sft.direct_ratio": 0.5}),
        setting("4 both (SFT)", "sft", {"sft.epochs": 2}),
        setting("6 SFT + DPO", "dpo", {"dpo.sft_weight": 1.0}),
        setting("6 SFT + DPO", "dpo", {"sample.temperature": 1.2}),
        setting("6 SFT + DPO", "dpo", rounds=2),
        setting("6 SFT + DPO", "rft"),
        setting("6 SFT + DPO", "dpo", config=DEMO | {"sft": DEMO["sft"] | {"direct_ratio": 0.5}}),
    ],
    ids=["ratio", "epochs", "sft term", "temperature", "rounds", "recipe", "the run's own ratio"],
)
def test_what_the_paper_has_not_done_is_none_of_its_rows(made: Setting) -> None:
    rows = [row for table in TABLES for row in (*table.rows, *table.own_rows)]
    found = [row.title for row in rows if row.recipe and is_of(made, row.recipe)]
    assert [title for title in found if not title.startswith("RFT")] == []


def test_a_change_to_what_the_run_has_anyway_changes_nothing() -> None:
    assert is_of(setting("same", "dpo", {"sample.temperature": 1.0}), DPO)


def test_star_learns_from_direct_answers_first_and_from_its_own_chains_then() -> None:
    first = {"sft.composition": "direct"}
    assert is_of(setting("STaR", "star", first, then={"sft.composition": "both"}), STAR)
    assert not is_of(setting("STaR", "star", first, then={"sft.epochs": 2}), STAR)
    assert not is_of(setting("STaR", "star"), STAR)
    assert is_of(setting("STaR", "star", first | {"sample.num_candidates": 4}), STAR)


def test_votes_are_those_of_the_number_that_the_paper_prints() -> None:
    voted = setting("voting", "verify", {"method": "weighted"}, config=DEMO | {"n": 64})
    assert is_of(voted, verified("weighted", n=64))
    assert not is_of(voted, verified("majority"))
    fewer = setting("voting", "verify", {"method": "weighted"}, config=DEMO | {"n": 8})
    assert not is_of(fewer, verified("weighted", n=64))
    assert is_of(fewer, verified("weighted"))


def test_own_cuts_have_rows_of_their_own_in_the_table_of_cuts() -> None:
    table = BY_KEY["truncation"]
    assert variation(setting("short", "dpo", {"dpo.max_words": 12}), table) == "dpo.max_words=12"
    assert variation(setting("cos", "dpo", {"dpo.token_weights": "cos"}), table) == (
        "dpo.token_weights=cos"
    )
    assert variation(setting("warm", "dpo", {"sample.temperature": 1.2}), table) == ""
    assert variation(setting("the paper's", "dpo"), table) == ""


def test_sizes_that_are_not_the_papers_are_named() -> None:
    own = setting("both", "dpo").unlike_the_paper()
    assert "model.base builtin:tiny (paper: Lin-Chen/open-llava-next-llama3-8b)" in own
    assert "sample.num_candidates 8 (paper: 32)" in own
    assert setting("both", "dpo", config=PAPERS).unlike_the_paper() == []


# --- beside the paper's figures ----------------------------------------------------------------


def lines_of(paper: Paper, key: str, row: str, *, own: bool = False) -> list[Line]:
    return [line for line in shown(paper, key, own=own).lines if line.row == row]


def test_ours_stand_beside_the_paper_where_the_benchmark_is_the_same() -> None:
    made = setting("mine", "sft", results=scored({"chartqa": CHARTQA, "bars": BARS}, 0.8, 0.9))
    paper = lay_out([made], SPLITS)
    theirs, own = (one for one in lines_of(paper, "compositions", "4 both (SFT)")
                   if one.mode == "cot")  # fmt: skip
    assert theirs.published["chartqa"] == 83.0
    assert own.setting is made
    figure = own.cells["chartqa"].estimate
    assert figure is not None
    assert figure.value == pytest.approx(0.85)
    assert own.cells["aokvqa"].why == "no run"
    assert own.cells[AVERAGE].estimate is None
    assert own.cells[AVERAGE].why == "not all benchmarks"


def test_published_and_own_figures_are_never_on_one_line() -> None:
    made = setting("mine", "sft", results=scored({"chartqa": CHARTQA, "bars": BARS}, 0.8))
    paper = lay_out([made], SPLITS)
    for one in (*paper.beside, *paper.own):
        for line in one.lines:
            assert not (line.published and line.cells)
    assert all(not line.published for one in paper.own for line in one.lines)
    assert all("bars" not in one.columns for one in paper.beside)
    assert shown(paper, "compositions", own=True).columns == ("bars",)


@pytest.mark.parametrize(
    ("benchmark", "split", "why"),
    [
        (("relaxed_accuracy", 4), "test", "4 of its 2,500 questions"),
        (("exact_match", 2500), "test", "exact_match, not relaxed_accuracy"),
        (CHARTQA, "val", "split val, not test"),
    ],
)
def test_another_part_of_a_benchmark_is_another_benchmark(
    benchmark: tuple[str, int], split: str, why: str
) -> None:
    made = setting("mine", "sft", results=scored({"chartqa": benchmark}, 0.8))
    paper = lay_out([made], Splits({"chartqa": (split,)}))
    assert dict(paper.others) == {"chartqa": why}
    assert not any(one.has_ours for one in paper.beside)
    assert ours(shown(paper, "compositions", own=True)) == [
        ("4 both (SFT)", "direct", "mine"), ("4 both (SFT)", "cot", "mine"),
    ]  # fmt: skip


def test_a_few_bad_rows_leave_a_benchmark_the_same() -> None:
    made = setting("mine", "sft", results=scored({"chartqa": ("relaxed_accuracy", 2490)}, 0.8))
    assert dict(lay_out([made], SPLITS).others) == {}


def test_two_benchmarks_of_mmmu_metrics_are_known() -> None:
    theirs = BENCHMARKS["mmmu"]
    found = result(0.4, "mmmu_open+multiple_choice", theirs.size)
    assert Splits({"mmmu": ("validation",)}).why_not("mmmu", found) == ""


def test_a_base_model_is_the_papers_only_if_it_is_the_same_one() -> None:
    results = scored({"chartqa": CHARTQA}, 0.5)
    toy = lay_out([setting("base", "base", results=results)], SPLITS)
    assert not any(one.has_ours for one in toy.beside)
    real = lay_out([setting("base", "base", config=PAPERS, results=results)], SPLITS)
    assert ours(shown(real, "baselines", own=False))[0] == ("LLaVA-NeXT-8B", "direct", "base")


def test_the_average_is_of_the_whole_line_seed_by_seed() -> None:
    whole = {name: (one.metric, one.size) for name, one in BENCHMARKS.items()}
    made = setting("mine", "sft", results=scored(whole, 0.6, 0.7))
    splits = Splits({name: (one.split,) for name, one in BENCHMARKS.items()})
    paper = lay_out([made], splits)
    own = lines_of(paper, "compositions", "4 both (SFT)")[1]
    found = own.cells[AVERAGE].estimate
    assert found is not None
    assert (found.value, found.num_seeds) == (pytest.approx(0.65), 2)
    assert paper.own == ()


# --- tables of our own -------------------------------------------------------------------------


def test_a_row_without_a_run_says_so() -> None:
    paper = lay_out([setting("mine", "sft"), setting("more", "dpo")], SPLITS)
    lines = lines_of(paper, "compositions", "2 direct", own=True)
    assert [line.cells["bars"].why for line in lines] == ["no run", "no run"]


def test_settings_of_one_row_have_a_line_each() -> None:
    same = setting("other", "sft", {"sft.composition": "both"})
    paper = lay_out([setting("one", "sft"), same], SPLITS)
    names = [name for row, mode, name in ours(shown(paper, "compositions", own=True))
             if mode == "cot"]  # fmt: skip
    assert names == ["one", "other"]


def test_settings_of_no_row_are_shown_apart() -> None:
    twice = setting("two rounds", "dpo", rounds=2)
    paper = lay_out([setting("one", "dpo"), twice], SPLITS)
    assert paper.left == (twice,)
    assert ours(shown(paper, "further", own=True)) == [
        ("dpo, 2 rounds", "direct", "two rounds"), ("dpo, 2 rounds", "cot", "two rounds"),
    ]  # fmt: skip


def test_a_comparison_of_one_setting_is_no_table() -> None:
    paper = lay_out([setting("mine", "sft")], SPLITS)
    assert [one.table.key for one in paper.own] == ["compositions"]


# --- figures -----------------------------------------------------------------------------------


def test_one_seed_has_the_interval_over_the_questions() -> None:
    found = estimate([result(0.5, "m", 100)])
    assert (found.value, found.num_seeds) == (0.5, 1)
    assert (found.low, found.high) == pytest.approx((0.5 - 0.0196, 0.5 + 0.0196), abs=1e-4)


def test_one_seed_without_a_right_answer_is_not_certain_to_have_none() -> None:
    """Wilson's interval, as in the overview of the run's report."""
    found = estimate([Result(0.0, 0.0, 300, "m")])
    assert (found.low, found.high) == pytest.approx((0.0, 3.8415 / (300 + 3.8415)), abs=1e-4)


def test_five_seeds_have_students_interval() -> None:
    found = estimate([result(v, "m", 100) for v in (0.70, 0.72, 0.74, 0.76, 0.78)])
    half = 2.7764 * 0.0316228 / 5**0.5  # t of 4 degrees, sample deviation
    assert found.value == pytest.approx(0.74)
    assert (found.low, found.high) == pytest.approx((0.74 - half, 0.74 + half), abs=1e-4)


def test_an_interval_stays_between_nothing_and_everything() -> None:
    found = estimate([result(v, "m", 100) for v in (0.99, 0.5)])
    assert (found.low, found.high) == (0.0, 1.0)


def test_the_mean_over_benchmarks_adds_their_errors_in_squares() -> None:
    found = mean_of([[result(0.4, "m", 10)], [result(0.6, "m", 1000)]])
    assert found.value == pytest.approx(0.5)
    assert found.high - found.value == pytest.approx(1.96 * 0.01 / 2**0.5, abs=1e-5)


def test_the_recipe_of_a_composition_names_one_setting() -> None:
    assert sft("direct").keys == {"sft.composition": "direct"}
