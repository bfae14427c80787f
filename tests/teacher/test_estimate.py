"""What the open questions will cost and take, worked out by hand."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chainsight.config import DistillSection
from chainsight.errors import ConfigError
from chainsight.records import Example
from chainsight.teacher.cost import budget_of
from chainsight.teacher.estimate import Estimate, estimate
from chainsight.teacher.ledger import Entry, Ledger, open_ledger
from chainsight.teacher.sizing import Span, size
from chainsight.teacher.survey import Survey

PRICE = {"prompt": 5.0, "completion": 15.0}


def keys(number: int) -> list[str]:
    """Addresses, evenly spread as those of hashes are."""
    return [f"{(n * 2654435761) % 2**32:08x}" + "0" * 56 for n in range(number)]


def answer(prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    return {"choices": [{"message": {"content": "So."}}], "usage": usage}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path / "ledger") as opened:
        yield opened


@pytest.fixture
def surveyed(ledger: Ledger, charts: list[Example]) -> Any:
    """`surveyed(**settings)`: forty questions, none answered."""

    def survey(sample: int = 0, **settings: Any) -> tuple[DistillSection, Survey]:
        config = DistillSection(**settings)
        found = Survey(config, ledger, sample)
        for key, example in zip(keys(len(charts)), charts, strict=True):
            found.add(key, example)
        return config, found

    return survey


def of(pair: tuple[DistillSection, Survey], **more: Any) -> Estimate:
    return estimate(*pair, **more)


# --- what is to be asked ---------------------------------------------------------------------


def test_what_is_answered_repeated_or_unreadable_is_not_asked(
    ledger: Ledger, charts: list[Example]
) -> None:
    config, (first, second, third, *_) = DistillSection(), keys(3)
    ledger.record(first, Entry(answer(1000, 100)))
    ledger.record(second, Entry(answer(1000, 100), batch=True))
    survey = Survey(config, ledger)
    for key, example in zip([first, second, third, third, ""], charts[:5], strict=True):
        assert survey.add(key, example) == key
    assert (survey.num_open, survey.num_answered) == (1, 2)
    assert (survey.num_repeated, survey.num_unsent) == (1, 1)
    assert survey.spent_usd == pytest.approx(0.0065 + 0.00325)
    assert survey.image_tokens == size(config, charts[2]).image_tokens == 255
    assert survey.datasets == {"bars": 1}


def test_the_answers_on_record_make_the_estimate_better(
    ledger: Ledger, surveyed: Any, charts: list[Example]
) -> None:
    before = of(surveyed())
    for key in keys(40)[:20]:
        ledger.record(key, Entry(answer(255 + 100, 50)))
    after = of(surveyed())
    assert (before.num_learned, after.num_learned) == (0, 20)
    assert after.completion_tokens == Span(980.0, 1000.0, 1020.0)  # 20 x 50, 2 % off at most
    assert after.text_tokens.likely == pytest.approx(20 * 100, rel=0.02)


def test_a_probe_is_spread_over_the_datasets_by_their_sizes(
    ledger: Ledger, charts: list[Example]
) -> None:
    names = ["large"] * 30 + ["small"] * 10
    rows = [replace(one, dataset=name) for one, name in zip(charts, names, strict=True)]
    survey = Survey(DistillSection(), ledger, sample=8)
    named = dict(zip(keys(40), names, strict=True))
    for key, row in zip(keys(40), rows, strict=True):
        survey.add(key, row)
    chosen = survey.chosen()
    assert sorted(named[key] for key in chosen) == ["large"] * 6 + ["small"] * 2
    large = sorted(key for key, name in named.items() if name == "large")
    assert [key for key in chosen if named[key] == "large"] == large[:6]
    assert Survey(DistillSection(), ledger).chosen() == []


def test_what_a_probe_has_asked_is_answered(ledger: Ledger, surveyed: Any) -> None:
    config, survey = surveyed(sample=12)
    chosen = survey.chosen()
    for key in chosen[:-1]:  # one got no answer
        ledger.record(key, Entry(answer(500, 60)))
    for key in chosen:
        survey.close(key)
    assert (survey.num_open, survey.num_answered) == (29, 11)
    assert survey.spent_usd == pytest.approx(11 * (500 * 5 + 60 * 15) / 1e6)
    again = Survey(config, ledger)
    assert surveyed()[1].text_tokens == survey.text_tokens
    assert again.num_open == 0


# --- money -----------------------------------------------------------------------------------


def test_images_count_exactly_and_the_rest_has_a_range(surveyed: Any) -> None:
    found = of(surveyed())
    text = found.text_tokens.likely
    assert found.image_tokens == Span(40 * 255, 40 * 255, 40 * 255)
    assert found.text_tokens == Span(0.75 * text, text, 1.25 * text)
    assert found.completion_tokens == Span(40 * 70, 40 * 140, 40 * 210)
    assert found.sync_usd is not None
    assert found.sync_usd.low == pytest.approx(((10200 + 0.75 * text) * 5 + 2800 * 15) / 1e6)
    assert found.sync_usd.high == pytest.approx(((10200 + 1.25 * text) * 5 + 8400 * 15) / 1e6)


def test_a_batch_costs_its_share_and_the_mode_chooses(surveyed: Any) -> None:
    sync, batch = of(surveyed()), of(surveyed(mode="batch"))
    assert sync.batch_usd == batch.usd
    assert sync.usd == batch.sync_usd
    assert sync.usd is not None
    assert batch.usd == sync.usd * 0.5


def test_retries_and_samples_are_in_the_bounds(surveyed: Any) -> None:
    once, again = of(surveyed()), of(surveyed(retries=2))
    several = of(surveyed(samples=3, temperature=1.0))
    assert once.most_usd == pytest.approx(
        ((10200 + 2 * once.text_tokens.likely) * 5 + 40 * 1024 * 15) / 1e6
    )
    assert again.most_usd == pytest.approx(3 * (once.most_usd or 0))
    assert again.usd == once.usd  # asked once each: nobody knows how many are set aside
    assert several.completion_tokens == once.completion_tokens * 3


def test_an_unknown_price_is_not_free(surveyed: Any) -> None:
    settings = {"teacher": "http://here/v1", "teacher_model": "mine"}
    found = of(surveyed(**settings))
    assert (found.usd, found.spent_usd, found.most_usd) == (None, None, None)
    assert found.metrics() == {}
    assert "a price that is not known" in found.line()
    own = of(surveyed(**settings, price={"prompt": 0, "completion": 0}))
    assert own.usd == Span(0, 0, 0)


def test_a_budget_needs_a_price() -> None:
    settings: dict[str, Any] = {"teacher": "http://here/v1", "teacher_model": "mine"}
    with pytest.raises(ConfigError, match=r"the price of 'mine' .* set distill.price"):
        budget_of(DistillSection(**settings, budget_usd=1.0), 1)
    assert budget_of(DistillSection(**settings), 1).limit_usd is None
    config = DistillSection(**settings, budget_usd=1.0, price={"prompt": 0, "completion": 0})
    assert budget_of(config, 1).fits(0.0)


@pytest.mark.parametrize(
    ("share", "verdict", "num_questions"),
    [(1.5, "enough", 40), (1.1, "tight", 40), (0.5, "short", 20), (0.0001, "short", 0)],
)
def test_a_budget_is_weighed_against_the_range(
    surveyed: Any, share: float, verdict: str, num_questions: int
) -> None:
    likely = of(surveyed()).usd.likely
    budget = of(surveyed(budget_usd=likely * share)).budget
    assert budget is not None
    assert (budget.verdict, budget.num_questions) == (verdict, num_questions)


def test_what_is_spent_is_gone_from_the_budget(ledger: Ledger, surveyed: Any) -> None:
    for key in keys(40):
        ledger.record(key, Entry(answer(1000, 100)))
    found = of(surveyed(budget_usd=0.01))
    assert found.spent_usd == pytest.approx(0.26)
    assert found.budget is not None
    assert found.budget.verdict == "enough"  # there is nothing left to ask
    assert found.line().endswith("40 are answered, for $0.26")
    assert found.metrics()["estimated_usd"] == pytest.approx(0.26)


def test_what_is_left_of_the_budget_is_for_the_open_questions(
    ledger: Ledger, surveyed: Any
) -> None:
    for key in keys(40)[:5]:
        ledger.record(key, Entry(answer(1000, 100)))  # $0.0325
    likely = of(surveyed()).usd.likely
    budget = of(surveyed(budget_usd=0.0325 + likely / 2)).budget
    assert budget is not None
    assert (budget.verdict, budget.num_questions) == ("short", 17)  # half of 35


# --- time ------------------------------------------------------------------------------------


def pace(pair: Any, **more: Any) -> Any:
    (one,) = of(pair, **more).paces
    return one


def test_the_slowest_of_three_limits_tells_the_hours(surveyed: Any) -> None:
    found = of(surveyed())
    tokens = found.image_tokens.likely + found.text_tokens.likely + found.completion_tokens.likely
    narrow = pace(surveyed(tokens_per_minute=100, requests_per_minute=100))
    assert (narrow.bound, narrow.hours) == ("tokens per minute", pytest.approx(tokens / 6000))
    few = pace(surveyed(tokens_per_minute=10**7, requests_per_minute=1))
    assert (few.bound, few.hours) == ("requests per minute", pytest.approx(40 / 60))
    slow = pace(surveyed(tokens_per_minute=10**7, concurrency=2), seconds=90.0)
    assert (slow.bound, slow.hours) == ("the time of an answer", pytest.approx(0.5))


def test_the_limits_of_all_places_add_up_unless_one_has_none(surveyed: Any) -> None:
    one = {"teacher": "http://here/v1", "teacher_model": "gpt-4o", "tokens_per_minute": 100}
    alone = pace(surveyed(**one))
    both = pace(surveyed(**one, also=[{"teacher": "http://there/v1", "tokens_per_minute": 300}]))
    assert both.hours == pytest.approx(alone.hours / 4)
    free = pace(surveyed(**one, also=[{"teacher": "http://there/v1"}]))
    assert free.bound == "the time of an answer"


def test_openais_tiers_stand_for_limits_that_are_not_known(surveyed: Any) -> None:
    assert [one.limits for one in of(surveyed()).paces] == [f"tier {n}" for n in range(1, 6)]
    assert pace(surveyed(teacher="http://here/v1")).limits == "no limits"


def test_files_and_waves_of_batches(surveyed: Any) -> None:
    assert of(surveyed(batch={"max_requests": 15})).num_files == 3
    config, survey = surveyed(batch={"max_mb": 0.05})
    whole = 40 * survey.body_bytes
    assert of((config, survey)).num_files == -(-whole // 50_000)
    found = of(surveyed(tokens_per_minute=1, batch={"queued_tokens": 10_000}))
    prompt = found.image_tokens.likely + found.text_tokens.likely
    assert found.paces[0].waves == -(-prompt // 10_000)


def test_machines_get_all_of_it(surveyed: Any) -> None:
    import json

    told = json.loads(json.dumps(of(surveyed(budget_usd=1.0)).to_json()))
    assert told["price"] == PRICE | {"batch": 0.5}
    assert told["price_source"] == "OpenAI's pricing page of 2024-10-01"
    assert told["ends"] == "2026-10-23"
    assert set(told["sync_usd"]) == {"low", "likely", "high"}
