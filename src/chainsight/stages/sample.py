"""examples, policy -> candidates: many chains of thought per question, each scored.

Every candidate has its own random numbers, a function of (seed, question, candidate) alone.
Finished batches are kept in the work folder, so a killed run goes on where it stopped.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from chainsight import answers, records
from chainsight.config import SampleSection
from chainsight.context import Context
from chainsight.errors import ChainsightError
from chainsight.metrics import METRICS
from chainsight.records import Candidate, Example
from chainsight.vlm import checkpoint
from chainsight.vlm.sampling import Generated, generate
from chainsight.vlm.template import student


def run(
    config: SampleSection, *, examples: Path, policy: Path, candidates: Path, context: Context
) -> dict[str, float]:
    """Sample and score; writes `candidates.parquet`.

    Raises:
        ChainsightError: no example of the wanted datasets.
        CheckpointError: the policy is refused.
    """
    questions = select(records.read(examples / "examples.parquet", Example), config)
    loaded = checkpoint.load(policy, dtype=context.model.dtype, attention=context.model.attention)
    parts = context.work / "candidates"
    parts.mkdir(parents=True, exist_ok=True)
    made: list[Candidate] = []
    with context.progress.task("sample", len(questions), "questions") as task:
        for start in range(0, len(questions), config.batch_size):
            batch = questions[start : start + config.batch_size]
            made += sample_batch(
                loaded, batch, config, context.seed, parts / f"{start:09d}.parquet"
            )
            task.advance(len(batch))
    records.write(candidates / "candidates.parquet", made, Candidate)
    return summary(made, len(questions))


def select(examples: Iterator[Example], config: SampleSection) -> list[Example]:
    """The questions to sample for, in order.

    Raises:
        ChainsightError: there are none.
    """
    seen: set[str] = set()

    def wanted(example: Example) -> bool:
        seen.add(example.dataset)
        return config.datasets is None or example.dataset in config.datasets

    chosen = list(islice(filter(wanted, examples), config.limit))
    if not chosen:
        raise ChainsightError(
            f"sample: no example of {list(config.datasets or ())}; sample.datasets may name "
            f"{sorted(seen)}"
        )
    return chosen


def sample_batch(
    loaded: checkpoint.Loaded,
    batch: Sequence[Example],
    config: SampleSection,
    seed: int,
    kept: Path,
) -> list[Candidate]:
    """The candidates of one batch, read from `kept` if they were made before."""
    if kept.exists():
        return list(records.read(kept, Candidate))
    answered = generate(
        loaded,
        [student(example, "cot") for example in batch],
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
        top_p=config.top_p,
        num_candidates=config.num_candidates,
        seed=seed,
    )
    made = [
        score(example, index, generated)
        for example, row in zip(batch, answered, strict=True)
        for index, generated in enumerate(row)
    ]
    unfinished = kept.with_suffix(".part")
    records.write(unfinished, made, Candidate)
    unfinished.rename(kept)
    return made


def score(example: Example, index: int, generated: Generated) -> Candidate:
    """Extract the answer and judge it by the dataset's metric."""
    found = answers.extract(generated.text, truncated=generated.truncated)
    value = METRICS[example.metric].score(found.value, example.references, choices=example.choices)
    return Candidate(
        example_id=example.id,
        index=index,
        text=generated.text,
        answer=found.value,
        status=found.status,
        score=value,
        num_tokens=generated.num_tokens,
        logprob=generated.logprob,
    )


def summary(made: Sequence[Candidate], num_questions: int) -> dict[str, float]:
    """Counts and means."""
    right: dict[str, float] = {}
    for candidate in made:
        right[candidate.example_id] = max(right.get(candidate.example_id, 0.0), candidate.score)
    statuses = sorted({candidate.status for candidate in made})
    rates = {f"{s}_rate": sum(c.status == s for c in made) / len(made) for s in statuses}
    return {
        "num_questions": num_questions,
        "num_candidates": len(made),
        "accuracy": sum(c.score for c in made) / len(made),
        "best_of_n_accuracy": sum(right.values()) / num_questions,
        "num_tokens": sum(c.num_tokens for c in made),
        **rates,
    }
