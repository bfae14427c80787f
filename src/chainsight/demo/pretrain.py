"""Makes the demo's base model: `python -m chainsight.demo.pretrain OUT`.

First the language model alone learns listings, look-ups and sums as text; then the whole model
learns to list a chart's bars and to answer at once; then to find those a question is about,
first as a list, then in sentences. It never meets the reasoning prompt, the answer marker, or a
computation from a picture in steps: those are what the demo's SFT teaches.

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

from chainsight.demo import bars, lessons, tiny
from chainsight.demo.lessons import Lesson

NUM_PICTURES, LEARNING_RATE, WARMUP = 8000, 1e-3, 40
TEXT_STEPS, TEXT_BATCH = 500, 32


@dataclass(frozen=True)
class Phase:
    """A part of the training on pictures, with a learning rate curve of its own."""

    title: str
    turns: lessons.Turns
    steps: int
    batch: int
    num_pictures: int


PHASES = (
    Phase("pictures", lessons.picture_turns, 500, 32, NUM_PICTURES),
    Phase("find", lessons.find_turns, 220, 24, NUM_PICTURES),
    Phase("review", lessons.review_turns, 110, 24, 3000),
    Phase("varied", lessons.varied_turns, 85, 24, 3000),
    Phase("compute", lessons.compute_turns, 75, 24, 3000),
)
"""As run for the committed checkpoint, in five sittings: each began from bfloat16 weights."""

IGNORED = -100

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

    def __call__(self, drawn: Iterable[Lesson]) -> Batch:
        drawn = list(drawn)
        columns = zip(*(self._row(lesson) for lesson in drawn), strict=True)
        fills = (self.tokenizer.pad_token_id, IGNORED, 0, -1)
        ids, labels, positions, segments = (
            torch.nn.utils.rnn.pad_sequence(
                [torch.tensor(row) for row in column], batch_first=True, padding_value=fill
            )
            for column, fill in zip(columns, fills, strict=True)
        )
        indices = [lesson.picture for lesson in drawn if lesson.picture >= 0]
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


def train(
    model: Any, pack: Packer, stream: Iterator[Lesson], title: str, steps: int, batch: int
) -> None:
    """AdamW with a cosine from LEARNING_RATE to a fiftieth of it."""
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01, betas=(0.9, 0.98))
    started = time.monotonic()
    for step in range(steps):
        cosine = 0.51 + 0.49 * math.cos(math.pi * step / steps)
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * min((step + 1) / WARMUP, cosine)
        logits, targets = answer_logits(model, pack(itertools.islice(stream, batch)))
        loss = torch.nn.functional.cross_entropy(logits, targets)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 25 == 24 or step == 0:
            seconds = (time.monotonic() - started) / (step + 1)
            say(f"{title} {step + 1}/{steps} loss {loss:.4f} {seconds:.2f} s/step")


@torch.no_grad()
def exact_rate(model: Any, pack: Packer, drawn: list[Lesson]) -> float:
    """Share of one-branch lessons answered exactly: greedy, as each token tops its prefix."""
    right = 0
    for lesson in drawn:
        logits, targets = answer_logits(model, pack([lesson]))
        right += int(bool((logits.argmax(-1) == targets).all()))
    return right / len(drawn)


def read_pixels(processor: Any, charts: Iterable[bars.Chart]) -> Tensor:
    """N x 5 x 3 x 32 x 32: the tiles of each chart, thumbnail first."""
    images = (Image.open(io.BytesIO(chart.image)) for chart in charts)
    rows = (processor.image_processor(image, return_tensors="pt") for image in images)
    return torch.cat([row["pixel_values"] for row in rows])


def report(model: Any, processor: LlavaNextProcessor, num_charts: int = 150) -> dict[str, float]:
    """Exact rates on held-out charts, by what is asked; only the last phases' turns stay high."""
    held_out = list(itertools.islice(bars.charts(1, "validation"), num_charts))
    rng = random.Random(1)
    asked: defaultdict[str, list[Lesson]] = defaultdict(list)
    for index, chart in enumerate(held_out):
        asked["list"].append(Lesson("", index, (lessons.list_turn(chart.table),)))
        asked["named"].append(Lesson("", index, (lessons.named_turn(chart.table, rng),)))
        asked["review"].append(Lesson("", index, (lessons.review_turn(chart.table, rng),)))
        for question in chart.questions:
            lesson = Lesson("", index, ((f"{question.text}\n{lessons.DIRECT}", question.answer),))
            asked["direct"].append(lesson)
            asked[f"direct {question.kind}"].append(lesson)
    pack = Packer(processor, read_pixels(processor, held_out))
    return {name: exact_rate(model, pack, kept) for name, kept in asked.items()}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pretrain(out: Path, seed: int) -> None:
    """Train from nothing and write the checkpoint, in bfloat16, to `out`."""
    processor = tiny.build_processor(tiny.build_tokenizer(lessons.corpus()))
    model: Any = tiny.build_model(tiny.build_config(processor.tokenizer), seed)
    texts = lessons.text_lessons(seed)
    train(model, Packer(processor, torch.empty(0)), texts, "text", TEXT_STEPS, TEXT_BATCH)
    charts = list(itertools.islice(bars.charts(seed, "pretrain"), NUM_PICTURES))
    pack = Packer(processor, read_pixels(processor, charts))
    for number, phase in enumerate(PHASES):
        tables = [chart.table for chart in charts[: phase.num_pictures]]
        stream = lessons.picture_lessons(seed + number, tables, phase.turns)
        train(model, pack, stream, phase.title, phase.steps, phase.batch)
        model.to(torch.bfloat16).float()  # what a checkpoint between two sittings keeps
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
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    pretrain(arguments.out, arguments.seed)


if __name__ == "__main__":
    main()
