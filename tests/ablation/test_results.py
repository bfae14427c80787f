"""What an ablation found: every figure again from the Parquet files that it came from."""

import json
import statistics
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from chainsight import records
from chainsight.ablation import show, table
from chainsight.ablation.evidence import Evidence, verdict
from chainsight.ablation.execute import State
from chainsight.ablation.page import build
from chainsight.ablation.results import collect, write
from chainsight.analysis import voting
from chainsight.config.ablate import ClaimSection
from chainsight.records import Prediction, Verified
from tests.ablation.conftest import CLAIMS, DATASETS, A, B, Bench, Fakes


def answers(state: State, found: dict[str, Any], name: str, seed: int) -> list[Prediction]:
    """The rows that a setting's scores were counted from."""
    (setting,) = [s for s in found["settings"] if s["name"] == name]
    folder = state.store.fetch(setting["seeds"][str(seed)]["predictions"])
    return list(records.read(folder / "predictions.parquet", Prediction))


def accuracy(rows: list[Prediction], mode: str, dataset: str = "") -> float:
    """Plain mean over the datasets' means."""
    names = [dataset] if dataset else DATASETS
    return statistics.fmean(
        statistics.fmean(
            r.score for r in rows if r.mode == mode and r.example_id.startswith(f"{name}/")
        )
        for name in names
    )


def setting(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(s for s in found["settings"] if s["name"] == name)


def test_a_cell_is_mean_and_spread_of_the_seeds_predictions(finished: State) -> None:
    state, found = finished, collect(finished)
    for mode in ("direct", "cot"):
        for dataset in ("all", *DATASETS):
            values = [
                accuracy(answers(state, found, "DPO", seed), mode, dataset.replace("all", ""))
                for seed in (0, 1)
            ]
            cell = table.cell(setting(found, "DPO"), mode, dataset)
            assert cell is not None
            assert cell.mean == pytest.approx(statistics.fmean(values))
            assert cell.spread == pytest.approx(statistics.stdev(values))


def test_a_difference_is_paired_with_the_baselines_seeds(finished: State) -> None:
    state, found = finished, collect(finished)
    own, base = (
        [accuracy(answers(state, found, name, seed), "cot") for seed in (0, 1)]
        for name in ("DPO", "format")
    )
    difference = setting(found, "DPO")["against"]["cot"]["all"]
    assert difference["per_seed"] == pytest.approx([o - b for o, b in zip(own, base, strict=True)])
    assert difference["difference"] == pytest.approx(statistics.fmean(difference["per_seed"]))
    assert difference["low"] < difference["difference"] < difference["high"]
    assert "against" not in setting(found, "format")


def test_claims_are_judged_on_what_they_name(finished: State) -> None:
    state, found = finished, collect(finished)
    verdicts = {claim["name"]: claim for claim in found["claims"]}
    rows = {
        (name, seed): answers(state, found, name, seed)
        for name in ("format", "both", "DPO")
        for seed in (0, 1)
    }

    def per_seed(name: str, *place: str) -> list[float]:
        return [accuracy(rows[name, seed], *place) for seed in (0, 1)]

    expected = {
        "both": (per_seed("both", "cot"), per_seed("format", "cot")),
        "b alone": (per_seed("DPO", "cot", B), per_seed("both", "cot", B)),
        "reasons": (per_seed("DPO", "cot"), per_seed("DPO", "direct")),
    }
    for name, (better, than) in expected.items():
        differences = [b - t for b, t in zip(better, than, strict=True)]
        assert verdicts[name]["per_seed"] == pytest.approx(differences), name
    assert verdicts["b alone"]["num_questions"] == 20
    assert verdicts["votes"]["relation"] == "far_above"
    assert verdicts["votes"]["reproduced"] == "yes"  # rewards know the right answers here
    assert "DPO (best of 4) is" in verdicts["votes"]["words"]


def test_voting_is_that_of_the_judged_answers(finished: State) -> None:
    state, found = finished, collect(finished)
    one = setting(found, "DPO")["seeds"]["1"]
    rows = list(records.read(state.store.fetch(one["verified"]) / "verified.parquet", Verified))
    questions: dict[str, list[Verified]] = {}
    for row in rows:
        questions.setdefault(row.example_id, []).append(row)
    singles = [r.score for r in rows if r.index >= 0]
    assert one["voting"]["single"]["2"] == pytest.approx(statistics.fmean(singles))
    best = [voting.value("best", question, 4) for question in questions.values()]
    assert one["voting"]["best"]["4"] == pytest.approx(statistics.fmean(best))
    oracle = [float(any(r.score for r in q if r.index >= 0)) for q in questions.values()]
    assert one["voting"]["oracle"]["4"] == pytest.approx(statistics.fmean(oracle))
    assert setting(found, "both")["seeds"]["1"]["voting"] is None
    assert setting(found, "both")["seeds"]["1"]["verified"] is None


UNJUDGED = {
    "too few answers": ({"setting": "DPO", "method": "best", "n": 99}, "99 of 4 samples"),
    "a setting that is not verified": (
        {"setting": "both", "method": "best"},
        "both (best) has no result yet",
    ),
}


@pytest.mark.parametrize("case", UNJUDGED)
def test_a_claim_that_cannot_be_judged_is_open_and_says_why(finished: State, case: str) -> None:
    better, words = UNJUDGED[case]
    claim = {"name": "c", "better": better, "than": "format"}
    told = verdict(ClaimSection.model_validate(claim), Evidence(finished))
    assert told["reproduced"] == "open"
    assert told["difference"] is None
    assert words in told["words"]


def test_a_partly_finished_ablation_tells_what_there_is(bench: Bench) -> None:
    fakes = Fakes(lambda order: order.stage == "dpo" and order.run["seed"] == 0)
    found = collect(bench.done(fakes=fakes, claims=CLAIMS[:1]))
    cell = table.cell(setting(found, "DPO"), "cot", "all")
    assert cell is not None
    assert list(cell.values) == ["1"]
    assert cell.spread is None
    assert setting(found, "DPO")["against"]["cot"]["all"]["seeds"] == (1,)
    assert "2 of 8 results are missing" in build(found)


def test_nothing_finished_is_no_error(bench: Bench) -> None:
    found = collect(bench.state(claims=CLAIMS[:1]))
    assert found["fingerprint"] is None
    assert [s["seeds"] for s in found["settings"]] == [{}] * 4
    assert found["claims"][0]["reproduced"] == "open"
    assert "8 of 8 results are missing" in build(found)


def test_the_file_holds_what_the_interface_says(finished: State, tmp_path: Path) -> None:
    path = write(collect(finished), tmp_path)
    found = json.loads(path.read_text())
    assert path.name == "ablation.json"
    assert {"name", "settings", "claims", "fingerprint"} <= set(found)
    assert found["fingerprint"] == "f" * 64
    dpo = setting(found, "DPO")
    assert (dpo["recipe"], dpo["set"], dpo["rounds"]) == ("dpo", {}, 1)
    one = dpo["seeds"]["0"]
    assert list(one["metrics"]) == [
        "prepare", "distill", "sft", "sample", "pair", "dpo", "score", "verify",
    ]  # fmt: skip
    assert one["seconds"] == 8 * 2.0
    assert one["verified"].startswith(finished.store.uri)


def test_the_page_shows_verdicts_figures_and_changes(finished: State) -> None:
    found = collect(finished)
    setting(found, "no cut")["name"] = "<odd>"
    page = build(found)
    cell = table.cell(setting(found, "both"), "cot", A)
    assert show.percent(cell) in page
    assert page.count("<svg") == 3
    assert "reproduced</b>" in page
    assert "dpo.max_words: 0" in page
    assert "&lt;odd&gt;" in page
    assert "<odd>" not in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
    assert "<td>oracle</td>" in page


def test_the_console_shows_a_table_for_each_dataset_and_the_verdicts(finished: State) -> None:
    found = collect(finished)
    text = StringIO()
    console = Console(file=text, width=200)
    show.show_table(console, found)
    show.show_claims(console, found)
    shown = text.getvalue()
    assert [line.split(":")[0] for line in shown.splitlines() if "accuracy, %" in line] == [
        "mean over the datasets", *DATASETS,
    ]  # fmt: skip
    cell = table.cell(setting(found, "no cut"), "direct", "all")
    assert show.percent(cell) in shown
    assert "votes" in shown


def test_the_dry_run_tells_what_is_shared_and_what_is_there(bench: Bench) -> None:
    bench.done({"both": {"recipe": "sft"}})
    state = bench.state()
    told = show.planned(state)
    assert (told["nodes"], told["found"], told["without_sharing"]) == (22, 6, 44)
    assert told["stages"]["sft"] == {"nodes": 4, "found": 2}
    assert told["shared"] == [
        {"settings": ["format", "both", "DPO", "no cut"], "stages": ["prepare", "distill"]},
        {"settings": ["both", "DPO", "no cut"], "stages": ["sft"]},
        {"settings": ["DPO", "no cut"], "stages": ["sample", "pair"]},
    ]
    text = StringIO()
    show.show_plan(Console(file=text, width=200), state)
    assert "sample, pair: shared by DPO, no cut" in text.getvalue()
