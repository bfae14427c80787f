"""The price that is reckoned with: who says it, and whether it can still be true."""

from datetime import date
from typing import Any

from chainsight.config import DistillSection
from chainsight.doctor.price import price

TODAY = date(2026, 11, 22)


def look(**settings: Any) -> list[tuple[str, str, str]]:
    config = DistillSection(**settings)
    return [(check.what, check.level, check.finding) for check in price(config, TODAY)]


def test_a_price_is_told_with_its_source_and_date() -> None:
    ((what, level, finding),) = look(teacher_model="gpt-4.1-mini")
    assert (what, level) == ("price", "ok")
    assert finding == "$0.4 in, $1.6 out a million tokens (OpenAI's pricing page of 2026-06-21)"


def test_an_old_price_is_a_warning_unless_one_has_set_it() -> None:
    settings = {"teacher": "http://azure/v1", "teacher_model": "gpt-4o-2024-05-13"}
    ((_, level, finding),) = look(**settings)
    assert level == "warn"
    assert "more than a year old" in finding
    ((_, level, finding),) = look(**settings, price={"prompt": 5, "completion": 15})
    assert (level, finding) == ("ok", "$5 in, $15 out a million tokens (distill.price)")


def test_a_model_that_openai_has_shut_down_is_a_warning_there_alone() -> None:
    assert ("model", "warn", "OpenAI has shut gpt-4.1-nano down on 2026-10-23") in look(
        teacher_model="gpt-4.1-nano"
    )
    assert [what for what, *_ in look(teacher_model="gpt-4.1")] == ["price"]  # until January
    there = look(teacher="http://azure/v1", teacher_model="gpt-4.1-nano")
    assert [what for what, *_ in there] == ["price"]


def test_an_unknown_price_is_no_zero_and_fails_a_budget() -> None:
    settings = {"teacher": "http://here/v1", "teacher_model": "mine"}
    ((_, level, finding),) = look(**settings)
    assert (level, "so neither is the cost" in finding) == ("ok", True)
    ((_, level, finding),) = look(**settings, budget_usd=1.0)
    assert (level, "distill.budget_usd cannot be kept" in finding) == ("fail", True)


def test_a_teacher_that_nobody_pays_has_no_price() -> None:
    assert look(teacher="scripted") == look(teacher="published") == []
