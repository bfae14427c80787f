"""The questions of the benchmark: a chart of 1024 x 1024 pixels each, none like another."""

import io
import json
import random
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

from PIL import Image, ImageDraw

from chainsight import records
from chainsight.demo import bars
from chainsight.prompts import teacher_prompt, teacher_system
from chainsight.records import Example

SIDE = 1024
QUALITY = 85


def prepare(folder: Path, number: int, *, small: bool) -> None:
    """Write `number` questions: `examples.parquet` for us, `questions.jsonl` and files for peers.

    `small`: the demo's charts of 2 kB, for the measurements of memory; peers get none.
    """
    folder.mkdir(parents=True)
    examples = islice(_small() if small else _large(), number)
    records.write(
        folder / "examples.parquet", examples if small else _both(folder, examples), Example
    )


def _both(folder: Path, examples: Iterator[Example]) -> Iterator[Example]:
    (folder / "images").mkdir()
    with (folder / "questions.jsonl").open("w", encoding="utf-8") as file:
        for example in examples:
            path = folder / "images" / f"{example.id.replace('/', '-')}.jpg"
            path.write_bytes(example.images[0])
            row = {
                "id": example.id,
                "system": teacher_system(example),
                "prompt": teacher_prompt(example),
                "image": str(path),
            }
            file.write(json.dumps(row) + "\n")
            yield example


def _large() -> Iterator[Example]:
    """Questions about pictures that GPT-4o counts at 765 tokens; the reference says the answer."""
    for number in count():
        rng = random.Random(number)
        heights = [rng.randint(10, 90) for _ in range(12)]
        yield Example(
            f"large/{number:06d}",
            "bars",
            "train",
            f"What is the height of the tallest of the {len(heights)} bars of chart {number}?",
            (str(max(heights)),),
            "exact_match",
            (_draw(heights, rng),),
        )


def _draw(heights: list[int], rng: random.Random) -> bytes:
    image = Image.new("RGB", (SIDE, SIDE), "white")
    pen = ImageDraw.Draw(image)
    for place, height in enumerate(heights):
        colour = tuple(rng.randint(0, 255) for _ in range(3))
        left = 30 + place * 80
        pen.rectangle((left, SIDE - height * 10, left + 60, SIDE - 20), fill=colour)
        pen.text((left + 20, SIDE - height * 10 - 20), str(height), fill="black")
    for _ in range(400):  # what a scan adds, so that the file is as large as charts are
        x, y = rng.randrange(SIDE), rng.randrange(SIDE)
        pen.line((x, y, x + rng.randint(-40, 40), y + rng.randint(-40, 40)), fill="grey")
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def _small() -> Iterator[Example]:
    """The demo's charts, of which none comes twice, a question each."""
    for number, chart in enumerate(bars.charts(0, "train")):
        question = chart.questions[0]
        yield Example(
            f"small/{number:06d}",
            "bars",
            "train",
            question.text,
            (question.answer,),
            "exact_match",
            (chart.image,),
        )
