"""Both modes of many questions: asked together, and one mode after the other."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from benchmarks import llava
from benchmarks.llava import Shape
from benchmarks.measuring import OURS, Case, Contender
from chainsight.demo import bars
from chainsight.records import Example, Mode
from chainsight.vlm import checkpoint, prefix
from chainsight.vlm.asking import ask_modes
from chainsight.vlm.checkpoint import Loaded
from chainsight.vlm.sampling import Drawing, stream
from chainsight.vlm.template import student

GOAL = 1.5
BATCH = 16
"""The default of `evaluate.batch_size`."""
TOY: dict[Mode, int] = {"direct": 8, "cot": 96}
"""Most tokens, as in the demo."""
LEARNED: dict[Mode, int] = {"direct": 2, "cot": 32}
"""Tokens that the demo's policy says, on the average: random weights go on to the limit."""
PAPER: dict[Mode, int] = {"direct": 5, "cot": 41}
"""Those of the other cases: a direct answer is an eighth of a rationale."""

Said = list[str]


def questions(number: int, *, each: int = bars.QUESTIONS_PER_CHART) -> list[Example]:
    """Toy questions, `each` of them about a picture."""
    charts = islice(bars.charts(0, "test"), -(-number // each))
    return [
        Example(f"{i}/{j}", "bars", "test", q.text, (q.answer,), "exact_match", (chart.image,))
        for i, chart in enumerate(charts)
        for j, q in enumerate(chart.questions[:each])
    ][:number]


def together(loaded: Loaded, asked: Sequence[Example], limits: dict[Mode, int], size: int) -> Said:
    """As `evaluate` asks."""
    said = {
        (mode, number): reply.text
        for number, mode, reply in ask_modes(loaded, asked, limits, style="paper", batch_size=size)
    }
    return [said[mode, number] for mode in limits for number in range(len(asked))]


def twice(loaded: Loaded, asked: Sequence[Example], limits: dict[Mode, int], size: int) -> Said:
    """As it asked before: by modes, pictures shared by those who begin at the same time."""
    return [text for mode in limits for text in _in_mode(loaded, asked, mode, limits[mode], size)]


def _in_mode(
    loaded: Loaded, asked: Sequence[Example], mode: Mode, limit: int, size: int
) -> Iterator[str]:
    prompts = [student(example, mode) for example in asked]
    rows = (loaded.template.row(prompt) for prompt in prompts)
    said = dict(stream(loaded, rows, Drawing(limit), in_flight=size))
    for number, prompt in enumerate(prompts):
        loaded.template.rendered(prompt)  # for the record, on both sides
        yield said[number][0].text


def case(
    loaded: Loaded,
    asked: Sequence[Example],
    limits: dict[Mode, int],
    name: str,
    title: str,
    *,
    size: int = BATCH,
    goal: float | None = GOAL,
) -> Case:
    """The same questions both ways."""
    return Case(
        f"evaluate, {name}",
        f"both modes of {len(asked)} questions, {size} at a time: {title}",
        (
            Contender(OURS, lambda: together(loaded, asked, limits, size)),
            Contender("asked twice", lambda: twice(loaded, asked, limits, size)),
        ),
        (loaded.model,),
        _differing,
        0.0,
        goal,
        processor=loaded.processor.image_processor,
    )


def _differing(one: Said, other: Said) -> float:
    """Share of texts that are not the same."""
    return sum(a != b for a, b in zip(one, other, strict=True)) / len(one)


def suite(shape: Shape, quick: bool) -> Iterator[Case]:
    """The toy world with its own model, then with a wider one, then prompts as long as others'."""
    number = 8 if quick else 300
    apart, four = questions(number, each=1), questions(number)
    tiny = checkpoint.load("builtin:tiny", attention=prefix.implementation("sdpa"))
    yield case(tiny, apart, TOY, "toy", "the demo's base, a chart each")
    yield case(tiny, four, TOY, "toy, 4 a chart", "the demo's base", goal=None)
    yield case(tiny, four, TOY, "toy, 4 a chart, 100", "as the demo", size=100, goal=None)
    wide = llava.build(replace(shape, tile=32, patch=8))
    yield case(wide, apart, LEARNED, "wide", f"hidden {shape.hidden}, 88 image tokens")
    yield case(wide, four, LEARNED, "wide, 4 a chart", "the same", goal=None)
    whole = llava.build(shape)
    few = apart[: 4 if quick else 32]
    row = whole.template.row(student(few[0], "direct"))
    yield case(whole, few, PAPER, "long prompts", f"prompts of {len(row)} tokens")
