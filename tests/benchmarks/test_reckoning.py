from typing import Any

import pytest

from benchmarks.distill.reckoning import reckon

LIMIT = 60_000.0  # tokens per minute: 1,000 a second


def event(
    seconds: float, digest: str, fate: str = "200", ended: float | None = None
) -> dict[str, Any]:
    answered = fate == "200"
    return {
        "seconds": seconds,
        "fate": fate,
        "digest": digest,
        "counted": 0 if fate == "429" else 1000,
        "billed": 900 if fate in ("200", "hang") else 0,
        "ended": (ended or seconds + 4.0) if answered else None,
    }


def test_a_side_that_sends_all_that_is_allowed_has_a_share_of_one() -> None:
    events = [event(5.0 + n, f"{n}") for n in range(196)]  # one a second, the last ends at 204
    figures = reckon(events, LIMIT, most_in_flight=4)
    assert (figures.answers, figures.seconds, figures.steady) == (196, 199.0, 1.0)
    assert figures.whole == figures.useful == pytest.approx(196 / 199)
    assert figures.refused == figures.wasted == 0.0


def test_what_hangs_fails_or_comes_twice_is_no_use() -> None:
    events = [
        event(0.0, "a"),
        event(1.0, "b", "hang"),
        event(2.0, "b", "429"),
        event(3.0, "b", "500"),
        event(6.0, "b"),
        event(6.0, "a"),
    ]
    figures = reckon(events, LIMIT, most_in_flight=2)
    assert (figures.answers, figures.seconds) == (2, 10.0)
    assert figures.whole == pytest.approx(5 / 10)
    assert figures.useful == pytest.approx(2 / 10)
    assert figures.refused == pytest.approx(1 / 6)
    assert figures.wasted == pytest.approx(1 / 2)
