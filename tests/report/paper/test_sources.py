"""Our figures from a run's and an ablation's files; the page and the console that show them."""

import io
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from chainsight import records
from chainsight.config import RunConfig, load_config
from chainsight.records import Prediction, Verified
from chainsight.report.paper import page, show
from chainsight.report.paper.figures import Place
from chainsight.report.paper.layout import lay_out
from chainsight.report.paper.sources import is_ablation, of_ablation, of_evaluation
from chainsight.store import LocalStore

NASTY = "<script>alert(1)</script>"


def summary(model: str, direct: float, cot: float) -> dict[str, Any]:
    def told(value: float) -> dict[str, Any]:
        one = {"value": value, "standard_error": 0.1, "num_examples": 4}
        return one | {"datasets": {"bars": one | {"metric": "exact_match"}}}

    return {"models": {model: {"direct": told(direct), "cot": told(cot)}}, "fingerprint": "f" * 64}


def asked(folder: Path) -> Path:
    rows = [
        Prediction("model", f"bars/test/{n}", "cot", "", "", "", "marker", 1.0, 1) for n in range(4)
    ]
    records.write(folder / "predictions.parquet", rows, Prediction)
    return folder


def judged(folder: Path) -> Path:
    """Two questions: greedy wrong, two of three samples right; the reward prefers the wrong one."""
    rows = [
        Verified(f"bars/test/{question}", index, answer, answer, "marker", float(answer == "3"), 1,
                 reward, 0.0, (answer,), (reward,), vote=answer)
        for question in range(2)
        for index, answer, reward in ((-1, "2", 0.0), (0, "3", 0.1), (1, "3", 0.1), (2, "2", 3.0))
    ]  # fmt: skip
    records.write(folder / "verified.parquet", rows, Verified)
    return folder


def put(store: LocalStore, kind: str, folder: Path) -> str:
    about: dict[str, Any] = {"config": {}, "inputs": {}, "input_digests": {}, "metrics": {}}
    store.commit(folder, kind=kind, key="k", stage="x", code_version="1", seconds=0.0, **about)
    return store.artifact_uri(kind, "k")


def ablation(tmp_path: Path) -> tuple[dict[str, Any], RunConfig]:
    store = LocalStore(tmp_path / "store")
    predictions = put(store, "predictions", asked(tmp_path / "asked"))
    verified = put(store, "verified", judged(tmp_path / "judged"))
    one = {"predictions": predictions, "verified": None}
    told = {
        "name": "mine",
        "settings": [
            {"name": NASTY, "recipe": "sft", "set": {}, "then": {}, "rounds": 1,
             "seeds": {str(n): one | {"scores": summary("model", 0.2, 0.4 + 0.2 * n)}
                       for n in range(2)}},
            {"name": "aligned", "recipe": "dpo", "set": {}, "then": {}, "rounds": 1,
             "seeds": {"0": {"predictions": predictions, "verified": verified,
                             "scores": summary("model", 0.3, 0.7)}}},
            {"name": "lost", "recipe": "dpo", "set": {"dpo.max_words": 0}, "rounds": 1,
             "seeds": {}},
        ],
    }  # fmt: skip
    config = load_config("configs/demo.yaml", {"run.home": str(tmp_path)})
    return told, config


def test_an_ablation_gives_its_settings_with_their_seeds(tmp_path: Path) -> None:
    settings, splits = of_ablation(*ablation(tmp_path))
    assert splits.of == {"bars": ("test",)}
    both = settings[0]
    values = [both.results[seed][Place("cot", "bars")].value for seed in ("0", "1")]
    assert values == [0.4, 0.6000000000000001]
    assert settings[2].results == {}


def test_the_verifiers_ways_of_choosing_are_settings_of_their_own(tmp_path: Path) -> None:
    settings, _ = of_ablation(*ablation(tmp_path))
    found = {one.name: one.results["0"][Place("cot", "bars")].value
             for one in settings if one.recipe == "verify"}  # fmt: skip
    assert found["aligned, greedy"] == 0.0
    assert round(found["aligned, single of 3"], 6) == 0.666667
    assert found["aligned, majority of 3"] == 1.0
    assert found["aligned, best of 3"] == 0.0


def test_votes_are_weighed_by_the_verifications_beta(tmp_path: Path) -> None:
    """Two right samples with a reward of 0.1 against a wrong one with 3.0."""
    told, config = ablation(tmp_path)
    for beta, score in ((0.1, 1.0), (1.0, 0.0)):
        told["settings"][1]["set"] = {"verify.beta": beta}
        settings, _ = of_ablation(told, config)
        (found,) = (one for one in settings if one.name == "aligned, weighted of 3")
        assert found.results["0"][Place("cot", "bars")].value == score


def test_a_run_gives_its_models_by_what_they_are(tmp_path: Path) -> None:
    told = {"models": {name: summary(name, 0.1, 0.2)["models"][name]
                       for name in ("base", "policy", "aligned", "champion")}}  # fmt: skip
    scores = tmp_path / "scores"
    scores.mkdir()
    (scores / "summary.json").write_text(json.dumps(told))
    folders = {"scores": scores, "predictions": asked(tmp_path / "asked")}
    settings, _ = of_evaluation(load_config("configs/demo.yaml"), folders)
    assert [(one.name, one.recipe) for one in settings] == [
        ("base", "base"), ("policy", "sft"), ("aligned", "dpo"), ("champion", ""),
    ]  # fmt: skip
    paper = lay_out(settings, of_evaluation(load_config("configs/demo.yaml"), folders)[1])
    assert [one.name for one in paper.left] == ["champion"]
    tables = {one.table.key: [line.row for line in one.lines] for one in paper.own}
    assert tables["baselines"] == ["before training"] * 2 + ["format"] * 2


def test_the_page_escapes_names_and_says_what_was_not_run(tmp_path: Path) -> None:
    shown = page.build(NASTY, lay_out(*of_ablation(*ablation(tmp_path))))
    assert NASTY not in shown
    assert "&lt;script&gt;" in shown
    assert "no run" in shown
    assert "None of the benchmarks of these runs is one of the paper" in shown
    assert "Table C.1" in shown


def test_the_console_and_json_have_the_same_figures(tmp_path: Path) -> None:
    paper = lay_out(*of_ablation(*ablation(tmp_path)))
    out = io.StringIO()
    show.show(Console(file=out, width=200), paper)
    assert "50.0 (" in out.getvalue()
    told = json.loads(json.dumps(show.to_json(paper)))
    lines = next(one for one in told["own"] if one["table"] == "Tables 2 and 6")["lines"]
    own = next(one for one in lines if one["setting"] == NASTY and one["mode"] == "cot")
    assert round(own["cells"]["bars"]["value"], 9) == 0.5
    assert own["cells"]["bars"]["num_seeds"] == 2


def test_an_ablation_is_known_by_the_run_that_it_names(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nrun: demo.yaml\n")
    assert is_ablation(path)
    assert not is_ablation(Path("configs/demo.yaml"))
    assert not is_ablation(tmp_path / "nowhere.yaml")
