"""How many are in flight, and how long one is waited for."""

import pytest

from chainsight.teacher.pace import FIRST, Pace
from chainsight.teacher.patience import FLOOR_SECONDS, Patience


def serve(pace: Pace, rounds: int, *, slots: float = 1e9, start: float = 0.0) -> float:
    """Rounds of a full window at a server that answers in a second, as long as there are slots."""
    now = start
    for _ in range(rounds):
        size = int(pace.window)
        seconds = max(1.0, size / slots)
        for _ in range(size):
            now += seconds / size
            pace.answered(now, int(pace.window) - 1)
    return now


def test_the_first_requests_are_few_and_double_each_round() -> None:
    pace = Pace(100)
    assert pace.window == FIRST
    serve(pace, 3)
    assert pace.window == 8 * FIRST


def test_the_window_never_passes_what_the_user_allows() -> None:
    assert Pace(2).window == 2
    pace = Pace(20)
    serve(pace, 10)
    pace.lift(1000.0)
    assert pace.window == 20


def test_a_window_that_is_not_used_does_not_grow() -> None:
    pace = Pace(100)
    for second in range(50):
        pace.answered(float(second), 1)
    assert pace.window == FIRST


def test_known_limits_open_the_window_at_once() -> None:
    pace = Pace(100)
    pace.lift(30.0)
    assert pace.window == 60


def test_more_in_flight_that_brings_no_more_answers_is_taken_back() -> None:
    pace = Pace(1000)
    serve(pace, 30, slots=32)
    assert 16 <= pace.window <= 100


def test_more_in_flight_that_brings_more_is_kept() -> None:
    pace = Pace(1000)
    serve(pace, 30, slots=500)
    assert pace.window >= 400


def test_overload_takes_a_share_off_once_in_the_time_of_an_answer() -> None:
    pace = Pace(100)
    pace.lift(50.0)
    for _ in range(10):
        pace.overloaded(1.0, 5.0)
    assert pace.window == pytest.approx(70)
    for _ in range(3):
        pace.overloaded(7.0, 5.0)
    assert pace.window == pytest.approx(49)


def test_single_failures_from_overload_are_no_sign() -> None:
    pace = Pace(100)
    pace.lift(50.0)
    for second in range(200):
        for _ in range(19):
            pace.answered(float(second), 1)
        pace.overloaded(float(second), 1.0)
    assert pace.window == 100


def test_a_refusal_counts_at_once_and_slows_the_growth() -> None:
    pace = Pace(100)
    serve(pace, 3)
    pace.overloaded(10.0, 1.0, certain=True)
    assert pace.window == 16
    serve(pace, 5, start=20.0)
    assert pace.window == pytest.approx(21, abs=0.5)


def taught(seconds: float, count: int = 100, most: float = 120.0) -> Patience:
    patience = Patience(most)
    for _ in range(count):
        patience.took(seconds)
    return patience


def test_until_enough_answers_came_the_users_limit_holds() -> None:
    assert taught(3.0, count=19).seconds(0) == 120.0
    assert taught(3.0, count=20).seconds(0) == 12.0


def test_patience_is_within_its_bounds() -> None:
    assert taught(0.01).seconds(0) == FLOOR_SECONDS
    assert taught(50.0).seconds(0) == 120.0
    assert taught(0.01, most=2.0).seconds(0) == 2.0


def test_one_that_was_cut_before_gets_twice_the_time() -> None:
    assert [taught(3.0).seconds(tries) for tries in (0, 1, 2, 9)] == [12.0, 24.0, 48.0, 120.0]


def test_a_few_hung_ones_change_nothing_and_a_slow_place_is_waited_for() -> None:
    patience = taught(3.0)
    for turn in range(400):
        patience.took(patience.seconds(0) if turn % 33 == 0 else 3.0)
    assert patience.seconds(0) == 12.0
    for _ in range(60):
        patience.took(patience.seconds(0))
    assert patience.seconds(0) == 120.0
