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
    budget.check(1)


def test_the_budget_ends_when_it_is_reached_not_before() -> None:
    budget = Budget(0.03)
    budget.add(0.0299)
    budget.check(10)
    budget.add(0.0001)
    with pytest.raises(TeacherError, match=r"\$0\.0300 allowed, \$0\.0300 spent on 2 of 10"):
        budget.check(10)


def test_the_refusal_projects_the_cost_of_all_questions() -> None:
    budget = Budget(0.01)
    budget.add(0.01)
    with pytest.raises(TeacherError, match=r"all of them would cost about \$0\.1000"):
        budget.check(10)
