"""Long work says how far it is: to people, to logs, to a parent process."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from chainsight.console import RunView, headline, number, show_scores
from chainsight.progress import EventWriter, LineProgress, TerminalProgress

PAIRED = {"num_pairs": 3.0, "num_paired": 2.0, "num_questions": 4.0}


def test_events_tell_a_parent_what_is_under_way(tmp_path: Path) -> None:
    path = tmp_path / "events"
    with EventWriter(path).task("rationales", total=10, unit="rows", done=4) as task:
        task.advance(3)
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert events[0] == {
        "event": "task", "title": "rationales", "total": 10, "unit": "rows", "done": 4,
    }  # fmt: skip
    assert events[-1] == {"event": "end"}


def test_short_work_is_quiet_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    with LineProgress().task("rationales", total=10, unit="rows") as task:
        task.advance(10)
    assert capsys.readouterr().err == ""


def test_what_is_to_be_known_now_is_one_line_anywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    LineProgress().say("about $3")
    assert capsys.readouterr().err == "about $3\n"
    EventWriter(tmp_path / "events").say("about $3")
    run, text = view()
    run.on_event(json.loads((tmp_path / "events").read_text()))
    terminal = io.StringIO()
    TerminalProgress(Console(file=terminal)).say("about [$3]")
    assert (text.getvalue(), terminal.getvalue()) == ("about $3\n", "about [$3]\n")


def view() -> tuple[RunView, io.StringIO]:
    text = io.StringIO()
    return RunView(Console(file=text, width=200)), text


def test_a_finished_stage_is_one_line_off_a_terminal() -> None:
    run, text = view()
    with run:
        run.on_event({"event": "stage", "stage": "pair"})
        run.on_event({"event": "task", "title": "x", "total": 2, "unit": "rows", "done": 0})
        run.on_event({"event": "at", "done": 1})
        run.on_event({"event": "end"})
        run.on_event({"event": "done", "stage": "pair", "reused": False, "metrics": PAIRED})
    assert text.getvalue().splitlines() == ["✓ pair          0 s  3 pairs from 2 of 4 questions"]


def test_a_reused_stage_says_so() -> None:
    run, text = view()
    run.on_event({"event": "stage", "stage": "pair"})
    run.on_event({"event": "done", "stage": "pair", "reused": True, "metrics": PAIRED})
    assert "reused" in text.getvalue()


def test_a_failure_is_kept_with_its_message() -> None:
    run, _ = view()
    run.on_event({"event": "stage", "stage": "pair"})
    run.on_event({"event": "failed", "stage": "pair", "message": "no pair"})
    assert run.failure == "pair: no pair"


@pytest.mark.parametrize(
    ("value", "text"), [(3.0, "3"), (1234567.0, "1,234,567"), (0.5, "0.5"), (0.12345, "0.123")]
)
def test_numbers_are_written_for_people(value: float, text: str) -> None:
    assert number(value) == text


def test_a_headline_shows_the_numbers_that_people_look_for() -> None:
    metrics = {"num_pairs": 1234.0, "num_paired": 500.0, "num_questions": 900.0, "other": 1.0}
    assert headline("pair", metrics) == "1,234 pairs from 500 of 900 questions"


def test_the_first_version_is_not_said_to_have_been_compared() -> None:
    first = {"version": 1.0, "num_wins": 0.0, "num_losses": 0.0}
    assert headline("register", first) == "version 1; compared with no champion"
    second = {"version": 2.0, "num_wins": 4.0, "num_losses": 3.0, "champion_value": 0.5}
    assert headline("register", second) == "version 2; 4 wins, 3 losses against the champion"


def test_scores_are_shown_in_percent_with_their_errors() -> None:
    text = io.StringIO()
    score = {"value": 0.456, "standard_error": 0.0123, "num_examples": 300}
    show_scores(Console(file=text, width=100), {"base": {"direct": score, "cot": score}}, "t")
    assert "45.6 ± 1.2" in text.getvalue()
    assert "300" in text.getvalue()


def test_lenient_scores_have_a_column_only_where_a_metric_has_them() -> None:
    def shown(**more: float) -> str:
        text = io.StringIO()
        score = {"value": 0.4, "standard_error": 0.01, "num_examples": 300}
        models = {"base": {"direct": score, "cot": score | more}}
        show_scores(Console(file=text, width=100), models, "t")
        return text.getvalue()

    assert "lenient" not in shown()
    assert "lenient, %" in shown(lenient=0.713)
    assert "- / 71.3" in shown(lenient=0.713)
    assert shown(lenient=0.713).count("40.0 ± 1.0") == 2
