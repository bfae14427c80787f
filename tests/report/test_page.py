"""The page: complete, self-contained, safe, small."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from markup import parse

from chainsight import records
from chainsight.metrics import METRICS
from chainsight.metrics.base import Metric
from chainsight.records import Example, Prediction
from chainsight.report import StageResult, build, collect
from chainsight.report.plots import COLOURS, colour, duration

Run = dict[str, StageResult]


@pytest.fixture(scope="module")
def page(finished: Run) -> str:
    return build(collect("demo", finished))


def test_the_page_has_every_part(page: str) -> None:
    for title in (
        "Overview",
        "Accuracy on held-out questions",
        "Training",
        "What entered and left each stage",
        "Time and cost",
        "How sure the policy is",
        "Samples",
        "Candidates and pairs",
        "Prompts",
        "All figures",
    ):
        assert f">{title}</h2>" in page
    assert "Registered: chainsight version 1" in page
    assert "@challenger, @champion" in page
    assert "Partial report" not in page
    assert page.count('<svg role="img"') == 5


def test_scores_are_shown_with_their_errors(page: str, finished: Run) -> None:
    for score in collect("demo", finished).scores:
        assert f"{100 * score.value:.1f} ± {100 * score.standard_error:.1f}" in page


def test_lenient_scores_are_grey_and_beside_strict_ones(
    finished: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = collect("demo", finished)
    assert "enient" not in build(data)
    metric = Metric("soft", lambda *_, **__: 0.0, lambda *_, **__: 1.0)
    monkeypatch.setitem(METRICS, "soft", metric)
    scores = tuple(replace(score, metric="soft", lenient=0.987) for score in data.scores)
    page = build(replace(data, scores=scores))
    assert '<th scope="col" class="n">lenient, %</th>' in page
    assert "Lenient (direct / cot): " in page
    assert page.count('<td class="n"><span class="faint">98.7 / 98.7</span></td>') == 3
    for score in scores:
        assert f"{100 * score.value:.1f} ± {100 * score.standard_error:.1f}" in page


def test_the_words_shown_are_those_of_the_evaluation(finished: Run) -> None:
    data = collect("demo", finished)
    assert "Answer the question with a short answer." in build(data)
    page = build(replace(data, prompt_style="lmms_eval"))
    assert "Answer the question using a single word or phrase." in page
    assert "&lt;answer&gt;...&lt;/answer&gt; tags" in page


def test_a_card_shows_all_pictures_of_its_question(rerun: Callable[[], Run]) -> None:
    run = rerun()
    path = run["prepare"].folders["benchmarks"] / "benchmarks.parquet"
    rows = [replace(e, images=(*e.images * 2, b"<html>")) for e in records.read(path, Example)]
    records.write(path, rows, Example)
    samples = collect("demo", run).samples
    assert samples is not None
    assert {len(sheet.pictures) for sheet in samples.sheets} == {2}
    parse(build(collect("demo", run)))


def test_the_page_needs_nothing_from_elsewhere(page: str) -> None:
    for tag, attributes in parse(page).tags:
        assert tag not in {"link", "iframe", "object", "image"}
        assert tag != "script" or not attributes
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in {"src", "href", "xlink:href"}:
                assert str(value).startswith(("data:", "#"))
    assert not re.search(r"url\((?!#)", page)


def test_ids_of_the_pictures_do_not_collide(page: str) -> None:
    tags = parse(page).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids)) > 0
    used = {str(v)[1:] for _, a in tags for n, v in a.items() if n == "xlink:href"}
    used |= set(re.findall(r"url\(#([^)]+)\)", page))
    assert used <= {str(i) for i in ids}


def test_pictures_take_their_text_colour_from_the_page(page: str) -> None:
    assert "#010203" not in page
    assert "currentColor" in page
    for shade in COLOURS.values():
        assert shade in page


def test_the_page_is_small(page: str) -> None:
    assert len(page.encode()) < 500_000


NASTY = (
    "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp; $x$ ]]> -->"
    "\0\x1b\u202eright to left\u202c שלום " + "x" * 3000
)


def test_whatever_was_said_is_escaped(rerun: Callable[[], Run]) -> None:
    run = rerun()
    folder = run["evaluate"].folders["predictions"]
    rows = list(records.read(folder / "predictions.parquet", Prediction))
    nasty = [replace(r, text=NASTY, answer=NASTY, status=NASTY) for r in rows]
    records.write(folder / "predictions.parquet", nasty, Prediction)
    path = run["prepare"].folders["benchmarks"] / "benchmarks.parquet"
    asked = [
        replace(e, question=NASTY, references=(NASTY,), choices=(NASTY, NASTY))
        for e in records.read(path, Example)
    ]
    records.write(path, asked, Example)
    page = build(collect(NASTY, run))
    tree = parse(page)
    assert [attributes for tag, attributes in tree.tags if tag == "script"] == [{}]
    assert "alert(1)" not in page[page.index("<script>") :]
    assert not any("onerror" in attributes for _, attributes in tree.tags)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert not set(page) & {chr(n) for n in range(32) if chr(n) not in "\n\t"}


def test_a_models_nasty_name_is_escaped_in_pictures_too(rerun: Callable[[], Run]) -> None:
    run = rerun()
    folder = run["evaluate"].folders["scores"]
    scores = list(records.read(folder / "scores.parquet", records.Score))
    extra = [replace(s, model=NASTY) for s in scores if s.model == "base"]
    records.write(folder / "scores.parquet", [*scores, *extra], records.Score)
    tree = parse(build(collect("demo", run)))
    assert [tag for tag, _ in tree.tags].count("script") == 1


def test_a_partial_report_says_what_is_missing(finished: Run) -> None:
    part = {name: finished[name] for name in ("prepare", "distill", "sft")}
    page = build(collect("demo", part))
    parse(page)
    assert "Not finished: sample, pair, dpo, evaluate, register." in page
    assert "Finished: prepare, distill, sft." in page
    assert "Accuracy on held-out questions" not in page
    assert "What entered and left each stage" in page


def test_a_run_that_has_not_begun_has_a_page(finished: Run) -> None:
    assert "Finished: none." in build(collect("demo", {}))


def test_a_refusal_is_shown(rerun: Callable[[], Run]) -> None:
    data = collect("demo", rerun())
    refused = {**(data.decision or {}), "passed": False, "aliases": [], "reason": "refused: worse"}
    page = build(replace(data, decision=refused))
    assert "no alias" in page
    assert "refused: worse" in page
    assert 'class="banner bad"' in page


def test_every_check_of_the_gate_is_shown(rerun: Callable[[], Run]) -> None:
    data = collect("demo", rerun())
    checks = [
        {"name": "gain", "met": True, "words": "+3.00 points"},
        {"name": "length", "met": False, "words": "2.00 times as long <b>"},
    ]
    page = build(replace(data, decision={**(data.decision or {}), "checks": checks}))
    parse(page)
    assert "✓ gain: +3.00 points." in page
    assert "✗ length: 2.00 times as long &lt;b&gt;." in page


def test_a_history_of_one_point_is_drawn(rerun: Callable[[], Run]) -> None:
    run = rerun()
    for stage, kind in (("sft", "policy"), ("dpo", "aligned")):
        path = run[stage].folders[kind] / "history.jsonl"
        path.write_text(path.read_text().splitlines()[0] + "\n")
    assert "sft: loss, nats" in build(collect("demo", run))


def test_models_keep_their_colours() -> None:
    models = ["base", "x", "policy", "aligned", "y"]
    assert colour("policy", models) == COLOURS["policy"]
    assert len({colour(model, models) for model in models}) == 5


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (60, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 00 min"),
    ],
)
def test_durations_are_readable(seconds: float, text: str) -> None:
    assert duration(seconds) == text
