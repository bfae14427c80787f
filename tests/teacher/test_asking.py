import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from virtual_time import Tally

from chainsight.config import DistillSection
from chainsight.errors import TeacherError
from chainsight.records import Example
from chainsight.teacher.asking import Asked, Asking
from chainsight.teacher.cost import Budget
from chainsight.teacher.endpoint import NO_KEY, Endpoint
from chainsight.teacher.ledger import open_ledger
from chainsight.teacher.request import Question, first

EACH = 0.0065
GOOD: Any = {
    "choices": [{"message": {"role": "assistant", "content": "So.\n\n### Answer: 4"}}],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 100},
}
BAD: tuple[int, dict[str, str], Any] = (400, {}, {"error": {"message": "cannot read this picture"}})


def collect(
    url: str, examples: list[Example], folder: Path, **settings: Any
) -> tuple[Asked, int, TeacherError | None]:
    """Ask everything; gives the counts, the number of ledger entries and why it stopped."""
    config = DistillSection(teacher=url, **settings)
    task = Tally()
    with open_ledger(folder / "ledger.jsonl") as ledger:
        budget = Budget(
            config.budget_usd, len(examples), spent_usd=EACH * len(ledger), num_answers=len(ledger)
        )
        open_questions = [Question(e.id, e, first(config)) for e in examples if e.id not in ledger]
        asking = Asking(
            config,
            (Endpoint("test", url, NO_KEY, config.teacher_model),),
            ledger=ledger,
            budget=budget,
            total=len(examples),
            task=task,
            backoff_seconds=0.01,
        )
        try:
            asyncio.run(asking.run(iter(open_questions)))
        except TeacherError as error:
            return asking.asked, len(ledger), error
        assert task.count == len(open_questions)
        return asking.asked, len(ledger), None


def failing(numbers: Callable[[int], bool]) -> Callable[[int, Any], Any]:
    return lambda number, call: BAD if numbers(number) else (200, {}, GOOD)


def test_every_question_is_asked_once_and_recorded(
    canned: Any, charts: list[Example], tmp_path: Path
) -> None:
    server = canned(failing(lambda number: False))
    asking, recorded, error = collect(server.url, charts, tmp_path, concurrency=5)
    assert (asking.num_asked, recorded, len(server.calls), error) == (40, 40, 40, None)


def test_no_more_than_the_set_number_is_in_flight(
    canned: Any, charts: list[Example], tmp_path: Path
) -> None:
    now, most, lock = [0], [0], threading.Lock()

    def react(number: int, call: Any) -> Any:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1
        return 200, {}, GOOD

    collect(canned(react).url, charts, tmp_path, concurrency=3)
    assert most[0] == 3


@pytest.mark.parametrize("concurrency", [1, 4])
def test_no_request_is_sent_that_could_pass_the_budget(
    canned: Any, charts: list[Example], tmp_path: Path, concurrency: int
) -> None:
    server = canned(failing(lambda number: False))
    settings: dict[str, Any] = {"concurrency": concurrency}
    limit, most = 20 * EACH, 0.03  # an answer of 1,024 tokens alone costs $0.0154
    _, recorded, error = collect(server.url, charts, tmp_path, budget_usd=limit, **settings)
    assert limit - most <= recorded * EACH <= limit
    assert len(server.calls) == recorded
    assert "distill.budget_usd: $0.1300 allowed" in str(error)
    assert f"{recorded} answers are in {tmp_path}" in str(error)

    _, again, error = collect(server.url, charts, tmp_path, budget_usd=limit, **settings)
    assert (again, len(server.calls)) == (recorded, recorded)
    assert error is not None

    _, all_of_them, error = collect(server.url, charts, tmp_path, budget_usd=1.0, **settings)
    assert (all_of_them, len(server.calls), error) == (40, 40, None)


def test_a_budget_needs_a_teacher_that_counts(
    canned: Any, charts: list[Example], tmp_path: Path
) -> None:
    server = canned(lambda number, call: (200, {}, GOOD | {"usage": None}))
    _, recorded, error = collect(server.url, charts[:4], tmp_path, budget_usd=1.0, concurrency=1)
    assert (recorded, len(server.calls)) == (1, 1)
    assert "reports no token counts" in str(error)
    _, recorded, error = collect(server.url, charts[:4], tmp_path)
    assert (recorded, len(server.calls), error) == (4, 4, None)


def test_a_tolerable_share_of_failures_is_counted_and_passed(
    canned: Any, charts: list[Example], tmp_path: Path
) -> None:
    server = canned(failing(lambda number: number in (3, 17)))
    asking, recorded, error = collect(server.url, charts, tmp_path, max_failed_rate=0.05)
    assert (asking.num_failed, recorded, error) == (2, 38, None)


def test_one_failure_more_than_tolerable_stops_once_and_keeps_what_came(
    canned: Any, charts: list[Example], tmp_path: Path
) -> None:
    server = canned(failing(lambda number: number in (3, 17, 25)))
    _, recorded, error = collect(server.url, charts, tmp_path, max_failed_rate=0.05, concurrency=1)
    assert recorded == 23
    assert len(server.calls) == 26
    assert "3 of 40 questions got no answer, more than distill.max_failed_rate 0.05" in str(error)
    assert "cannot read this picture" in str(error)


def test_a_teacher_that_fell_silent_is_not_asked_to_the_end(
    canned: Any, charts: list[Example], tmp_path: Path
) -> None:
    server = canned(failing(lambda number: number >= 10))
    _, recorded, error = collect(server.url, charts, tmp_path, max_failed_rate=1.0, concurrency=1)
    assert (recorded, len(server.calls)) == (10, 18)
    assert "8 questions in a row got no answer" in str(error)


def test_a_teacher_that_fails_often_but_not_always_is_asked_to_the_end(
    canned: Any, charts: list[Example], tmp_path: Path
) -> None:
    server = canned(failing(lambda number: number % 8 > 0))
    _, recorded, error = collect(server.url, charts, tmp_path, max_failed_rate=1.0, concurrency=1)
    assert (recorded, error) == (5, None)


def test_a_refused_key_is_said_once_and_asked_no_further(
    canned: Any, charts: list[Example], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = canned(lambda number, call: (401, {}, {"error": {"message": "wrong key"}}))
    _, recorded, error = collect(server.url, charts, tmp_path, concurrency=4)
    assert (recorded, len(server.calls)) == (0, 4)
    assert str(error).count("refuses the key") == 1
    assert "no answer" not in caplog.text


def test_questions_cut_short_by_a_stop_do_not_count_as_failed(
    canned: Any, charts: list[Example], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def react(number: int, call: Any) -> Any:
        if number == 0:
            time.sleep(0.2)
            return 401, {}, {"error": {"message": "wrong key"}}
        return 500, {}, {"error": {"message": "busy"}}

    asking, _, error = collect(canned(react).url, charts, tmp_path, max_retries=20, concurrency=3)
    assert "refuses the key" in str(error)
    assert asking.num_failed == 0
    assert "no answer" not in caplog.text


def test_nobody_there_is_said_once(
    charts: list[Example], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, recorded, error = collect("http://127.0.0.1:9/v1", charts, tmp_path, max_retries=1)
    assert recorded == 0
    assert str(error).count("cannot be reached") == 1
    assert "no answer" not in caplog.text
