"""examples, policy -> candidates: many chains of thought per question, each scored.

Every candidate has its own random numbers, a function of (seed, question, candidate) alone.
Finished batches are kept in the work folder, so a killed run goes on where it stopped.

Source `published`: the two chains that an example brings along (`meta["chosen"]`, `["rejected"]`)
are its candidates, judged alike; no model is loaded.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from chainsight import answers, records, stored
from chainsight.config import SampleSection
from chainsight.context import Context
from chainsight.errors import ChainsightError
from chainsight.metrics import judging
from chainsight.records import Candidate, Example
from chainsight.scoring import status_rates
from chainsight.vlm import checkpoint
from chainsight.vlm.sampling import Generated, generate
from chainsight.vlm.template import student


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
        blocks = make_blocks(questions, config, policy, context)
        made = [row for block in blocks for row in records.read(block.path, Candidate)]
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
        score(example, index, Generated(text, num_tokens=0, logprob=0.0, truncated=False))
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

    chosen = list(islice(filter(wanted, examples), config.limit))
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


@dataclass(frozen=True)
class Block:
    """Questions that are sampled together, and the file that keeps their candidates."""

    questions: Sequence[Example]
    path: Path


def make_blocks(
    questions: Sequence[Example], config: SampleSection, policy: Path, context: Context
) -> list[Block]:
    """This shard's blocks, in order, with their files made; those found are not made again."""
    folder = context.work / "candidates"
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, len(questions), config.batch_size)
    blocks = [
        Block(questions[start : start + config.batch_size], folder / f"{start:09d}.parquet")
        for number, start in enumerate(starts)
        if context.shard.has(number)
    ]
    todo = [block for block in blocks if not block.path.exists()]
    total = sum(len(block.questions) for block in blocks)
    done = total - sum(len(block.questions) for block in todo)
    with context.progress.task("sample", total, "questions", done=done) as task:
        if todo:
            model = context.model
            loaded = checkpoint.load(
                policy, dtype=model.dtype, attention=model.attention, fetch=context.fetch
            )
            for block in todo:
                sample_block(loaded, block, config, context)
                task.advance(len(block.questions))
    return blocks


def sample_block(
    loaded: checkpoint.Loaded, block: Block, config: SampleSection, context: Context
) -> None:
    """Sample and score the candidates of one block, and keep them."""
    answered = generate(
        loaded,
        [student(example, "cot", context.model.prompt_style) for example in block.questions],
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
        top_p=config.top_p,
        num_candidates=config.num_candidates,
        seed=context.seed,
    )
    made = [
        score(example, index, generated)
        for example, row in zip(block.questions, answered, strict=True)
        for index, generated in enumerate(row)
    ]
    unfinished = block.path.with_suffix(".part")
    records.write(unfinished, made, Candidate)
    unfinished.rename(block.path)


def score(example: Example, index: int, generated: Generated) -> Candidate:
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
        logprob=generated.logprob,
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
