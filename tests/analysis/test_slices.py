"""Slices: which questions are in which, q-values and intervals by hand."""

from collections.abc import Callable
from typing import Any

import pytest

from chainsight.analysis.differences import by_model
from chainsight.analysis.slices import bands, benjamini_hochberg, slices, traits
from chainsight.records import Example, Prediction

Answers = Callable[..., list[Prediction]]


def example(number: int, reference: str = "7", **fields: Any) -> Example:
    return Example(f"bars/{number}", "bars", "test", "?", (reference,), "exact_match", **fields)


def test_a_slice_holds_its_questions_scores_and_difference(answers: Answers) -> None:
    """Of twelve sums 3 and 9 are right, of twelve counts 6 and 6, the same."""
    policy = answers("policy", "cot", [1.0] * 3 + [0.0] * 9 + [1.0, 0.0] * 6)
    aligned = answers("aligned", "cot", [1.0] * 9 + [0.0] * 3 + [1.0, 0.0] * 6)
    answered = by_model([*policy, *aligned])
    kinds = {f"bars/{n}": ("sum" if n < 12 else "count",) for n in range(24)}
    sums, counts = slices(answered["aligned", "cot"], answered["policy", "cot"], {"type": kinds})
    assert (sums.trait, sums.value, sums.num_questions) == ("type", "sum", 12)
    assert (sums.than.value, sums.better.value, sums.gain.value) == (0.25, 0.75, 0.5)
    assert sums.gain.low > 0
    assert sums.q_value == pytest.approx(2 * 2 / 2**6)  # 6 won, 0 lost; the surer of two slices
    assert counts.gain.value == 0
    assert counts.q_value == 1


def test_small_and_lonely_slices_are_left_out(answers: Answers) -> None:
    answered = by_model([*answers("a", "cot", [1.0] * 19), *answers("b", "cot", [0.0] * 19)])
    kinds = {f"bars/{n}": ("many" if n < 10 else "few",) for n in range(19)}
    assert slices(answered["a", "cot"], answered["b", "cot"], {"type": kinds}) == []


def test_q_values_are_benjamini_and_hochbergs() -> None:
    """Their example of 15 p-values has four below 5 % (1995, section 3.2)."""
    from scipy.stats import false_discovery_control

    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240,
         0.4262, 0.5719, 0.6528, 0.7590, 1.0]  # fmt: skip
    found = benjamini_hochberg(p[::-1])[::-1]
    assert found == pytest.approx(list(false_discovery_control(p)))
    assert sum(q < 0.05 for q in found) == 4
    assert benjamini_hochberg([]) == []


@pytest.mark.parametrize(
    ("reference", "kind"),
    [
        ("7", "a number"),
        ("-0.5", "a number"),
        ("$1,200", "a number"),
        ("12 %", "a number"),
        ("Yes", "yes or no"),
        ("['red', 'blue']", "a list"),
        ("mar", "a word"),
        ("in the park", "several words"),
        ("3 apples", "several words"),
    ],
)
def test_answers_are_told_apart_by_their_looks(reference: str, kind: str) -> None:
    found = traits({"q": example(0, reference)}, {}, {("a", "cot"): {}}, ("a", "a"), "cot")
    assert found["answer"] == {"q": [kind]}


def test_datasets_own_words_make_slices() -> None:
    examples = {
        "a": example(0, choices=("x", "y"), meta={"difficult": "True"}),
        "b": example(1, meta={"kind": "sum", "level": "3"}),
        "c": example(2, meta={"question_types": "form, table/list"}),
    }
    found = traits(examples, {}, {("m", "cot"): {}}, ("m", "m"), "cot")
    assert found["type"] == {"a": [], "b": ["sum"], "c": ["form", "table/list"]}
    assert found["answer"]["a"] == ["a letter"]
    assert found["choices"] == {"a": ["2 choices"], "b": ["none given"], "c": ["none given"]}
    assert found["difficulty"] == {"a": ["difficult"], "b": ["level 3"], "c": []}


def test_a_compared_model_does_not_say_what_is_hard(answers: Answers) -> None:
    """Questions that a model got wrong are gains of its rival, by chance alone."""
    rows = [
        *answers("base", "direct", [1.0, 0.0, 0.0]),
        *answers("base", "cot", [1.0, 1.0, 0.0]),
        *answers("policy", "cot", [0.0] * 3),
        *answers("aligned", "cot", [0.0] * 3),
    ]
    answered = by_model(rows)
    examples = {f"bars/{n}": example(n) for n in range(3)}
    independent = traits(examples, {}, answered, ("aligned", "policy"), "cot")["base model"]
    assert independent == {
        "bars/2": ("wrong",), "bars/1": ("right in one mode",), "bars/0": ("right in both",),
    }  # fmt: skip
    assert traits(examples, {}, answered, ("policy", "base"), "cot")["base model"] == {}


def test_bands_are_equally_large_and_keep_equal_values_together() -> None:
    found = bands({f"q{n}": float(n) for n in range(9)}, "tokens")
    assert list(found.values()) == (
        [("0 to 2 tokens",)] * 3 + [("3 to 5 tokens",)] * 3 + [("6 to 8 tokens",)] * 3
    )
    assert set(bands({"a": 5.0, "b": 5.0, "c": 5.0}, "pixels").values()) == {("5 to 5 pixels",)}
    assert bands({}, "pixels") == {}
