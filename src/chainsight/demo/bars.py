"""Bar charts with questions: a data set that fits in a function.

A chart is a 64 x 64 PNG with three to six bars for the first months of the year, each 1 to 9
high; no other bar is as high as the highest or as low as the lowest. The table behind a chart
travels in the PNG's own text (`chainsight.table`), so that the scripted teacher can "see" it.
Everything is a pure function of seed and split. Ours, no licence attached.

    What is the sum of feb and mar?  ->  9     (feb 5, mar 4)
"""

import hashlib
import io
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from PIL import Image, ImageDraw, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from chainsight.prompts import MARKER

Kind = Literal["value", "sum", "difference", "count_above", "highest", "lowest"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Table = tuple[tuple[str, int], ...]

NAMES = ("jan", "feb", "mar", "apr", "may", "jun")
MAX_HEIGHT = 9
QUESTIONS_PER_CHART = 4
TABLE_KEY = "chainsight.table"

SPLITS: dict[str, range] = {
    "pretrain": range(40),
    "train": range(40, 80),
    "validation": range(80, 88),
    "test": range(88, 100),
}
"""A table belongs to the split that holds the hundredth part its hash falls in."""

TEMPLATES: dict[Kind, tuple[str, ...]] = {
    "value": ("What is the value of {a}?", "How high is {a}?"),
    "sum": ("What is the sum of {a} and {b}?", "How much are {a} and {b} together?"),
    "difference": ("What is the difference between {a} and {b}?", "How far apart are {a} and {b}?"),
    "count_above": ("How many bars are above {n}?", "How many bars are higher than {n}?"),
    "highest": ("Which bar is the highest?", "Which bar is the tallest?"),
    "lowest": ("Which bar is the lowest?", "Which bar is the shortest?"),
}

KIND_BAG: tuple[Kind, ...] = (*KINDS, "sum", "difference")
"""Kinds are drawn from here: computations, which need a chain of thought, come twice."""


@dataclass(frozen=True)
class ChartQuestion:
    """A question about one chart; `answer` is a number or a bar's name."""

    kind: Kind
    text: str
    answer: str


@dataclass(frozen=True)
class Chart:
    """A table, its picture (PNG bytes, 64 x 64 RGB) and questions about it."""

    table: Table
    image: bytes
    questions: tuple[ChartQuestion, ...]


def split_of(table: Table) -> str:
    """The one split that may contain `table`: no two splits share a chart."""
    digest = hashlib.sha256(json.dumps(table).encode()).digest()
    part = int.from_bytes(digest[:8], "big") % 100
    return next(name for name, parts in SPLITS.items() if part in parts)


def charts(seed: int, split: str) -> Iterator[Chart]:
    """Yield charts of `split` without end; no table comes twice, no question twice about one.

    Raises:
        ValueError: there is no such split.
    """
    rng = random.Random(f"{seed}/{split}/questions")
    for table in tables(seed, split):
        questions: list[ChartQuestion] = []
        for kind in rng.sample(KIND_BAG, QUESTIONS_PER_CHART):
            question = ask(table, kind, rng)
            while question in questions:
                question = ask(table, kind, rng)
            questions.append(question)
        yield Chart(table, render(table, rng), tuple(questions))


def tables(seed: int, split: str) -> Iterator[Table]:
    """The tables of `charts`, without the pictures."""
    if split not in SPLITS:
        raise ValueError(f"no split {split!r} of bars; there are {', '.join(SPLITS)}")
    rng = random.Random(f"{seed}/{split}/tables")
    seen: set[Table] = set()
    while True:
        table = _draw_table(rng)
        if table not in seen and split_of(table) == split:
            seen.add(table)
            yield table


def _draw_table(rng: random.Random) -> Table:
    while True:
        heights = [rng.randint(1, MAX_HEIGHT) for _ in range(rng.randint(3, len(NAMES)))]
        if heights.count(max(heights)) == heights.count(min(heights)) == 1:
            return tuple(zip(NAMES, heights, strict=False))


def ask(table: Table, kind: Kind, rng: random.Random) -> ChartQuestion:
    """A question of `kind` about `table`, in one of its wordings."""
    values = dict(table)
    first, second = rng.sample(list(values), 2)
    while kind == "difference" and values[first] == values[second]:
        first, second = rng.sample(list(values), 2)
    threshold = rng.randint(min(values.values()), max(values.values()) - 1)
    text = rng.choice(TEMPLATES[kind]).format(a=first, b=second, n=threshold)
    return ChartQuestion(kind, text, solve(table, text)[1])


# --- picture ---------------------------------------------------------------------------------

SIDE, UNIT, PITCH, WIDTH, LEFT, FLOOR = 64, 6, 10, 8, 3, 57
"""Pixels: the picture, one unit of height, bar to bar, a bar, the first bar, the ground line."""

COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#8c564b", "#17566b")
PAPERS = ("#ffffff", "#f7f4ec", "#eef3f8")

GLYPHS = {
    "j": ("..#", "..#", "..#", "#.#", ".#."),
    "f": ("###", "#..", "##.", "#..", "#.."),
    "m": ("#.#", "###", "###", "#.#", "#.#"),
    "a": (".#.", "#.#", "###", "#.#", "#.#"),
}
"""The months' initials, 3 x 5 pixels: a font would make the bytes depend on the machine."""


def render(table: Table, rng: random.Random) -> bytes:
    """`table` as a PNG that carries it; `rng` picks the colours."""
    image = Image.new("RGB", (SIDE, SIDE), rng.choice(PAPERS))
    draw = ImageDraw.Draw(image)
    colour = rng.choice(COLOURS)
    for name, height in table:
        left = LEFT + PITCH * NAMES.index(name)
        top = FLOOR - UNIT * height
        draw.rectangle((left, top, left + WIDTH - 1, FLOOR - 1), fill=colour)
        _draw_initial(draw, left + 2, FLOOR + 2, name[0])
    draw.line((1, FLOOR, SIDE - 2, FLOOR), fill="#444444")
    text = PngInfo()
    text.add_text(TABLE_KEY, json.dumps(table))
    file = io.BytesIO()
    image.save(file, "PNG", pnginfo=text)
    return file.getvalue()


def _draw_initial(draw: ImageDraw.ImageDraw, left: int, top: int, letter: str) -> None:
    for row, line in enumerate(GLYPHS[letter]):
        for column, dot in enumerate(line):
            if dot == "#":
                draw.point((left + column, top + row), fill="#444444")


def read_table(image: bytes) -> Table | None:
    """The table in a chart's PNG text; None for any other image."""
    try:
        with Image.open(io.BytesIO(image)) as opened:
            text = opened.info.get(TABLE_KEY)
    except (UnidentifiedImageError, OSError):
        return None
    if not isinstance(text, str):
        return None
    try:
        return tuple((str(name), int(value)) for name, value in json.loads(text))
    except (ValueError, TypeError):
        return None


# --- reasoning -------------------------------------------------------------------------------


def solve(table: Table, question: str) -> tuple[str, str]:
    """The rationale for a question about `table`, ending in the marker, and the short answer.

    Raises:
        ValueError: the question is none of `TEMPLATES`, or names a bar that is not there.
    """
    kind, slots = _parse(question)
    thought, answer = _think(asked_for(table, question), kind, slots)
    return f"The bars read {listing(table)}. {thought}\n\n{MARKER} {answer}", answer


def asked_for(table: Table, question: str) -> Table:
    """The bars that the answer rests on, in the question's order.

    Raises:
        ValueError: as `solve`.
    """
    kind, slots = _parse(question)
    values = dict(table)
    if kind == "count_above":
        return tuple(pair for pair in table if pair[1] > int(slots["n"]))
    if kind in ("highest", "lowest"):
        return ((max if kind == "highest" else min)(table, key=lambda pair: pair[1]),)
    names = [slots[key] for key in ("a", "b") if key in slots]
    for name in names:
        if name not in values:
            raise ValueError(f"no bar {name!r} in the chart; it has {', '.join(values)}")
    return tuple((name, values[name]) for name in names)


def listing(table: Table) -> str:
    """`jan 3, feb 5`."""
    return ", ".join(f"{name} {value}" for name, value in table)


def _parse(question: str) -> tuple[Kind, dict[str, str]]:
    for kind, templates in TEMPLATES.items():
        for template in templates:
            pattern = re.sub(r"\\{([abn])\\}", r"(?P<\1>\\w+)", re.escape(template))
            if match := re.fullmatch(pattern, question.strip()):
                return kind, match.groupdict()
    raise ValueError(f"not a question about bars: {question!r}; see TEMPLATES in {__name__}")


def _think(asked: Table, kind: Kind, slots: dict[str, str]) -> tuple[str, str]:
    """What follows the reading of all bars: restate those asked for, then compute."""
    if kind == "count_above":
        found = f"Above {slots['n']}: {listing(asked) or 'none'}."
        return f"{found} That makes {len(asked)}.", str(len(asked))
    (name, first), *rest = asked
    if kind in ("highest", "lowest"):
        return f"The {kind} is {first} at {name}.", name
    if kind == "value":
        return f"Asked for is {name} {first}.", str(first)
    other, second = rest[0]
    restated = f"Asked for are {name} {first} and {other} {second}."
    if kind == "sum":
        return f"{restated} {first} plus {second} is {first + second}.", str(first + second)
    large, small = max(first, second), min(first, second)
    return f"{restated} {large} minus {small} is {large - small}.", str(large - small)
