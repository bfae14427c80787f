"""Retries, samples and further filters of distill, and what each answer cost."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from distilling import CHARTS, Place, contents, kept, rejected

from chainsight.config import DistillSection, Filter, Price
from chainsight.demo import bars, teacher
from chainsight.demo.teacher import Oddities
from chainsight.errors import TeacherError
from chainsight.quality.reasons import PAPER
from chainsight.records import Example, Rationale
from chainsight.stages import distill
from chainsight.teacher.ledger import Entry
from chainsight.teacher.reply import Reply, unanswerable

OPEN = Example("o", "chartqa", "train", "How many?", ("100",), "relaxed_accuracy", (b"",))
RIGHT, WRONG = "So it is.\n\n### Answer: 100", "So it is.\n\n### Answer: 7"


def told(output: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((output / "quality.json").read_text())
    return found


def rows(output: Path) -> list[Rationale]:
    return kept(output) + rejected(output)


# --- retries ---------------------------------------------------------------------------------


def test_what_is_set_aside_is_asked_again_and_a_right_answer_stands_for_it(tmp_path: Path) -> None:
    metrics, output = Place(tmp_path, CHARTS).run(retries=3, scripted_error_rate=0.4)
    first = [row for row in rows(output) if row.variant == 0]
    assert sorted(row.example_id for row in first) == sorted(e.id for e in CHARTS)
    assert 10 < sum(bool(row.reason) for row in first) < 40
    assert metrics["num_kept"] == len(kept(output)) > 50
    assert metrics["num_kept_by_retry"] == sum(row.variant > 0 for row in kept(output)) > 5
    assert metrics["num_asked"] == len(rows(output))


def test_each_example_has_one_row_that_stands_and_earlier_ones_say_so(tmp_path: Path) -> None:
    metrics, output = Place(tmp_path, CHARTS).run(retries=2, scripted_error_rate=0.4)
    standing = [row for row in rows(output) if not row.superseded]
    assert sorted(row.example_id for row in standing) == sorted(e.id for e in CHARTS)
    assert not any(row.superseded for row in kept(output))
    for row in rejected(output):
        later = [
            r for r in rows(output) if r.example_id == row.example_id and r.variant > row.variant
        ]
        assert row.superseded == bool(later)
    lost = [row for row in rejected(output) if not row.superseded]
    assert {row.variant for row in lost} == {2}
    assert metrics["num_mismatch"] == sum(row.reason == "mismatch" for row in lost)
    assert metrics["num_kept"] + len(lost) == metrics["num_examples"] == 60
    assert metrics["num_superseded"] == sum(row.superseded for row in rejected(output))


def test_without_retries_the_first_answers_are_kept_as_with_them(tmp_path: Path) -> None:
    place = Place(tmp_path, CHARTS)
    _, plain = place.run()
    metrics, again = place.run(retries=2)
    assert metrics["num_from_ledger"] == 60
    assert kept(plain) == [row for row in kept(again) if row.variant == 0]
    assert [replace(row, superseded=False) for row in rejected(again) if row.variant == 0] == (
        rejected(plain)
    )


def test_a_rerun_with_retries_pays_nothing_and_writes_the_same_bytes(tmp_path: Path) -> None:
    place = Place(tmp_path, CHARTS)
    first, output = place.run(retries=2, scripted_error_rate=0.4, concurrency=7)
    second, again = place.run(retries=2, scripted_error_rate=0.4, concurrency=2)
    assert (second["num_asked"], second["num_from_ledger"]) == (0, first["num_asked"])
    assert contents(output) == contents(again)


def test_one_more_retry_asks_only_what_is_still_set_aside(tmp_path: Path) -> None:
    place = Place(tmp_path, CHARTS)
    _, output = place.run(retries=1, scripted_error_rate=0.5)
    lost = sum(not row.superseded for row in rejected(output))
    metrics, _ = place.run(retries=2, scripted_error_rate=0.5)
    assert metrics["num_asked"] == lost > 0


def test_a_filtered_question_is_not_asked_again(tmp_path: Path) -> None:
    filtered = Entry({"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]})
    for entry, reason in (
        (filtered, "filtered"),
        (Entry(unanswerable("content_policy_violation", "no")), "filtered"),
        (Entry(unanswerable("invalid_image", "no")), "unanswerable"),
    ):
        row = distill.judge_entry(OPEN, entry, DistillSection())
        assert (row.reason, row.cost_usd) == (reason, 0.0)
        assert row.reason not in distill.ASKED_AGAIN
    with teacher.serve(error_rate=0.0, oddities=Oddities(content_filter=0.3)) as handle:
        metrics, output = Place(tmp_path, CHARTS).run(teacher=handle.url, retries=2)
    assert metrics["num_asked"] == 60
    assert 5 < metrics["num_filtered"] == len(rejected(output))


def test_a_budget_holds_over_all_rounds(tmp_path: Path) -> None:
    place = Place(tmp_path, CHARTS)
    settings: dict[str, Any] = {"scripted_error_rate": 0.5, "concurrency": 1}
    first, _ = place.run(**settings)
    limit = first["cost_usd"] + 0.01
    with pytest.raises(TeacherError, match="budget_usd"):
        place.run(retries=4, budget_usd=limit, **settings)
    spent = told(sorted(tmp_path.glob("output*"))[-1])["all"]
    assert limit - 0.01 < sum(spent["cost_by_reason"].values()) <= limit


# --- samples ---------------------------------------------------------------------------------


def response(*texts: str) -> Entry:
    choices = [{"message": {"content": text}, "finish_reason": "stop"} for text in texts]
    return Entry({"choices": choices, "usage": {"prompt_tokens": 1000, "completion_tokens": 100}})


@pytest.mark.parametrize(
    ("texts", "reason", "index", "num_right"),
    [
        ((RIGHT,), "", 0, 1),
        ((WRONG, RIGHT, RIGHT), "", 1, 2),
        ((RIGHT, WRONG, f"Now. {RIGHT}"), "", 0, 2),
        ((RIGHT, WRONG), "minority", 0, 1),
        ((WRONG, RIGHT, WRONG), "minority", 1, 1),
        ((WRONG, WRONG, "no marker"), "mismatch", 0, 0),
        (("no marker", WRONG, WRONG), "mismatch", 1, 0),
        (("no marker", WRONG), "no_marker", 0, 0),
    ],
)
def test_of_several_samples_the_first_right_one_is_kept_if_most_are_right(
    texts: tuple[str, ...], reason: str, index: int, num_right: int
) -> None:
    row = distill.judge_entry(OPEN, response(*texts), DistillSection(samples=3, temperature=1.0))
    assert (row.reason, row.text) == (reason, texts[index])
    assert (row.num_samples, row.num_right) == (len(texts), num_right)
    assert row.cost_usd == pytest.approx(0.0065)  # of the whole request, once


def test_a_filter_chooses_among_right_samples_and_votes_stay_those_of_answers() -> None:
    long = f"{'on and on ' * 20}{RIGHT}"
    strict = DistillSection(samples=3, temperature=1.0, filter=Filter(max_words=10))
    assert distill.judge_entry(OPEN, response(long, long, RIGHT), strict).text == RIGHT
    row = distill.judge_entry(OPEN, response(long, long, WRONG), strict)
    assert (row.reason, row.text, row.num_right) == ("too_long", long, 2)


def test_samples_cost_one_image_and_one_request(tmp_path: Path) -> None:
    with teacher.serve(error_rate=0.3) as handle:
        settings = {"teacher": handle.url, "temperature": 1.0, "teacher_model": "gpt-4o-2024-05-13"}
        one, _ = Place(tmp_path / "1", CHARTS).run(**settings)
        five, output = Place(tmp_path / "5", CHARTS).run(**settings, samples=5)
    assert five["num_asked"] == one["num_asked"] == 60
    assert five["prompt_tokens"] == one["prompt_tokens"]
    assert 4 < five["completion_tokens"] / one["completion_tokens"] < 6
    assert {row.num_samples for row in rows(output)} == {5}
    for row in rows(output):
        assert (row.num_right >= 3) == (not row.reason)


# --- filters ---------------------------------------------------------------------------------

LINE = "The bars read jan 3, feb 5."


@pytest.mark.parametrize(
    ("settings", "thought", "reason"),
    [
        ({}, "It.", ""),
        ({"min_words": 2}, "It.", "too_short"),
        ({"min_words": 2}, "It is.", ""),
        ({"max_words": 2}, "It is.", ""),
        ({"max_words": 2}, "It is so.", "too_long"),
        ({"max_repetition": 0.2}, "a b c d a b c d", ""),
        ({"max_repetition": 0.19}, "a b c d a b c d", "repetitive"),
        ({"answer_first": "drop"}, "The answer is 100.", "answer_first"),
        ({"answer_first": "drop"}, "We look. The answer is 100.", ""),
        ({}, "The answer is 100.", ""),
        ({"min_agreement": 1.0}, "jan is 99.", ""),  # no table
        ({"min_words": 9, "answer_first": "drop"}, "The answer is 100.", "too_short"),
    ],
)
def test_a_right_rationale_is_set_aside_only_by_what_the_filter_asks(
    settings: dict[str, Any], thought: str, reason: str
) -> None:
    config = DistillSection(filter=Filter(**settings))
    reply = Reply(f"{thought}\n\n### Answer: 100", "stop", "", 1000, 100)
    assert distill.judge(OPEN, reply, config).reason == reason
    wrong = Reply(f"{thought}\n\n### Answer: 7", "stop", "", 1000, 100)
    assert distill.judge(OPEN, wrong, config).reason == "mismatch"


def test_a_misread_chart_disagrees_with_its_table_however_right_the_answer() -> None:
    chart = replace(CHARTS[0], references=("100",), metric="exact_match")
    table = bars.read_table(chart.images[0])
    assert table is not None
    name, value = table[0]
    config = DistillSection(filter=Filter(min_agreement=0.6))
    for said, reason in ((value, ""), (value + 3, "disagrees")):
        reply = Reply(f"The bars read {name} {said}.\n\n### Answer: 100", "stop", "", 1, 1)
        row = distill.judge(chart, reply, config)
        assert (row.reason, row.agreement) == (reason, float(not reason))


def test_what_a_filter_would_drop_is_known_before_it_is_set(tmp_path: Path) -> None:
    odd = Oddities(answer_first=0.1, repetitive=0.1)
    with teacher.serve(error_rate=0.1, oddities=odd) as handle:
        place = Place(tmp_path, CHARTS)
        metrics, output = place.run(teacher=handle.url)
        would = told(output)["all"]["would_drop"]
        assert {row.reason for row in rejected(output)} <= PAPER.keys()
        assert metrics["answer_first_rate"] == would["answer_first: drop"] / metrics["num_kept"] > 0
        for setting, reason in (
            ({"answer_first": "drop"}, "answer_first"),
            ({"max_repetition": 0.3}, "repetitive"),
            ({"max_words": 100}, "too_long"),
            ({"min_words": 20}, "too_short"),
        ):
            (name, value), *_ = setting.items()
            now, filtered = place.run(teacher=handle.url, filter=setting)
            assert now["num_asked"] == 0
            assert now[f"num_{reason}"] == would[f"{name}: {value}"] > 0
            assert now["num_kept"] == metrics["num_kept"] - now[f"num_{reason}"]
            assert told(filtered)["all"]["would_drop"] == would


# --- what it cost ----------------------------------------------------------------------------


def test_every_paid_answer_is_counted_once_over_both_files(tmp_path: Path) -> None:
    twice = [*CHARTS, replace(CHARTS[3], id="bars/train/again")]
    with teacher.serve(error_rate=0.4) as handle:
        settings = {"teacher": handle.url, "price": Price(prompt=5.0, completion=15.0)}
        metrics, output = Place(tmp_path, twice).run(**settings, retries=2)
        billed = handle.bill.usd
    assert metrics["cost_usd"] == pytest.approx(billed)
    assert sum(row.cost_usd for row in rows(output)) == pytest.approx(billed)
    every = told(output)["all"]
    fates = [every[fate]["cost_usd"] for fate in ("kept", "dropped", "superseded")]
    assert sum(fates) == pytest.approx(billed)
    assert sum(every["cost_by_reason"].values()) == pytest.approx(billed)
    assert sum(one["cost_usd"] for one in told(output)["rounds"]) == pytest.approx(billed)
    assert metrics["cost_per_kept_usd"] == pytest.approx(billed / metrics["num_kept"])


def test_a_batch_answer_costs_half() -> None:
    entry = replace(response(RIGHT), batch=True)
    row = distill.judge_entry(OPEN, entry, DistillSection())
    assert (row.batch, row.cost_usd) == (True, pytest.approx(0.00325))


# --- a stage that stops ----------------------------------------------------------------------


def test_a_stopped_stage_leaves_what_it_has_for_the_report(tmp_path: Path) -> None:
    place = Place(tmp_path, CHARTS)
    with pytest.raises(TeacherError, match="budget_usd") as caught:
        place.run(budget_usd=0.05, concurrency=2)
    output = tmp_path / "output1"
    found = told(output)
    assert found["stopped"] == str(caught.value)
    assert found["num_open"] + found["all"]["num_examples"] == 60
    assert found["all"]["num_examples"] == len(rows(output)) > 5
    assert sum(found["all"]["cost_by_reason"].values()) <= 0.05


def test_a_stage_that_keeps_nothing_tells_why_in_its_files(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="not one rationale was kept"):
        Place(tmp_path, CHARTS[:10]).run(scripted_error_rate=1.0)
    found = told(tmp_path / "output1")
    assert "not one rationale" in found["stopped"]
    assert found["all"]["num_kept"] == 0
    assert found["num_open"] == 0


# --- memory ----------------------------------------------------------------------------------

PEAK = """
import resource, sys
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from chainsight.config import DistillSection
from chainsight.records import Example
from chainsight.stages import distill
from chainsight.teacher.reply import Reply

example = Example("o", "c", "train", "How many?", ("100",), "relaxed_accuracy")
config = DistillSection()

RIGHT = distill.judge(example, Reply("So.\\n\\n### Answer: 100", "stop", "", 1000, 100), config)
WRONG = replace(RIGHT, reason="mismatch")

def tries(count):
    for number, row in zip(range(count), cycle((RIGHT, WRONG))):
        yield example, [replace(row, text=f"{number} is first. " + "It is so. " * 300)]

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

folder = Path(sys.argv[1])
distill._write(config, tries(1500), folder)
before = peak()
distill._write(config, tries(int(sys.argv[2])), folder)
print(peak() - before)
"""


def test_judging_holds_no_rows(tmp_path: Path) -> None:
    """8,000 rationales of 3 kB would be 24 MB more, as records in a list."""
    command = [sys.executable, "-c", PEAK, str(tmp_path), "8000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 8


def test_what_may_have_been_billed_without_an_answer_adds_up_over_all_rounds(
    tmp_path: Path,
) -> None:
    """At most, each such try has cost its question and 1,024 tokens of an answer at $15."""
    faults = teacher.Faults(garbage=0.3)
    with teacher.serve(error_rate=0.5, faults=faults) as server:
        metrics, _ = Place(tmp_path, CHARTS).run(
            teacher=server.url, teacher_model="gpt-4o-2024-05-13", retries=2
        )
        assert server.bill.num_billed == metrics["num_asked"] + metrics["num_maybe_paid"]
        assert metrics["num_sent"] == metrics["num_asked"] + metrics["num_retried"]
        assert metrics["num_sent"] == server.bill.num_requests
    assert metrics["maybe_paid_usd"] > metrics["num_maybe_paid"] * 1024 * 15e-6 > 0
