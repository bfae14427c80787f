"""Makes the demo's base model: `python -m chainsight.demo.pretrain OUT`.

First the language model alone learns listings, look-ups and sums as text; then the whole model
learns to list a chart's bars and to answer at once. It never meets the reasoning prompt nor
the answer marker: those are what the demo's SFT teaches.

One sequence holds a prefix (picture or listing) and several branches (question and answer)
that see the prefix and themselves, so a picture is encoded once for all its questions.
Tensors: B sequences, T tokens, V vocabulary, D width.
"""

import argparse
import hashlib
import io
import itertools
import math
import random
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import LlavaNextProcessor

from chainsight.demo import bars, tiny
from chainsight.prompts import SUFFIXES

DIRECT = SUFFIXES["direct", False]
TEXT_STEPS, PICTURE_STEPS, NUM_PICTURES = 600, 1000, 8000
BATCH, LEARNING_RATE, WARMUP = 32, 1e-3, 40
IGNORED = -100

Turn = tuple[str, str]
"""A question and its answer."""


@dataclass(frozen=True)
class Lesson:
    """What stands before the branches (a listing, or the index of a picture) and the branches."""

    listing: str
    picture: int
    turns: tuple[Turn, ...]


# --- what is taught ---------------------------------------------------------------------------


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


def picture_lessons(seed: int, tables: list[bars.Table]) -> Iterator[Lesson]:
    rng = random.Random(seed)
    while True:
        for index in rng.sample(range(len(tables)), len(tables)):
            table = tables[index]
            turns = (
                list_turn(table),
                named_turn(table, rng),
                select_turn(table, rng),
                direct_turn(table, rng),
            )
            yield Lesson("", index, turns)


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


# --- batches ----------------------------------------------------------------------------------


@dataclass
class Batch:
    """ids, labels, positions, segments: B x T; pixels: B x 5 x 3 x 32 x 32 or None."""

    ids: Tensor
    labels: Tensor
    positions: Tensor
    segments: Tensor
    pixels: Tensor | None


class Packer:
    """Lessons to batches."""

    def __init__(self, processor: LlavaNextProcessor, pixels: Tensor) -> None:
        self.tokenizer: Any = processor.tokenizer
        self.pixels = pixels
        side = bars.SIDE // tiny.PATCH
        self.picture = tiny.IMAGE * ((tiny.TILE // tiny.PATCH) ** 2 + side * (side + 1))

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        return ids

    def _row(self, lesson: Lesson) -> tuple[list[int], list[int], list[int], list[int]]:
        header = f"{tiny.BOS}{tiny.START}user{tiny.END}\n\n"
        ids = self._encode(f"{header}{lesson.listing or self.picture}\n")
        start = len(ids)
        labels, positions, segments = [IGNORED] * start, list(range(start)), [0] * start
        for number, (question, answer) in enumerate(lesson.turns, start=1):
            asked = self._encode(f"{question}{tiny.EOT}{tiny.START}assistant{tiny.END}\n\n")
            target = self._encode(f"{answer}{tiny.EOT}")
            ids += asked + target
            labels += [IGNORED] * len(asked) + target
            length = len(asked) + len(target)
            positions += range(start, start + length)
            segments += [number] * length
        return ids, labels, positions, segments

    def __call__(self, lessons: Iterable[Lesson]) -> Batch:
        lessons = list(lessons)
        columns = zip(*(self._row(lesson) for lesson in lessons), strict=True)
        fills = (self.tokenizer.pad_token_id, IGNORED, 0, -1)
        ids, labels, positions, segments = (
            torch.nn.utils.rnn.pad_sequence(
                [torch.tensor(row) for row in column], batch_first=True, padding_value=fill
            )
            for column, fill in zip(columns, fills, strict=True)
        )
        indices = [lesson.picture for lesson in lessons if lesson.picture >= 0]
        return Batch(ids, labels, positions, segments, self.pixels[indices] if indices else None)


def branch_mask(segments: Tensor) -> Tensor:
    """B x T segment numbers -> B x 1 x T x T: each token sees the prefix (0) and its own branch."""
    same = segments[:, :, None] == segments[:, None, :]
    prefix = (segments == 0)[:, None, :] & (segments >= 0)[:, :, None]
    return ((same | prefix).tril())[:, None]


def answer_logits(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits (N x V) and targets (N) at the N answer tokens of the batch."""
    embeddings = model.get_input_embeddings()(batch.ids)
    if batch.pixels is not None:
        sizes = torch.tensor([[bars.SIDE, bars.SIDE]] * len(batch.pixels))
        seen = torch.cat(list(model.get_image_features(batch.pixels, sizes).pooler_output))
        slots = (batch.ids == model.config.image_token_index)[..., None]
        embeddings = embeddings.masked_scatter(slots, seen)
    hidden = model.model.language_model(
        inputs_embeds=embeddings,
        attention_mask=branch_mask(batch.segments),
        position_ids=batch.positions,
        use_cache=False,
    ).last_hidden_state
    targets = batch.labels[:, 1:]
    kept = targets != IGNORED
    return model.lm_head(hidden[:, :-1][kept]), targets[kept]


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - this is a script


# --- training ---------------------------------------------------------------------------------


def train(model: Any, pack: Packer, lessons: Iterator[Lesson], steps: int, title: str) -> None:
    """AdamW with a cosine from LEARNING_RATE to a fiftieth of it."""
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01, betas=(0.9, 0.98))
    started = time.monotonic()
    for step in range(steps):
        cosine = 0.51 + 0.49 * math.cos(math.pi * step / steps)
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * min((step + 1) / WARMUP, cosine)
        logits, targets = answer_logits(model, pack(itertools.islice(lessons, BATCH)))
        loss = torch.nn.functional.cross_entropy(logits, targets)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 25 == 24 or step == 0:
            seconds = (time.monotonic() - started) / (step + 1)
            say(f"{title} {step + 1}/{steps} loss {loss:.4f} {seconds:.2f} s/step")


@torch.no_grad()
def exact_rate(model: Any, pack: Packer, lessons: list[Lesson]) -> float:
    """Share of one-branch lessons answered exactly: greedy, as each token tops its prefix."""
    right = 0
    for lesson in lessons:
        logits, targets = answer_logits(model, pack([lesson]))
        right += int(bool((logits.argmax(-1) == targets).all()))
    return right / len(lessons)


def read_pixels(processor: Any, charts: Iterable[bars.Chart]) -> Tensor:
    """N x 5 x 3 x 32 x 32: the tiles of each chart, thumbnail first."""
    images = (Image.open(io.BytesIO(chart.image)) for chart in charts)
    rows = (processor.image_processor(image, return_tensors="pt") for image in images)
    return torch.cat([row["pixel_values"] for row in rows])


def report(model: Any, processor: LlavaNextProcessor, num_charts: int = 150) -> dict[str, float]:
    """Exact rates on held-out charts: listing all bars, naming some, answering at once."""
    held_out = list(itertools.islice(bars.charts(1, "validation"), num_charts))
    rng = random.Random(1)
    lessons: defaultdict[str, list[Lesson]] = defaultdict(list)
    for index, chart in enumerate(held_out):
        lessons["list"].append(Lesson("", index, (list_turn(chart.table),)))
        lessons["named"].append(Lesson("", index, (named_turn(chart.table, rng),)))
        for question in chart.questions:
            lesson = Lesson("", index, ((f"{question.text}\n{DIRECT}", question.answer),))
            lessons["direct"].append(lesson)
            lessons[f"direct {question.kind}"].append(lesson)
    pack = Packer(processor, read_pixels(processor, held_out))
    return {name: exact_rate(model, pack, kept) for name, kept in lessons.items()}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pretrain(out: Path, seed: int, text_steps: int, picture_steps: int) -> None:
    """Train from nothing and write the checkpoint, in bfloat16, to `out`."""
    processor = tiny.build_processor(tiny.build_tokenizer(corpus()))
    model: Any = tiny.build_model(tiny.build_config(processor.tokenizer), seed)
    train(model, Packer(processor, torch.empty(0)), text_lessons(seed), text_steps, "text")
    charts = list(itertools.islice(bars.charts(seed, "pretrain"), NUM_PICTURES))
    pack = Packer(processor, read_pixels(processor, charts))
    tables = [chart.table for chart in charts]
    train(model, pack, picture_lessons(seed, tables), picture_steps, "pictures")
    model.to(torch.bfloat16)
    model.save_pretrained(out)
    processor.save_pretrained(out)
    rates = report(model.float(), processor)
    say("\n".join(f"{name}: {rate:.3f}" for name, rate in rates.items()))
    say(f"sha256: {sha256(out / 'model.safetensors')}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the demo's base model.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--text-steps", type=int, default=TEXT_STEPS)
    parser.add_argument("--picture-steps", type=int, default=PICTURE_STEPS)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    started = time.monotonic()
    pretrain(arguments.out, arguments.seed, arguments.text_steps, arguments.picture_steps)
    say(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
