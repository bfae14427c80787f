"""The estimate against what the mock teacher bills, and the budget as a ceiling."""

import random
from pathlib import Path

import pytest
from distilling import Place, charts

from chainsight.demo import teacher
from chainsight.errors import ConfigError, TeacherError

PAPER = "gpt-4o-2024-05-13"


def test_an_estimate_needs_no_key_and_asks_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    place = Place(tmp_path, charts(20))
    assert place.preview().num_open == 20
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is not set"):
        place.preview(probe=1)
    with teacher.serve() as server:
        assert place.preview(teacher=server.url).num_open == 20
        assert server.bill.num_requests == 0


def test_nobody_is_paid_for_published_rationales(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nobody is asked"):
        Place(tmp_path, charts(1)).preview(teacher="published")


def test_with_a_probe_the_estimate_is_within_a_tenth_of_the_bill(tmp_path: Path) -> None:
    """Without one it goes by the length of GPT-4o's rationales; the mock's are a quarter of it."""
    place = Place(tmp_path, charts(300))
    with teacher.serve() as server:
        settings = {"teacher": server.url, "teacher_model": PAPER}
        blind = place.preview(**settings)
        found = place.preview(probe=30, **settings)
        assert (found.num_open, found.num_answered, found.num_learned) == (270, 30, 30)
        assert found.spent_usd == pytest.approx(server.bill.usd)
        metrics, _ = place.run(**settings)
        billed = server.bill.usd
        assert (server.bill.num_billed, metrics["num_asked"]) == (300, 270)
    assert found.usd is not None
    assert found.spent_usd is not None
    assert billed == pytest.approx(metrics["cost_usd"]) != 0.0
    assert found.usd.likely + found.spent_usd == pytest.approx(billed, rel=0.1)
    assert found.usd.low + found.spent_usd <= billed <= found.usd.high + found.spent_usd
    assert metrics["estimated_usd"] == pytest.approx(billed, rel=0.1)
    assert blind.usd is not None
    assert blind.image_tokens.likely == 300 * 255


def test_a_probe_keeps_to_the_budget(tmp_path: Path) -> None:
    place = Place(tmp_path, charts(20))
    with teacher.serve() as server, pytest.raises(TeacherError, match="Raise the budget"):
        place.preview(probe=20, teacher=server.url, teacher_model=PAPER, budget_usd=0.03)
    assert server.bill.usd <= 0.03


def test_the_bill_never_passes_any_of_ten_budgets_and_a_raised_one_goes_on(
    tmp_path: Path,
) -> None:
    rng = random.Random(0)
    place = Place(tmp_path, charts(120))
    with teacher.serve() as server:
        settings = {"teacher": server.url, "teacher_model": PAPER}
        for budget in sorted(rng.uniform(0.02, 0.25) for _ in range(10)):
            with pytest.raises(TeacherError, match="the same command goes on from there"):
                place.run(**settings, budget_usd=budget, concurrency=rng.choice([1, 4, 16]))
            assert budget - 0.02 < server.bill.usd <= budget  # an answer is at most $0.02
        place.run(**settings, budget_usd=1.0)
        assert server.bill.num_billed == 120  # and nothing was paid twice
        assert set(server.bill.times.values()) == {1}
