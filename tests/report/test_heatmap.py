"""Heat maps: each token in its colour, and nothing said by colour alone."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from chainsight.analysis.credit import credit
from chainsight.demo import bars
from chainsight.demo.steps import Slip
from chainsight.records import Example, Verified
from chainsight.report import credit as figures
from chainsight.report import heatmap

TEXT = "jan 3.\n\n### Answer: 4"
PIECES = ("jan", " 3", ".\n\n", "###", " Answer", ":", " 4", "")
REWARDS = (0.0, -0.3, 0.06, 0.0, 0.0, -0.04, -1.2, 0.7)


def said(index: int = 0, score: float = 0.0, example_id: str = "q", **changes: object) -> Verified:
    one = Verified(
        example_id, index, TEXT, "4", "marker", score, 8, -2.0, -1.22, PIECES, REWARDS,
        logprobs=(-0.1,) * 8,
    )  # fmt: skip
    return replace(one, **changes)  # type: ignore[arg-type]


def example(example_id: str = "q", **changes: object) -> Example:
    one = Example(example_id, "d", "test", "How high is jan?", ("3",), "exact_match")
    return replace(one, **changes)  # type: ignore[arg-type]


class Text(HTMLParser):
    """What a reader without colours gets."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found = ""
        self.feed(page)
        self.close()

    def handle_data(self, data: str) -> None:
        self.found += data


@pytest.mark.parametrize(
    ("reward", "name"),
    [(0.0, ""), (0.049, ""), (0.05, "p1"), (0.2, "p2"), (0.5, "p3"), (1.0, "p4"), (9.0, "p4"),
     (-0.049, ""), (-0.05, "n1"), (-0.49, "n2"), (-0.99, "n3"), (-1.0, "n4")],
)  # fmt: skip
def test_shades_are_the_same_steps_of_nats_on_both_sides(reward: float, name: str) -> None:
    assert heatmap.shade(reward) == name


def test_each_token_stands_in_its_colour_and_the_text_is_whole() -> None:
    page = heatmap.answer(said())
    assert '<span class="n2" title="-0.30 nats"> 3</span>' in page
    assert '<span class="n4 first" title="-1.20 nats"> 4</span>' in page
    assert '<span class="p1" title="+0.06 nats">.↵\n\n</span>### Answer:' in page
    assert '<span class="p3" title="+0.70 nats">∎</span>' in page  # the end-of-turn
    assert Text(page).found.replace("↵", "").count(TEXT) == 1


def test_what_the_marks_show_is_said_in_words_too() -> None:
    slip = Slip("look-up", word=(4, 5), step=(3, 5))
    page = heatmap.answer(said(), slip)
    assert '<span class="n2 slip" title="-0.30 nats"> 3</span>' in page
    words = Text(page).found
    assert "sample 0 ✗ wrong answer 4, reward -0.78 nats" in words
    assert "First strongly negative: “…### Answer: 4”, -1.20 nats." in words
    assert "Known first wrong word: “…jan 3” (look-up)." in words


def test_a_mild_answer_has_no_strongly_negative_token() -> None:
    page = heatmap.answer(said(index=-1, score=1.0, rewards=(-0.09,) * 8))
    assert "greedy answer ✓ right" in Text(page).found
    assert "No strongly negative token." in Text(page).found
    assert 'class="first"' not in page


def test_text_of_models_and_data_sets_is_escaped() -> None:
    nasty = "<script>alert(1)</script>"
    one = said(
        text=nasty, pieces=(nasty,), rewards=(-1.0,), answer=nasty, logprobs=(), num_tokens=1
    )
    asked = example(question=nasty, references=(nasty,), choices=(nasty, "b"))
    unmarked = heatmap.answer(replace(one, rewards=(0.0,)))
    page = heatmap.section({"q": asked}, [one])
    assert "<script" not in page + unmarked
    assert Text(page).found.count(nasty) == 6


def test_a_wrong_answer_stands_beside_a_right_one_to_its_question() -> None:
    mild = said(0, rewards=(-0.1,) * 8)
    answers = [said(-1, 1.0), mild, said(1), said(2, 1.0), said(3, 1.0, "all right")]
    [[wrong, right]] = heatmap.choose(answers)
    assert (wrong.index, right.index) == (1, -1)
    page = heatmap.section({"q": example(), "all right": example()}, answers)
    assert page.count('class="said"') == 2
    assert heatmap.section({}, [said(3, 1.0)]) == ""


def test_half_of_the_questions_are_the_most_negative_and_half_from_all_over() -> None:
    answers = [said(example_id=f"q{at}", rewards=(at / -100,) * 8) for at in range(100)]
    chosen = [int(own[0].example_id[1:]) for own in heatmap.choose(answers)]
    assert chosen[:6] == [99, 98, 97, 96, 95, 94]
    assert len(chosen) == 12
    assert chosen[6] == 0
    assert all(10 < one - before < 20 for before, one in pairwise(chosen[6:]))


def test_the_legend_names_every_class_of_the_style() -> None:
    legend = heatmap.legend(slips=True)
    styled = set(re.findall(r"\.heat \.(\w+)", heatmap.STYLE))
    assert set(re.findall(r'class="(\w+)"', legend)) - {"heat"} == styled
    assert "known first wrong word" not in heatmap.legend(slips=False)


def test_colours_leave_the_text_readable_in_light_and_dark() -> None:
    """WCAG's contrast of the page's text colour on the deepest shades, 4.5 at least."""

    def luminance(rgb: tuple[float, ...]) -> float:
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    def channels(code: str) -> tuple[float, ...]:
        return tuple(int(code[at : at + 2], 16) / 255 for at in (1, 3, 5))

    deepest = re.findall(
        r"[np]4 \{ background: rgba\((\d+), (\d+), (\d+), (\.\d+)\)", heatmap.STYLE
    )
    assert len(deepest) == 2
    for *colour, alpha in deepest:
        for text, card in (("#1f2328", "#f6f8fa"), ("#e6edf3", "#171d25")):
            mixed = tuple(
                float(alpha) * int(c) / 255 + (1 - float(alpha)) * ground
                for c, ground in zip(colour, channels(card), strict=True)
            )
            low, high = sorted((luminance(mixed), luminance(channels(text))))
            assert (high + 0.05) / (low + 0.05) >= 4.5


# --- figures ---------------------------------------------------------------------------------


def toy(number: int) -> tuple[Example, Verified]:
    """A question about a chart, and an answer whose look-up was skipped."""
    chart = next(bars.charts(number, "test"))
    (name, value), *_ = chart.table
    text = f"The bars read {bars.listing(chart.table)}.\n\n### Answer: {value + 1}"
    asked = example(
        f"q{number}", question=f"How high is {name}?", images=(chart.image,), meta={"kind": "value"}
    )
    pieces = (*re.findall(r"\s*(?:\w+|#+|[^\w\s]\n*)", text), "")
    rewards = (0.0,) * (len(pieces) - 2) + (-0.5, 0.0)
    one = said(0, 0.0, asked.id, text=text, pieces=pieces, rewards=rewards)
    return asked, replace(one, logprobs=(-0.3,) * len(pieces))


def test_figures_of_the_section_are_those_of_the_json() -> None:
    asked, answers = zip(*(toy(number) for number in range(25)), strict=True)
    found = credit({one.id: one for one in asked}, answers)
    assert found
    kept = figures.to_json(found)
    page = Text(figures.section(found)).found
    main = kept["rates"]["all wrong answers"]["most negative"]
    assert (main["num_slips"], main["found"]["value"]) == (25, 1.0)
    assert f"{main['ratio']['value']:.2f}x as often" not in page  # an interval belongs to it
    assert f"{main['ratio']['value']:.2f}x ({main['ratio']['low']:.2f} to" in page
    assert "The goal of 3 times is met." in page
    assert set(figures.metrics(found).values()) >= {1.0, main["chance"]}
    assert "leap" in page
    assert "computation" not in page  # no such slip


def test_without_known_slips_there_is_no_section() -> None:
    assert figures.section(None) == ""
    right = said(0, 1.0)
    assert credit({"q": example(meta={"kind": "value"}, images=(b"",))}, [right]) is None
