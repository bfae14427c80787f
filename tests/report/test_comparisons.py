"""Sections on differences, slices, agreement and flips; figures again from the Parquet files."""

import re
from dataclasses import replace
from html import unescape

import pyarrow.parquet as pq
import pytest

from chainsight.analysis.intervals import Interval
from chainsight.report import StageResult, build, collect
from chainsight.report.comparisons import sections
from chainsight.report.evidence import Evidence, Sliced, collect_evidence, pixels
from chainsight.report.figures import scale, strip

Run = dict[str, StageResult]


@pytest.fixture(scope="module")
def evidence(finished: Run) -> Evidence:
    folders = {kind: path for stage in finished.values() for kind, path in stage.folders.items()}
    found = collect_evidence(folders)
    assert found
    return found


@pytest.fixture(scope="module")
def scores(finished: Run) -> dict[tuple[str, str], dict[str, float]]:
    """By (model, mode), read without the code under test."""
    path = finished["evaluate"].folders["predictions"] / "predictions.parquet"
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in pq.read_table(path).to_pylist():
        found.setdefault((row["model"], row["mode"]), {})[row["example_id"]] = row["score"]
    return found


def figures(page: str) -> dict[str, float]:
    found = re.findall(r'<data value="([^"]+)" data-figure="([^"]+)"', page)
    return {unescape(name): float(value) for value, name in found}


def test_differences_come_from_the_predictions(
    evidence: Evidence, scores: dict[tuple[str, str], dict[str, float]]
) -> None:
    shown = figures(sections(evidence)[0])
    for better, than in (("policy", "base"), ("aligned", "policy"), ("aligned", "base")):
        for mode in ("direct", "cot"):
            ours, theirs = scores[better, mode], scores[than, mode]
            gain = sum(ours[key] - theirs[key] for key in ours) / len(ours)
            name = f"difference/{better}-{than}/{mode}/bars"
            assert shown[name] == pytest.approx(gain)
            assert shown[f"{name}/low"] <= gain <= shown[f"{name}/high"]


def test_slices_come_from_predictions_and_benchmarks(
    finished: Run, evidence: Evidence, scores: dict[tuple[str, str], dict[str, float]]
) -> None:
    path = finished["prepare"].folders["benchmarks"] / "benchmarks.parquet"
    rows = pq.read_table(path, columns=["id", "references"]).to_pylist()
    numbers = [row["id"] for row in rows if row["references"][0].isdigit()]
    ours, theirs = scores["aligned", "cot"], scores["policy", "cot"]
    gain = sum(ours[key] - theirs[key] for key in numbers) / len(numbers)
    html = sections(evidence)[1]
    assert figures(html)["slice/aligned-policy/cot/answer/a number"] == pytest.approx(gain)
    assert html.count(" open>") == 1
    assert "<details open><summary>aligned over policy, reasoned" in html


def test_agreement_comes_from_the_predictions(
    evidence: Evidence, scores: dict[tuple[str, str], dict[str, float]]
) -> None:
    direct, reasoned = scores["policy", "direct"], scores["policy", "cot"]
    only_reasoned = sum(reasoned[key] > direct[key] for key in direct)
    only_direct = sum(reasoned[key] < direct[key] for key in direct)
    (policy,) = (one for one in evidence.agreements if one.model == "policy")
    assert (policy.only_direct, policy.only_reasoned) == (only_direct, only_reasoned)
    shown = figures(sections(evidence)[2])["reasoned-direct/policy"]
    assert shown == pytest.approx((only_reasoned - only_direct) / len(direct))


def test_flips_are_listed_and_lead_to_the_samples(
    finished: Run, scores: dict[tuple[str, str], dict[str, float]]
) -> None:
    data = collect("demo", finished)
    html = sections(data.evidence, data.samples)[3]
    ours, theirs = scores["aligned", "cot"], scores["policy", "cot"]
    won = [key for key in ours if ours[key] > theirs[key]]
    lost = [key for key in ours if ours[key] < theirs[key]]
    title = f"policy → aligned, reasoned: {len(won)} won, {len(lost)} lost"
    block = html[html.index(title) :].split("</details>")[0]
    assert re.findall(r"<li><a [^>]*>([^<]+)</a></li>", block) == won + lost
    page = build(data)
    for target in re.findall(r'<li><a href="#([^"]+)"', html):
        assert f'id="{target}"' in page


def test_signs_and_words_say_what_colours_do(evidence: Evidence) -> None:
    html = "".join(sections(evidence))
    readings = re.findall(r'<span class="sign (\w+)">([^<]+)</span>', html)
    words = {"good": "▲ above", "bad": "▼ below"}
    assert {kind for kind, _ in readings} >= {"good", "faint"}
    for kind, said in readings:
        assert kind == "faint" or said == words[kind]


def test_names_from_elsewhere_are_escaped(evidence: Evidence) -> None:
    bad = "<img src=x>"
    flips = tuple(replace(one, better=bad, won=(bad,)) for one in evidence.flips)
    found = Evidence(
        tuple(replace(one, better=bad, dataset=bad) for one in evidence.differences),
        tuple(
            Sliced(bad, one.than, one.mode, tuple(replace(s, value=bad) for s in one.slices))
            for one in evidence.sliced
        ),
        tuple(replace(one, model=bad) for one in evidence.agreements),
        flips,
    )
    assert "<img" not in "".join(sections(found))


def test_there_is_nothing_to_say_without_an_evaluation(finished: Run) -> None:
    assert collect_evidence({}) is None
    assert sections(None) == ()
    assert sections(Evidence((), (), (), ())) == ("", "", "", "")
    begun = {name: stage for name, stage in finished.items() if name == "prepare"}
    assert "how sure they are" not in build(collect("begun", begun))


def test_long_lists_of_flips_are_cut(evidence: Evidence) -> None:
    many = replace(evidence.flips[0], won=tuple(f"bars/{n}" for n in range(1207)))
    html = sections(replace(evidence, flips=(many,)))[3]
    assert html.count("<li>") == 200 + min(200, len(many.lost))
    assert "and 1,007 more" in html


def test_a_strip_puts_interval_dot_and_zero_on_the_tables_scale() -> None:
    found = Interval(0.10, 0.0, 0.15)
    whole = scale([found, Interval(-0.03, -0.04, 0.0)])
    assert (whole.low, whole.high) == (-0.05, 0.15)
    assert whole.title() == "-5.0 to +15.0; line: 0"
    drawn = strip(found, whole)
    assert 'd="M35.0 0V18"' in drawn  # 0 is a quarter along 120 pixels from 5
    assert 'd="M35.0 9H125.0"' in drawn
    assert 'cx="95.0"' in drawn


def test_the_size_of_a_picture_is_read_from_its_header(finished: Run) -> None:
    from chainsight import stored

    path = finished["prepare"].folders["benchmarks"] / "benchmarks.parquet"
    example = next(stored.examples(path))
    assert pixels(example) > 0
    assert pixels(replace(example, images=(b"no picture",))) == 0
    assert pixels(replace(example, images=())) == 0
