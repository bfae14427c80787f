"""The section on first wrong steps: how often rewards find them, beside chance and a control."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from html import escape
from typing import Any

from chainsight.analysis.credit import (
    AMONG_UNCERTAIN,
    ANYWHERE,
    CONTROL,
    MAIN,
    RIGHT,
    WRONG,
    Credit,
)
from chainsight.analysis.intervals import Interval
from chainsight.analysis.steps import Rate
from chainsight.demo.steps import FAULTS
from chainsight.webpage import table

GOAL = 3.0
"""How many times as often as chance slips should be found."""
FEW = 20
"""Slips of one kind below which no rate is shown."""
MEASURE_HEAD = ("token suspected", "slips", "found, %", "chance, %", "times chance")
BY_KIND = (MAIN, ANYWHERE, AMONG_UNCERTAIN, CONTROL)
"""What is shown for each kind of slip."""

Rates = Mapping[tuple[str, str], Rate]


def section(found: Credit | None) -> str:
    """HTML; "" if no first wrong step is known."""
    if not found:
        return ""
    said = "".join(f"<p>{escape(sentence)}</p>\n" for sentence in words(found))
    head, *kinds = by_kind(found.rates)
    return (
        f"<section><h2>The first wrong step</h2>\n{said}"
        f"{table(MEASURE_HEAD, by_measure(found.rates), numbers=(1, 2, 3, 4))}\n"
        f"<p>The same by where the chain goes wrong first, in times chance:</p>\n"
        f"{table(head, kinds, numbers=range(1, len(head)))}</section>"
    )


def by_measure(rates: Rates) -> list[list[str]]:
    """Of all wrong answers a row for each way to look, under `MEASURE_HEAD`."""
    return [
        [
            measure,
            f"{one.num_slips:,}",
            _percent(one.found),
            f"{100 * one.chance:.1f}",
            _times(one.ratio),
        ]
        for (group, measure), one in rates.items()
        if group == WRONG
    ]


def by_kind(rates: Rates) -> list[list[str]]:
    """A head, and a row for each kind of slip: its ratios to chance."""
    measures = [one.name for one in BY_KIND if (WRONG, one.name) in rates]
    rows = [["slip in", "slips", *measures]]
    for group in (*FAULTS, RIGHT):
        own = [rates[group, name] for name in measures if (group, name) in rates]
        if own and own[0].num_slips >= FEW:
            rows.append([group, f"{own[0].num_slips:,}", *(_times(one.ratio) for one in own)])
    return rows


def to_json(found: Credit) -> dict[str, Any]:
    """Every figure of the section, for machines."""
    rates: dict[str, dict[str, Any]] = {}
    for (group, measure), one in found.rates.items():
        rates.setdefault(group, {})[measure] = asdict(one)
    known = found.known
    counts = {"num_answers": known.num_answers, "num_slips": len(known.cases)}
    counts |= {"num_without": known.num_without, "num_unreadable": known.num_unreadable}
    return {**counts, "rates": rates, "words": words(found)}


def metrics(found: Credit) -> dict[str, float]:
    """What MLflow keeps of it."""
    named = {"first_slip": MAIN, "first_slip_among_uncertain": AMONG_UNCERTAIN}
    known = {name: found.rates.get((WRONG, one.name)) for name, one in named.items()}
    return {
        f"{name}/{figure}": value
        for name, one in known.items()
        if one
        for figure, value in (("found", one.found.value), ("chance", one.chance))
    }


def words(found: Credit) -> list[str]:
    """What the tables say, in sentences."""
    known, rates = found.known, found.rates
    counts = (
        f"Of {known.num_answers:,} answers about toy charts {known.num_without:,} have no wrong "
        f"step, {len(known.cases):,} have one, and {known.num_unreadable:,} are no derivation that "
        "can be followed."
    )
    if (WRONG, MAIN.name) not in rates:
        return [counts]
    main = rates[WRONG, MAIN.name]
    result = (
        f"In {main.num_slips:,} wrong answers (to {main.num_questions:,} questions) the most "
        f"negative token is the first wrong word in {_percent(main.found)} %, by chance in "
        f"{100 * main.chance:.1f} %: {_times(main.ratio)} as often. The goal of {GOAL:g} times is "
        f"{_met(main.ratio)}."
    )
    return [counts, result, *([_control(rates)] if (WRONG, CONTROL.name) in rates else [])]


def _met(ratio: Interval) -> str:
    if ratio.low >= GOAL:
        return "met"
    return "missed" if ratio.high < GOAL else "neither met nor missed for certain"


def _control(rates: Rates) -> str:
    control, unsure = (rates[WRONG, one.name] for one in (CONTROL, AMONG_UNCERTAIN))
    adds = "It is open whether rewards tell more than uncertainty does."
    if unsure.ratio.low > 1:
        adds = "So rewards tell more than uncertainty does."
    elif unsure.ratio.high < 1:
        adds = "So it is uncertainty that finds slips; the rewards add nothing to it."
    return (
        f"Controls: the token that the policy expected least is the first wrong word in "
        f"{_percent(control.found)} %. Among the tokens that it was unsure of, the most negative "
        f"one finds {_times(unsure.ratio)} what chance finds. {adds}"
    )


def _percent(one: Interval) -> str:
    return f"{100 * one.value:.1f} ({100 * one.low:.1f} to {100 * one.high:.1f})"


def _times(one: Interval) -> str:
    if math.isnan(one.value):
        return "no chance"
    return f"{one.value:.2f}x ({one.low:.2f} to {one.high:.2f})"
