"""examples, policy -> candidates: many chains of thought per question, each scored.

Every candidate has its own random numbers, a function of (seed, question, candidate) alone; with
vLLM, seeds. Blocks of `batch_size` questions are kept in the work folder, so a killed run goes on
where it stopped. Log-probabilities come from the training's pass: P + all tokens of a question.

Source `published`: the two chains that an example brings along (`meta["chosen"]`, `["rejected"]`)
are its candidates, judged alike; no model is loaded.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from chainsight import answers, records, stored
from chainsight.config import SampleSection
from chainsight.context import Context, Task
from chainsight.errors import ChainsightError
from chainsight.metrics import judging
from chainsight.records import Candidate, Example
from chainsight.scoring import status_rates
from chainsight.vlm import blocks, checkpoint, engines, likelihood, prefix
from chainsight.vlm.blocks import Block
from chainsight.vlm.sampling import Drawing, Generated
from chainsight.vlm.template import Row


def run(
    config: SampleSection, *, examples: Path, policy: Path, candidates: Path, context: Context
) -> dict[str, float]:
    """Sample and score; writes `candidates.parquet`.

    Raises:
        ChainsightError: no example of the wanted datasets, or none with a published pair.
        CheckpointError: the policy is refused.
    """
    questions = select(stored.examples(examples / "examples.parquet"), config)
    counts: dict[str, float] = {}
    if config.source == "published":
        made = [candidate for question in questions for candidate in published(question)]
        counts = {"num_chosen_wrong": sum(not c.score for c in made if c.index == CHOSEN)}
        counts["num_rejected_right"] = sum(bool(c.score) for c in made if c.index == REJECTED)
    else:
        drawn = make_blocks(questions, config, policy, context)
        made = [row for block in drawn for row in records.read(block.path, Candidate)]
    records.write(candidates / "candidates.parquet", made, Candidate)
    return summary(made, questions) | counts


def run_shard(config: SampleSection, *, examples: Path, policy: Path, context: Context) -> None:
    """Make this shard's blocks and leave them in the work folder. Raises as `run`."""
    if config.source == "published":
        return
    questions = select(stored.examples(examples / "examples.parquet"), config)
    make_blocks(questions, config, policy, context)


CHOSEN, REJECTED = 0, 1
"""Indices of the candidates of a published pair."""


def published(example: Example) -> list[Candidate]:
    """The two chains of a published pair, judged; their tokens were never counted."""
    chains = (example.meta["chosen"], example.meta["rejected"])
    return [
        score(example, index, Generated(text, tokens=(), truncated=False), logprob=0.0)
        for index, text in enumerate(chains)
    ]


def select(examples: Iterator[Example], config: SampleSection) -> list[Example]:
    """The questions to sample for, in order.

    Raises:
        ChainsightError: there are none.
    """
    seen: set[str] = set()

    def wanted(example: Example) -> bool:
        if example.kind == "instruct":
            return False
        if config.source == "published" and not {"chosen", "rejected"} <= example.meta.keys():
            return False
        seen.add(example.dataset)
        return config.datasets is None or example.dataset in config.datasets

    chosen = spread(list(filter(wanted, examples)), config.limit)
    if not chosen and config.source == "published" and not seen:
        raise ChainsightError(
            "sample.source is published, but no example brings a chosen and a rejected chain; "
            "prepare dataset sharegpt4o_dpo, or sample from the policy"
        )
    if not chosen:
        raise ChainsightError(
            f"sample: no example of {list(config.datasets or ())}; sample.datasets may name "
            f"{sorted(seen)}"
        )
    return chosen


def spread(questions: Sequence[Example], limit: int | None) -> list[Example]:
    """At most `limit` questions, as many of each dataset as there are, from its start; in order."""
    before: Counter[str] = Counter()
    turns: list[tuple[int, int]] = []
    for number, question in enumerate(questions):
        turns.append((before[question.dataset], number))
        before[question.dataset] += 1
    return [questions[number] for number in sorted(number for _, number in sorted(turns)[:limit])]


def make_blocks(
    questions: Sequence[Example], config: SampleSection, policy: Path, context: Context
) -> list[Block]:
    """This shard's blocks, in order, with their files made; those found are not made again."""
    every = blocks.cut(questions, config.batch_size, context.work / "candidates", context.shard)
    todo = [block for block in every if not block.done]
    total = sum(len(block.questions) for block in every) * config.num_candidates
    done = total - sum(len(block.questions) for block in todo) * config.num_candidates
    with context.progress.task("sample", total, "candidates", done=done) as task:
        if todo:
            model = context.model
            attention = prefix.implementation(model.attention)
            loaded = checkpoint.load(
                policy, dtype=model.dtype, attention=attention, fetch=context.fetch
            )
            fill(loaded, todo, config, context, task)
    return every


def fill(
    loaded: checkpoint.Loaded,
    todo: Sequence[Block],
    config: SampleSection,
    context: Context,
    task: Task,
) -> None:
    """Sample and score the candidates of the blocks."""
    how = Drawing(
        config.max_new_tokens,
        config.temperature,
        config.top_p,
        config.num_candidates,
        context.seed,
    )
    engine = engines.make(
        config.engine,
        loaded,
        how,
        in_flight=config.batch_size,
        dtype=context.model.dtype,
        work=context.work,
    )
    style = context.model.prompt_style
    judge = partial(judged, loaded)
    blocks.fill(engine, loaded.template, style, todo, Candidate, judge, task)


def judged(
    loaded: checkpoint.Loaded, example: Example, row: Row, generated: Sequence[Generated]
) -> list[Candidate]:
    """A question's candidates, with their log-probabilities under the policy that drew them."""
    sums = likelihood.logprobs(loaded, row, [one.tokens for one in generated])
    return [
        score(example, index, one, logprob)
        for index, (one, logprob) in enumerate(zip(generated, sums, strict=True))
    ]


def score(example: Example, index: int, generated: Generated, logprob: float) -> Candidate:
    """Extract the answer and judge it by the dataset's reward."""
    found = answers.extract(generated.text, truncated=generated.truncated)
    return Candidate(
        example_id=example.id,
        index=index,
        text=generated.text,
        answer=found.value,
        status=found.status,
        score=float(judging.is_correct(example, found.value)),
        num_tokens=generated.num_tokens,
        logprob=logprob,
    )


def summary(made: Sequence[Candidate], questions: Sequence[Example]) -> dict[str, float]:
    """Counts and means, and how answers were found."""
    datasets = {question.id: question.dataset for question in questions}
    right: dict[str, float] = {}
    for candidate in made:
        right[candidate.example_id] = max(right.get(candidate.example_id, 0.0), candidate.score)
    return {
        "num_questions": len(questions),
        "num_candidates": len(made),
        "accuracy": sum(c.score for c in made) / len(made),
        "best_of_n_accuracy": sum(right.values()) / len(questions),
        "num_tokens": sum(c.num_tokens for c in made),
        **status_rates((datasets[c.example_id], c.status) for c in made),
    }
