"""The section on distillation: what was dropped, why, and what it cost."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chainsight import records
from chainsight.quality.reasons import REASONS
from chainsight.quality.tally import FATES, FILE, Tally
from chainsight.records import Example, Rationale
from chainsight.report import StageResult, build, collect, distillation, summary
from chainsight.report.answers import collect_answers

Run = dict[str, StageResult]
NASTY = "<script>alert(1)</script>"
SETTINGS = {"filter": {"max_words": None}}


def plant(run: Run, change: Callable[[Rationale], Rationale], stopped: str = "") -> Path:
    """Rewrite the rationales of `run`, `change`d, with the counts that belong to them."""
    examples = run["prepare"].folders["examples"] / "examples.parquet"
    folder = run["distill"].folders["rationales"]
    found, rows = Tally(), []
    for example in records.read(examples, Example):
        row = Rationale(
            example.id, "It is so.\n\n### Answer: 1", "1", "marker", "t", 300, 60, 0.05, num_words=3
        )
        rows.append(change(row))
        found.add(example.dataset, rows[-1])
    records.write(folder / "rationales.parquet", (r for r in rows if not r.reason), Rationale)
    records.write(folder / "rejected.parquet", (r for r in rows if r.reason), Rationale)
    told = {"stopped": stopped, "num_open": 5, "settings": SETTINGS, **found.to_json()}
    (folder / FILE).write_text(json.dumps(told))
    return folder


def each_reason() -> Callable[[Rationale], Rationale]:
    reasons = iter([*REASONS, *[""] * 99])
    return lambda row: replace(row, reason=next(reasons))


def section(run: Run, stopped: Path | None = None) -> str:
    folders = {kind: path for stage in run.values() for kind, path in stage.folders.items()}
    metrics = run["distill"].metrics if "distill" in run else {}
    return distillation.section(collect_answers(folders, metrics, stopped))


def test_each_reason_is_named_counted_explained_and_shown(rerun: Callable[[], Run]) -> None:
    run = rerun()
    plant(run, each_reason())
    shown = section(run)
    assert shown.count("<details") == len(REASONS) + 1  # and one for the filters
    for reason, words in REASONS.items():
        assert f"<b>{reason.replace('_', ' ')}</b>: 1 of the questions" in shown
        assert words.replace("'", "&#x27;") in shown
    assert shown.count('class="card"') == len(REASONS)
    assert shown.count("data:image/png") == len(REASONS)


def test_a_reason_has_at_most_three_examples_from_all_over(rerun: Callable[[], Run]) -> None:
    run = rerun()
    plant(run, lambda row: replace(row, reason="mismatch", text=f"It. {row.example_id}"))
    found = re.findall(r"It\. bars/train/(\d+)", section(run))
    assert found == ["0", "8", "16"]


def test_the_bill_adds_up(rerun: Callable[[], Run]) -> None:
    run = rerun()
    rows = iter(range(99))
    plant(
        run,
        lambda row: replace(row, reason="mismatch", superseded=True) if next(rows) < 4 else row,
    )
    shown = section(run)
    assert '<td>set aside, asked again</td><td class="n">4</td>' in shown
    assert '<td><b>all</b></td><td class="n">24</td>' in shown
    assert "$1.20" in shown  # 24 answers
    assert "<b>$0.06</b>" in shown  # each of 20 kept


def test_where_the_answers_came_from_and_what_was_predicted(rerun: Callable[[], Run]) -> None:
    run = rerun()
    plant(run, lambda row: row)
    figures = {"num_asked": 20.0, "num_from_ledger": 4.0, "estimated_usd": 1.0}
    run["distill"] = replace(run["distill"], metrics={**run["distill"].metrics, **figures})
    shown = section(run)
    assert "20 answers were paid for by this run; 4 were in the ledger" in shown
    assert "Estimated were $1.00, without retries; it was +20 %" in shown
    assert "On the way" not in shown


def test_what_went_wrong_on_the_way_is_one_line_of_the_bill(rerun: Callable[[], Run]) -> None:
    run = rerun()
    plant(run, lambda row: row)
    figures = {"num_limited": 1234.0, "num_hung": 0.0, "num_maybe_paid": 2.0, "maybe_paid_usd": 0.5}
    run["distill"] = replace(run["distill"], metrics={**run["distill"].metrics, **figures})
    shown = section(run)
    assert "On the way: 1,234 tries were refused for their rate (HTTP 429); 2 ended" in shown
    assert "for $0.50 at most" in shown
    assert "silent" not in shown


def test_what_a_teacher_wrote_is_escaped(rerun: Callable[[], Run]) -> None:
    run = rerun()
    plant(run, lambda row: replace(row, reason="mismatch", text=NASTY, answer=NASTY, detail=NASTY))
    shown = section(run)
    assert NASTY not in shown
    assert "&lt;script&gt;" in shown


def test_a_distillation_that_stopped_shows_what_it_has(rerun: Callable[[], Run]) -> None:
    run = rerun()
    folder = plant(run, each_reason(), stopped="no money <b>")
    part = {"prepare": run["prepare"]}
    assert section(part) == ""
    shown = section(part, stopped=folder)
    assert "<b>distill stopped.</b> no money &lt;b&gt;" in shown
    assert "5 have none yet" in shown
    assert "<b>mismatch</b>: 1 of the questions" in shown


def test_the_page_has_the_section_of_a_run_that_stopped_there(rerun: Callable[[], Run]) -> None:
    run = rerun()
    folder = plant(run, each_reason(), stopped="no money")
    page = build(collect("demo", {"prepare": run["prepare"]}, stopped=folder))
    assert f">{distillation.TITLE}</h2>" in page
    assert ".fate" in page


def test_what_a_distillation_that_stopped_has_paid_is_in_the_cost_of_the_run(
    rerun: Callable[[], Run],
) -> None:
    run = rerun()
    folder = plant(run, each_reason(), stopped="no money")
    told = json.loads((folder / FILE).read_text())["all"]
    paid = sum(told[fate]["cost_usd"] for fate in FATES)
    data = collect("demo", {"prepare": run["prepare"]}, stopped=folder)
    assert summary(data)["total_cost_usd"] == pytest.approx(paid) != 0.0
    assert f">${paid:,.2f}</data> for the teacher" in build(data)
    assert "distill, so far" in build(data)


def test_a_distillation_that_stopped_at_once_says_why(rerun: Callable[[], Run]) -> None:
    run = rerun()
    folder = run["distill"].folders["rationales"]
    told = {"stopped": "no key", "num_open": 24, "settings": SETTINGS, **Tally().to_json()}
    (folder / FILE).write_text(json.dumps(told))
    records.write(folder / "rejected.parquet", [], Rationale)
    assert "no key" in section({"prepare": run["prepare"]}, stopped=folder)


def test_an_artifact_without_counts_has_no_section(finished: Run) -> None:
    assert section(finished) == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"reason": "mismatch"}, "its answer “1” is not the annotated one by exact_match"),
        ({"reason": "mismatch", "agreement": 0.5}, "50 % of its numbers are in the chart"),
        ({"reason": "minority", "num_samples": 5, "num_right": 2}, "2 of 5 samples end"),
        ({"reason": "too_long", "num_words": 1234}, "1,234 words before it"),
        ({"reason": "repetitive", "repetition": 0.4}, "40 % of its four-word sequences"),
        ({"reason": "mismatch", "superseded": True}, "asked again, and the next answer stands"),
        ({"reason": "filtered", "text": "", "detail": "our safety system"}, "our safety system"),
    ],
)
def test_each_card_says_what_was_the_matter(
    rerun: Callable[[], Run], change: dict[str, Any], words: str
) -> None:
    run = rerun()
    first = iter([change])
    plant(run, lambda row: replace(row, **next(first, {})))
    assert words in section(run)
