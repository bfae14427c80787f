"""Two runs side by side: which questions, what differs, which answers are won and lost."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chainsight.cli import app
from chainsight.errors import ConfigError, RecordError
from chainsight.report.compare import page, show
from chainsight.report.compare.comparison import Comparison, Line, compare
from chainsight.report.compare.sides import Side, of_version, read
from chainsight.tracking import PREDICTIONS_URI, Version

from .conftest import Shelf, answers, questions

NASTY = "<script>alert(1)</script>"
ASKED = questions(40)


def compared(shelf: Shelf, before: str, after: str) -> Comparison:
    return compare(read(before, None), read(after, None))


def two(shelf: Shelf, **fields: Any) -> Comparison:
    """A wrong on 0 to 9, B on 8 and 9 and 20."""
    before = shelf.evaluation("a", ASKED, answers(ASKED, range(10)))
    after = shelf.evaluation("b", ASKED, answers(ASKED, (8, 9, 20), **fields), beta=0.5)
    return compared(shelf, before, after)


def line(found: Comparison, mode: str, dataset: str = "bars") -> Line:
    return next(one for one in found.lines if (one.mode, one.dataset) == (mode, dataset))


def counts(own: Line) -> tuple[int, int, int]:
    return own.difference.num_won, own.difference.num_lost, own.difference.num_questions


def one_file(folder: Path) -> Path:
    folder.mkdir()
    (folder / "file").write_text("x")
    return folder


def test_a_second_round_is_set_as_the_last_and_paid_with_the_first(
    shelf: Shelf, tmp_path: Path
) -> None:
    behind: dict[str, str] = {}
    for name, beta, seconds in (("r1", 0.1, 20.0), ("r2", 0.5, 30.0)):
        shelf.put("aligned", name, one_file(tmp_path / name), stage="dpo", inputs=behind,
                  config={"config": {"beta": beta}}, seconds=seconds)  # fmt: skip
        behind = {"policy": shelf.store.artifact_uri("aligned", name)}
    asked = {"aligned": behind["policy"]}
    folder = one_file(tmp_path / "asked")
    manifest = shelf.put("predictions", "p", folder, stage="evaluate", inputs=asked)
    side = Side("two rounds", "aligned", {}, "", manifest, shelf.store)
    assert side.settings["dpo.beta"] == 0.5
    assert side.spent["dpo"].seconds == 50.0


# --- figures -----------------------------------------------------------------------------------


def test_known_flips_are_counted_and_listed(shelf: Shelf) -> None:
    found = two(shelf)
    own = line(found, "cot")
    assert counts(own) == (8, 1, 40)
    assert (own.before, own.after) == (0.75, 0.925)
    assert own.gain.value == pytest.approx(7 / 40)
    assert own.gain.low > 0
    assert own.verdict == "better"
    ids = [(pair.after.example_id, pair.difference) for pair in found.flips]
    assert ids[0] == ("bars/test/20", -1.0)
    assert {name for name, gain in ids if gain > 0} == {f"bars/test/{n}" for n in range(8)}
    assert own.same_answer == pytest.approx(31 / 40)


def test_equal_answers_show_no_difference(shelf: Shelf) -> None:
    own = line(two(shelf), "direct")
    assert (own.gain.value, counts(own), own.difference.p_value) == (0.0, (0, 0, 40), 1.0)
    assert own.verdict == "open"


def test_one_side_twice_is_said_to_be_the_same(shelf: Shelf) -> None:
    uri = shelf.evaluation("same", ASKED, answers(ASKED))
    assert "Nothing to compare" in page.build(compared(shelf, uri, uri))
    assert "Nothing to compare" not in page.build(two(shelf))


def test_fewer_flips_than_chance_brings_are_open(shelf: Shelf) -> None:
    before = shelf.evaluation("a", ASKED, answers(ASKED, (1, 2)))
    after = shelf.evaluation("b", ASKED, answers(ASKED, (3,)))
    assert line(compared(shelf, before, after), "cot").verdict == "open"


def test_interval_and_test_must_agree(shelf: Shelf) -> None:
    """Five won and none lost: the bootstrap is clear of zero, McNemar's p is 0.0625."""
    before = shelf.evaluation("a", ASKED, answers(ASKED, range(5)))
    after = shelf.evaluation("b", ASKED, answers(ASKED))
    own = line(compared(shelf, before, after), "cot")
    assert own.gain.low > 0
    assert own.verdict == "open"


def test_several_benchmarks_count_alike(shelf: Shelf) -> None:
    asked = [*questions(30), *questions(10, "dials")]
    before = shelf.evaluation("a", asked, answers(asked, range(3)))
    after = shelf.evaluation("b", asked, answers(asked, range(30, 40)))
    found = compared(shelf, before, after)
    assert line(found, "cot", "bars").gain.value == pytest.approx(0.1)
    assert line(found, "cot", "dials").gain.value == -1.0
    assert line(found, "cot", "all").gain.value == pytest.approx(-0.45)
    assert [one.dataset for one in found.lines[:3]] == ["all", "bars", "dials"]


def test_form_and_length_are_compared(shelf: Shelf) -> None:
    found = two(shelf, status="truncated", num_tokens=100)
    own = line(found, "cot")
    assert (own.unread_before, own.unread_after) == (0.0, 1.0)
    assert own.tokens_after == 100.0
    assert own.tokens_gain[0] > 50
    assert found.statuses["cot", "marker", "truncated"] == 40


def test_what_is_set_otherwise_is_named_as_in_configurations(shelf: Shelf) -> None:
    changed = {one.name: (one.before, one.after) for one in two(shelf).settings}
    assert changed == {"dpo.beta": (0.1, 0.5)}


def test_a_stage_of_one_side_alone_is_one_line(shelf: Shelf) -> None:
    both = [*answers(ASKED), *answers(ASKED, (1,), model="base")]
    uri = shelf.evaluation("a", ASKED, both)
    found = compared(shelf, f"{uri}#base", uri)
    assert [(one.name, one.before, one.after) for one in found.settings] == [
        ("stage dpo", "not done", "done")
    ]
    assert found.after.spent["dpo"].cost_usd == 0.5
    assert "dpo" not in found.before.spent


# --- the same questions ------------------------------------------------------------------------


def test_other_benchmarks_are_compared_on_equal_questions_alone(shelf: Shelf) -> None:
    fewer = [replace(example, id=f"mine/test/{n}") for n, example in enumerate(ASKED[10:])]
    before = shelf.evaluation("a", ASKED, answers(ASKED, range(15)), "a" * 64)
    after = shelf.evaluation("b", fewer, answers(fewer), "b" * 64, evaluate={"max_new_tokens": 9})
    found = compared(shelf, before, after)
    own = line(found, "cot", "mine")
    assert counts(own) == (5, 0, 30)
    assert found.matched.unlike == (
        "of 40 questions and 30, 30 are the same; only these are compared",
        "evaluate.max_new_tokens is None and 9",
    )
    assert "Not the same benchmark" in page.build(found)


def test_a_question_with_another_picture_is_another_question(shelf: Shelf) -> None:
    swapped = [replace(example, images=ASKED[0].images) for example in ASKED]
    before = shelf.evaluation("a", ASKED, answers(ASKED), "a" * 64)
    after = shelf.evaluation("b", swapped, answers(swapped), "b" * 64)
    assert line(compared(shelf, before, after), "cot").difference.num_questions == 1


def test_a_question_asked_twice_is_paired_twice(shelf: Shelf) -> None:
    twice = [*ASKED[:3], replace(ASKED[0], id="bars/test/again")]
    before = shelf.evaluation("a", twice, answers(twice), "a" * 64)
    after = shelf.evaluation("b", twice[::-1], answers(twice), "b" * 64)
    assert line(compared(shelf, before, after), "cot").difference.num_questions == 4


def test_without_a_common_question_there_is_a_way_out(shelf: Shelf) -> None:
    others = [replace(example, references=("x",)) for example in ASKED]
    before = shelf.evaluation("a", ASKED, answers(ASKED), "a" * 64)
    after = shelf.evaluation("b", others, answers(others), "b" * 64)
    with pytest.raises(RecordError, match=r"no question in common.*chainsight evaluate CONFIG"):
        compared(shelf, before, after)


def test_other_benchmarks_whose_questions_are_lost_are_refused(shelf: Shelf) -> None:
    before = shelf.evaluation("a", ASKED, answers(ASKED), "a" * 64)
    after = shelf.evaluation("b", ASKED, answers(ASKED), "b" * 64)
    (Path(shelf.store.uri) / "benchmarks/a/manifest.json").unlink()
    with pytest.raises(RecordError, match=r"questions of .*/a are not in"):
        compared(shelf, before, after)


# --- naming sides ------------------------------------------------------------------------------


def test_a_model_that_was_not_asked_is_refused_with_those_that_were(shelf: Shelf) -> None:
    uri = shelf.evaluation("a", ASKED, answers(ASKED, model="policy") + answers(ASKED))
    with pytest.raises(ConfigError, match=r"no answers of 'champion', only of policy, aligned"):
        read(f"{uri}#champion", None)


def test_the_only_model_needs_no_name(shelf: Shelf) -> None:
    uri = shelf.evaluation("a", ASKED, answers(ASKED, model="model"))
    assert read(uri, None).model == "model"


def test_a_setting_of_an_ablation_is_a_side_with_one_of_its_seeds(
    shelf: Shelf, tmp_path: Path
) -> None:
    rows = answers(ASKED, model="model")
    seeds = {str(n): {"predictions": shelf.evaluation(f"s{n}", ASKED, rows)} for n in (0, 1)}
    told = tmp_path / "reports/mine/ablation.json"
    told.parent.mkdir(parents=True)
    told.write_text(json.dumps({"settings": [{"name": "both", "seeds": seeds}]}))
    run = str(Path("configs/demo.yaml").resolve())
    plan: dict[str, Any] = {"name": "mine", "run": run, "settings": {"both": {"recipe": "sft"}}}
    plan["set"] = {"run.home": str(tmp_path)}
    path = tmp_path / "ablation.yaml"
    path.write_text(json.dumps(plan))  # JSON is YAML
    assert read(f"{path}#both", None).manifest.key == "s0"
    assert read(f"{path}#both/1", None).manifest.key == "s1"
    with pytest.raises(ConfigError, match="'both' has no seed '7' finished; there are 0, 1"):
        read(f"{path}#both/7", None)


@pytest.mark.parametrize("reference", ["nowhere", "a/b", "store/aligned/123"])
def test_what_is_no_side_is_refused_with_what_would_be(reference: str) -> None:
    with pytest.raises(ConfigError, match="give a configuration"):
        read(reference, None)


def test_a_registered_version_needs_a_registry() -> None:
    with pytest.raises(ConfigError, match=r"chainsight report CONFIG --compare A B"):
        read("models:/mine@champion", None)


def test_a_version_leads_to_the_answers_it_was_judged_by(shelf: Shelf) -> None:
    uri = shelf.evaluation("a", ASKED, answers(ASKED, (1,), model="base") + answers(ASKED))
    version = Version("mine", 3, "", "", {PREDICTIONS_URI: uri})
    side = of_version("models:/mine/3", "", version, shelf.store)
    assert (side.name, side.model, side.fingerprint) == ("models:/mine/3", "aligned", "f" * 64)
    with pytest.raises(RecordError, match=r"models:/mine/4 has no tag .*evaluate\.models"):
        of_version("models:/mine/4", "", Version("mine", 4, "", ""), shelf.store)


def test_a_setting_is_taken_with_the_seed_that_is_named(shelf: Shelf, tmp_path: Path) -> None:
    uris = [shelf.evaluation(f"s{n}", ASKED, answers(ASKED, range(n))) for n in range(2)]
    (tmp_path / "run.yaml").write_text(
        "run: {tracking_uri: none}\n"
        "prepare: {examples: [{dataset: bars}], benchmarks: [{dataset: bars, split: test}]}\n"
    )
    path = tmp_path / "mine.yaml"
    path.write_text("{name: mine, run: run.yaml, settings: {cut: {recipe: sft}}}")
    seeds = {str(n): {"predictions": uri} for n, uri in enumerate(uris)}
    told = {"name": "mine", "settings": [{"name": "cut", "seeds": seeds}]}
    file = tmp_path / "reports" / "mine" / "ablation.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(told))
    home = {"run.home": str(tmp_path)}  # as by --set
    side = read(f"{path}#cut/1", None, home)
    assert (side.name, side.manifest.key) == (f"{path}#cut/1", uris[1].rpartition("/")[2])
    assert read(f"{path}#cut", None, home).name == f"{path}#cut/0"
    with pytest.raises(ConfigError, match=r"'cut' has no seed '7' finished; there are 0, 1"):
        read(f"{path}#cut/7", None, home)


def test_a_run_that_is_not_finished_says_how_to_finish_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"run: {{home: {tmp_path / 'home'}, tracking_uri: none}}\n"
        "prepare: {examples: [{dataset: bars}], benchmarks: [{dataset: bars, split: test}]}\n"
    )
    with pytest.raises(ConfigError, match=r"not finished.*chainsight run .*mine\.yaml"):
        read(f"{path}#policy", None)


# --- the page and the command ------------------------------------------------------------------


def test_what_models_wrote_is_escaped(shelf: Shelf) -> None:
    asked = [replace(example, question=NASTY) for example in ASKED]
    before = shelf.evaluation("a", asked, answers(asked, range(10), text=NASTY, answer=NASTY))
    after = shelf.evaluation("b", asked, answers(asked, text=NASTY))
    shown = page.build(compared(shelf, before, after))
    assert NASTY not in shown
    assert shown.count("&lt;script&gt;") >= 20


def test_the_page_shows_won_and_lost_answers_with_their_pictures(shelf: Shelf) -> None:
    shown = page.build(two(shelf))
    assert "A → B, reasoned: 8 won, 1 lost" in shown
    assert 'data-kind="lost" aria-label="bars/test/20"' in shown
    assert shown.count('data-kind="won"') == 8
    assert shown.count("data:image/png") == 40
    assert "dpo.beta" in shown


def test_answers_without_their_questions_are_shown_as_they_were_asked(shelf: Shelf) -> None:
    before = shelf.evaluation("a", ASKED, answers(ASKED, (1,)))
    after = shelf.evaluation("b", ASKED, answers(ASKED))
    (Path(shelf.store.uri) / "benchmarks/b/manifest.json").unlink()
    found = compared(shelf, before, after)
    shown = page.build(found)
    assert "How high is bar 1?" in shown
    assert "no picture" in shown


def test_the_command_writes_the_page_and_json(shelf: Shelf, tmp_path: Path) -> None:
    before = shelf.evaluation("a", ASKED, answers(ASKED, range(10)))
    after = shelf.evaluation("b", ASKED, answers(ASKED))
    target = tmp_path / "side.html"
    call = ["report", "--compare", before, after, "-o", str(target)]
    told = json.loads(CliRunner().invoke(app, [*call, "--json"]).stdout)
    assert target.read_text().startswith("<!DOCTYPE html>")
    scores = {one["mode"]: one for one in told["scores"]}
    assert scores["cot"]["gain"]["value"] == pytest.approx(0.25)
    assert len(told["flips"]) == 10
    assert told["after"]["cost_usd"]["dpo"] == 0.5
    drawn = CliRunner().invoke(app, call)
    assert "better" in drawn.stdout


def test_json_has_every_flip(shelf: Shelf) -> None:
    told = show.to_json(two(shelf))
    assert json.loads(json.dumps(told))["flips"][0]["example_id"] == "bars/test/20"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["report"], "write a configuration"),
        (["report", "c.yaml", "--paper", "--compare", "a", "b"], "one at a time"),
    ],
)
def test_calls_without_a_meaning_are_refused(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, ConfigError)
    assert words in str(result.exception)
