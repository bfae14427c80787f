from chainsight.context import Silent
from chainsight.teacher.cost import Budget
from chainsight.teacher.reply import Reply
from chainsight.teacher.speed import Speed

REPLY = Reply("So.", "stop", "", 1000, 100)


def told(allowed: float | None, num_limited: int) -> list[str]:
    """Ten answers a second for ten seconds, at a cent each, of a thousand questions."""
    budget = Budget(None, num_questions=1000)
    speed, lines = Speed(budget), []
    for tick in range(100):
        budget.add(0.01)
        lines.append(speed.note(REPLY, allowed, num_limited, now=tick / 10))
    return [line for line in lines if line]


def test_one_line_says_how_fast_how_much_is_allowed_and_the_cost() -> None:
    lines = told(800_000, 3)
    assert len(lines) == 4
    assert lines[-1] == "10.0/s, 660k of 800k tokens/min, 3 x 429, $0.81 of about $10.00"


def test_what_is_not_known_is_not_said() -> None:
    assert told(None, 0)[-1] == "10.0/s, 660k tokens/min, $0.81 of about $10.00"


def test_nobody_needs_to_listen() -> None:
    with Silent().task("distill", 1, "question") as task:
        task.note("10.0/s")
