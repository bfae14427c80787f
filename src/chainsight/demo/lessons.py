"""What the demo's base model is taught: questions and answers about charts, as text and pictures.

No lesson holds the reasoning prompt, the answer marker, or a computation from a picture in
steps: those are what the demo's SFT teaches.
"""

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from chainsight.demo import bars
from chainsight.prompts import SUFFIXES

DIRECT = SUFFIXES["direct", False]

Turn = tuple[str, str]
"""A question and its answer."""
Turns = Callable[[bars.Table, random.Random], tuple[Turn, ...]]
"""What is asked about one table."""


@dataclass(frozen=True)
class Lesson:
    """What stands before the branches (a listing, or the index of a picture) and the branches."""

    listing: str
    picture: int
    turns: tuple[Turn, ...]


def named_turn(table: bars.Table, rng: random.Random) -> Turn:
    """Binds names in a question to values, in another wording than the reasoning prompt."""
    chosen = rng.sample(table, rng.randint(1, 3))
    names = " and ".join(name for name, _ in chosen)
    return f"Name the values of {names}.", " and ".join(f"{n} {v}" for n, v in chosen)


def direct_turn(table: bars.Table, rng: random.Random) -> Turn:
    question = bars.ask(table, rng.choice(bars.KIND_BAG), rng)
    return f"{question.text}\n{DIRECT}", question.answer


def list_turn(table: bars.Table) -> Turn:
    return "List the bars.", bars.listing(table)


def sum_turn(rng: random.Random) -> Turn:
    """Arithmetic with the numbers in the question itself."""
    low, high = sorted(rng.randint(1, bars.MAX_HEIGHT) for _ in range(2))
    if rng.random() < 0.5:
        return f"How much is {high} minus {low}?", f"{high} minus {low} is {high - low}"
    first, second = rng.sample((low, high), 2)
    return f"How much is {first} plus {second}?", f"{first} plus {second} is {low + high}"


def select_turn(table: bars.Table, rng: random.Random) -> Turn:
    """Names the bars over a threshold, or those at an end."""
    values = dict(table)
    if rng.random() < 0.5:
        threshold = rng.randint(min(values.values()), max(values.values()) - 1)
        above = [pair for pair in table if pair[1] > threshold]
        return f"List the bars over {threshold}.", f"{bars.listing(tuple(above))}: {len(above)}"
    name = rng.choice((max, min))(values, key=lambda key: values[key])
    end = "top" if values[name] == max(values.values()) else "bottom"
    return f"Name the {end} bar.", f"{name} {values[name]}"


def text_lessons(seed: int) -> Iterator[Lesson]:
    rng = random.Random(seed)
    for table in bars.tables(seed, "pretrain"):
        turns = (
            list_turn(table),
            named_turn(table, rng),
            named_turn(table, rng),
            select_turn(table, rng),
            sum_turn(rng),
            sum_turn(rng),
            direct_turn(table, rng),
        )
        yield Lesson(bars.listing(table), -1, turns)


def find_turn(table: bars.Table, rng: random.Random) -> Turn:
    """Lists all bars, then those a question is about."""
    question = bars.ask(table, rng.choice(bars.KIND_BAG), rng).text
    asked = bars.listing(bars.asked_for(table, question))
    return f"{question}\nList the bars, then those it is about.", f"{bars.listing(table)}; {asked}"


def review_turn(table: bars.Table, rng: random.Random) -> Turn:
    """The same in sentences: a rationale's first two, without computation, marker and answer."""
    question = bars.ask(table, rng.choice(bars.KIND_BAG), rng).text
    thought = bars.solve(table, question)[0].split("\n\n")[0]
    sentences = thought.rstrip(".").split(". ")[:2]
    return f"{question}\nName the bars it is about.", ". ".join(sentences) + "."


def picture_turns(table: bars.Table, rng: random.Random) -> tuple[Turn, ...]:
    named, select = named_turn(table, rng), select_turn(table, rng)
    return list_turn(table), named, select, direct_turn(table, rng)


def find_turns(table: bars.Table, rng: random.Random) -> tuple[Turn, ...]:
    found = (find_turn(table, rng), find_turn(table, rng))
    return *found, named_turn(table, rng), sum_turn(rng), direct_turn(table, rng)


def compute_turn(table: bars.Table, rng: random.Random) -> Turn:
    """Copies values out of a sentence and computes; the question gives them, not the picture."""
    (first, high), (second, low) = rng.sample(table, 2)
    wanted = rng.choice(("plus", "minus", "copy"))
    if wanted == "copy":
        return f"Result of {first} {high}?", f"Asked for is {first} {high}. Result: {high}"
    asked = f"Asked for are {first} {high} and {second} {low}."
    if wanted == "minus":
        high, low = max(high, low), min(high, low)
    result = high + low if wanted == "plus" else high - low
    question = f"Result of {wanted} with {asked[len('Asked for are ') : -1]}?"
    gap = rng.choice((" ", "\n\n"))
    return question, f"{asked} {high} {wanted} {low} is {result}.{gap}Result: {result}"


FILLER = (
    "and then with a short text of the values in the chart first as well as they are to be read"
)
"""Words without a meaning for the task."""


def varied_turn(table: bars.Table, rng: random.Random) -> Turn:
    """A review under an instruction of 4 to 16 words.

    Else names are found by their distance from the answer, which another instruction changes.
    """
    question, answer = review_turn(table, rng)
    words = rng.sample(FILLER.split(), rng.randint(0, 11))
    start = rng.choice(("Name the bars it is about", "List the bars and those", "Read the bars it"))
    return f"{question.splitlines()[0]}\n{start} {' '.join(words)}".rstrip() + ".", answer


def review_turns(table: bars.Table, rng: random.Random) -> tuple[Turn, ...]:
    reviews = (review_turn(table, rng), review_turn(table, rng))
    return *reviews, list_turn(table), sum_turn(rng), direct_turn(table, rng)


def varied_turns(table: bars.Table, rng: random.Random) -> tuple[Turn, ...]:
    reviews = (varied_turn(table, rng), varied_turn(table, rng), varied_turn(table, rng))
    return *reviews, list_turn(table), sum_turn(rng), direct_turn(table, rng)


def compute_turns(table: bars.Table, rng: random.Random) -> tuple[Turn, ...]:
    computed = (compute_turn(table, rng), compute_turn(table, rng), compute_turn(table, rng))
    return *computed, varied_turn(table, rng), varied_turn(table, rng), direct_turn(table, rng)


def picture_lessons(seed: int, tables: list[bars.Table], turns: Turns) -> Iterator[Lesson]:
    rng = random.Random(seed)
    while True:
        for index in rng.sample(range(len(tables)), len(tables)):
            yield Lesson("", index, turns(tables[index], rng))


def corpus(num_charts: int = 400) -> Iterator[str]:
    """Text with every word of the demo, reasoning included: words only, nothing is learned."""
    for chart in itertools.islice(bars.charts(0, "pretrain"), num_charts):
        for question in chart.questions:
            yield f"{question.text}\n" + bars.solve(chart.table, question.text)[0]
    for lesson in itertools.islice(text_lessons(0), num_charts):
        yield from (f"{question}\n\n{answer}" for question, answer in lesson.turns)
    yield from SUFFIXES.values()
    yield from (f"{number} {number}" for number in range(100))
    yield from (f"{name}\n {name}" for name in bars.NAMES)
    yield "system\nuser\nassistant"
