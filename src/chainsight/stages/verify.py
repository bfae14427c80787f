"""benchmarks, policy, aligned -> verified: many answers, judged by log(aligned / policy).

Of each question the greedy answer (index -1) and `num_candidates` samples, with random numbers as
in stage `sample`; each has the metric's score and a reward per token. The model that draws scores
what it said, then the other does: one of them is in memory at a time.
Blocks of `batch_size` questions are kept in the work folder, so a killed run goes on.
"""

import gc
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from chainsight import answers, records, stored
from chainsight.analysis import curves
from chainsight.analysis.voting import Method, Scale
from chainsight.config import VerifySection
from chainsight.context import Context, Task
from chainsight.errors import RecordError
from chainsight.metrics import judging
from chainsight.records import Example, Verified
from chainsight.scoring import status_rates
from chainsight.vlm import blocks, checkpoint, engines, likelihood, prefix
from chainsight.vlm.blocks import Block
from chainsight.vlm.pieces import pieces
from chainsight.vlm.sampling import Drawing, Generated
from chainsight.vlm.template import Row, student

GREEDY = -1
"""Index of the greedy answer."""


@dataclass(frozen=True)
class Drawn:
    """An answer that the other model has not seen yet."""

    example_id: str
    index: int
    text: str
    truncated: bool
    tokens: tuple[int, ...]
    logps: tuple[float, ...]
    """Of each token, in nats, under the model that drew it; empty until it is scored."""


def run(
    config: VerifySection,
    *,
    benchmarks: Path,
    policy: Path,
    aligned: Path,
    verified: Path,
    context: Context,
) -> dict[str, float]:
    """Draw and judge; writes `verified.parquet`, question by question.

    Raises:
        RecordError: no benchmark question.
        CheckpointError: a model is refused.
    """
    questions = select(stored.examples(benchmarks / "benchmarks.parquet"), config.limit)
    by_aligned = config.drawn_by == "aligned"
    author, other = (aligned, policy) if by_aligned else (policy, aligned)
    drawn = draw(questions, config, author, context)
    judged = judge(drawn, questions, config, other, context)
    made = [row for block in judged for row in records.read(block.path, Verified)]
    records.write(verified / "verified.parquet", made, Verified)
    return summary(made, questions, config)


def select(examples: Iterator[Example], limit: int | None) -> list[Example]:
    """The questions that can be scored, or `limit` of them at equal distances, in order.

    Raises:
        RecordError: there are none.
    """
    every = [example for example in examples if example.kind != "instruct"]
    if not every:
        raise RecordError("verify: no benchmark question to answer; see prepare.benchmarks")
    count = min(limit or len(every), len(every))
    return [every[k * len(every) // count] for k in range(count)]


def draw(
    questions: Sequence[Example], config: VerifySection, author: Path, context: Context
) -> list[Block]:
    """The blocks of what a model says and how likely it finds that: `Drawn`, greedy first; those
    found are not made again."""
    size = config.batch_size
    greedy = blocks.cut(questions, size, context.work / "greedy", context.shard)
    drawn = blocks.cut(questions, size, context.work / "drawn", context.shard)
    with _task("draw", (greedy, 1), (drawn, config.num_candidates), context=context) as task:
        if _todo(drawn):
            loaded = _load(author, context)
            _draw_all(loaded, greedy, drawn, config, context, task)
            del loaded
            gc.collect()  # two 8B models do not fit beside each other
    return drawn


def _draw_all(
    loaded: checkpoint.Loaded,
    greedy: Sequence[Block],
    drawn: Sequence[Block],
    config: VerifySection,
    context: Context,
    task: Task,
) -> None:
    style, template = context.model.prompt_style, loaded.template
    best = engines.Transformers(loaded, Drawing(config.max_new_tokens), config.batch_size)
    blocks.fill(best, template, style, _todo(greedy), Drawn, _unscored, task)
    first = {one.example_id: one for block in greedy for one in records.read(block.path, Drawn)}

    def scored(example: Example, row: Row, generated: Sequence[Generated]) -> list[Drawn]:
        found = [first[example.id], *_unscored(example, row, generated, start=0)]
        return _with_logps(loaded, row, found)

    how = Drawing(
        config.max_new_tokens,
        config.temperature,
        config.top_p,
        config.num_candidates,
        context.seed,
    )
    dtype, size = context.model.dtype, config.batch_size
    engine = engines.make(
        config.engine, loaded, how, in_flight=size, dtype=dtype, work=context.work
    )
    blocks.fill(engine, template, style, _todo(drawn), Drawn, scored, task)


def _unscored(
    example: Example, row: Row, generated: Sequence[Generated], start: int = GREEDY
) -> list[Drawn]:
    del row
    return [
        Drawn(example.id, index, one.text, one.truncated, one.tokens, ())
        for index, one in enumerate(generated, start)
    ]


def _with_logps(loaded: checkpoint.Loaded, row: Row, found: Sequence[Drawn]) -> list[Drawn]:
    logps = likelihood.token_logprobs(loaded, row, [one.tokens for one in found])
    return [
        Drawn(**(vars(one) | {"logps": tuple(own.tolist())}))
        for one, own in zip(found, logps, strict=True)
    ]


def judge(
    drawn: Sequence[Block],
    questions: Sequence[Example],
    config: VerifySection,
    other: Path,
    context: Context,
) -> list[Block]:
    """The blocks of what both models think of it: `Verified`; those found are not made again."""
    judged = blocks.cut(questions, config.batch_size, context.work / "judged", context.shard)
    with _task("judge", (judged, config.num_candidates + 1), context=context) as task:
        if _todo(judged):
            loaded = _load(other, context)
            for source, target in zip(drawn, judged, strict=True):
                if not target.done:
                    _judge_block(loaded, source, target, config, context, task)
            del loaded
            gc.collect()
    return judged


def _judge_block(
    loaded: checkpoint.Loaded,
    source: Block,
    target: Block,
    config: VerifySection,
    context: Context,
    task: Task,
) -> None:
    rows = groupby(records.read(source.path, Drawn), key=lambda one: one.example_id)
    made: list[Verified] = []
    for example, (_, said) in zip(source.questions, rows, strict=True):
        mine = list(said)
        row = loaded.template.row(student(example, "cot", context.model.prompt_style))
        theirs = _with_logps(loaded, row, mine)
        for one, other in zip(mine, theirs, strict=True):
            both = (one, other) if config.drawn_by == "aligned" else (other, one)
            made.append(_verified(loaded, example, *both))
        task.advance(len(mine))
    blocks.keep(target, made, Verified)


def _verified(
    loaded: checkpoint.Loaded, example: Example, aligned: Drawn, policy: Drawn
) -> Verified:
    """An answer as both models see it."""
    answer = answers.extract(aligned.text, truncated=aligned.truncated)
    return Verified(
        example_id=example.id,
        index=aligned.index,
        text=aligned.text,
        answer=answer.value,
        status=answer.status,
        score=judging.score(example, answer.value),
        num_tokens=len(aligned.tokens),
        logprob_aligned=math.fsum(aligned.logps),
        logprob_policy=math.fsum(policy.logps),
        pieces=pieces(loaded, aligned.tokens),
        rewards=tuple(a - p for a, p in zip(aligned.logps, policy.logps, strict=True)),
        vote=judging.vote(example, answer.value),
        logprobs=aligned.logps,
    )


def _todo(every: Sequence[Block]) -> list[Block]:
    return [block for block in every if not block.done]


def _task(
    title: str, *work: tuple[Sequence[Block], int], context: Context
) -> AbstractContextManager[Task]:
    """Progress over blocks with so many answers a question."""
    total = sum(len(block.questions) * each for own, each in work for block in own)
    done = sum(len(block.questions) * each for own, each in work for block in own if block.done)
    return context.progress.task(title, total, "answers", done=done)


def _load(folder: Path, context: Context) -> checkpoint.Loaded:
    model = context.model
    attention = prefix.implementation(model.attention)
    return checkpoint.load(folder, dtype=model.dtype, attention=attention, fetch=context.fetch)


SHOWN: tuple[Method, ...] = ("greedy", "single", "majority", "weighted", "best")
"""Methods whose accuracy with all samples is a metric of the stage."""


def summary(
    made: Sequence[Verified], questions: Sequence[Example], config: VerifySection
) -> dict[str, float]:
    """Counts, how answers were found, and what comes of choosing among all samples."""
    datasets = {question.id: question.dataset for question in questions}
    ns = (config.num_candidates,)
    found = curves.curves(curves.grouped(made), SHOWN, Scale(config.beta, config.max_words), ns)
    return {
        "num_questions": len(questions),
        "num_answers": len(made),
        "num_tokens": sum(one.num_tokens for one in made),
        **curves.flat(found),
        **status_rates((datasets[one.example_id], one.status) for one in made),
    }
