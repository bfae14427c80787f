import asyncio

import pytest

from chainsight.config import Price
from chainsight.errors import TeacherError
from chainsight.inventory.prices import cost_usd
from chainsight.teacher.cost import Budget


def test_an_answer_costs_its_tokens_at_the_list_price() -> None:
    assert cost_usd(1000, 100, Price(prompt=5.0, completion=15.0)) == pytest.approx(0.005 + 0.0015)
    assert cost_usd(1000, 100, Price(prompt=0.0, completion=0.0)) == 0.0


def test_without_a_limit_anything_may_be_spent() -> None:
    budget = Budget(None)
    budget.add(1e9)
    budget.settle(budget.reserve(1e9), 1e9)
    assert budget.spent_usd == 2e9


def test_what_is_spent_and_what_is_in_flight_never_pass_the_limit_together() -> None:
    budget = Budget(0.03, num_questions=10)
    budget.add(0.01)
    held = budget.reserve(0.015)
    assert budget.fits(0.005)
    assert not budget.fits(0.0051)
    with pytest.raises(TeacherError, match=r"\$0\.0300 allowed, \$0\.0100 spent on 1 of 10"):
        budget.reserve(0.0051)
    budget.settle(held, 0.006)
    assert budget.reserve(0.014) == 0.014


def test_many_small_sums_may_fill_the_limit_to_the_cent() -> None:
    budget = Budget(0.3)
    for _ in range(3):
        budget.settle(budget.reserve(0.1), 0.1)  # 0.1 + 0.1 + 0.1 > 0.3 in floating point
    assert (budget.num_answers, budget.num_in_flight, budget.reserved_usd) == (3, 0, 0.0)


def test_a_request_that_was_not_billed_gives_its_money_back() -> None:
    budget = Budget(0.01)
    budget.release(budget.reserve(0.01))
    assert budget.reserve(0.01) == 0.01


def test_a_request_that_may_have_been_billed_does_not() -> None:
    budget = Budget(0.01, num_questions=3)
    budget.lose(budget.reserve(0.006))
    with pytest.raises(TeacherError, match=r"and up to \$0\.0060 on 1 without an answer"):
        budget.reserve(0.006)


def test_the_refusal_projects_the_cost_of_all_questions() -> None:
    budget = Budget(0.01, num_questions=10)
    budget.add(0.01)
    with pytest.raises(TeacherError, match=r"all of them would cost about \$0\.1000"):
        budget.reserve(0.001)


def test_who_finds_no_room_waits_for_those_in_flight() -> None:
    async def ask() -> float:
        budget = Budget(0.01)
        held = budget.reserve(0.008)
        waiting = asyncio.create_task(budget.room(0.005))
        await asyncio.sleep(0)
        assert not waiting.done()
        budget.settle(held, 0.002)
        return await waiting

    assert asyncio.run(ask()) == 0.005


def test_nobody_waits_for_money_that_is_spent() -> None:
    async def ask() -> None:
        budget = Budget(0.01)
        budget.add(0.006)
        budget.reserve(0.004)
        await budget.room(0.005)

    with pytest.raises(TeacherError, match=r"\$0\.0060 spent"):
        asyncio.run(ask())


def test_what_was_spent_is_told_with_what_all_will_cost() -> None:
    budget = Budget(None, num_questions=200)
    assert budget.told() == ""
    budget.add(0.5)
    budget.add(1.5)
    assert budget.told() == "$2.00 of about $200.00"
