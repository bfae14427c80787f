"""candidates -> rationales: of each question one right chain of the policy's own.

What STaR and rejection fine-tuning learn from (arXiv 2410.16198, appendix on both). Nobody is
asked and nothing is paid: `teacher` is `policy`. A chain counts as the teacher's would: it reasons,
and ends in the marker with the right answer. What is left out stays in `candidates`.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from chainsight import answers, records, sampled
from chainsight.config import AdoptSection
from chainsight.context import Context
from chainsight.errors import ChainsightError
from chainsight.metrics import is_right
from chainsight.quality import texts
from chainsight.records import Candidate, Rationale

TEACHER = "policy"


def run(
    config: AdoptSection, *, candidates: Path, rationales: Path, context: Context
) -> dict[str, float]:
    """Choose a chain of each question that has a right one; writes `rationales.parquet`.

    Raises:
        ChainsightError: no question has one.
        RecordError: the candidates of a question do not stand together.
    """
    asked: Counter[str] = Counter()
    adopted: Counter[str] = Counter()
    num_words = 0

    def found() -> Iterator[Rationale]:
        nonlocal num_words
        rows = records.read(candidates / "candidates.parquet", Candidate)
        for question in sampled.questions(rows):
            dataset = question[0].example_id.partition("/")[0]
            asked[dataset] += 1
            if row := adopt(question, config, context.seed):
                adopted[dataset] += 1
                num_words += row.num_words
                yield row

    count = records.write(rationales / "rationales.parquet", found(), Rationale)
    if not count:
        raise ChainsightError(
            f"adopt: none of {asked.total()} questions has a right chain that ends in the marker; "
            "raise sample.num_candidates, lower adopt.min_accuracy, or train sft longer"
        )
    return _metrics(asked, adopted) | {"mean_words": num_words / count}


def _metrics(asked: Counter[str], adopted: Counter[str]) -> dict[str, float]:
    """Questions asked and adopted; `chartqa/num_adopted` where there are several datasets."""
    total = {"num_questions": float(asked.total()), "num_adopted": float(adopted.total())}
    if len(asked) > 1:
        total |= {f"{name}/num_questions": float(asked[name]) for name in sorted(asked)}
        total |= {f"{name}/num_adopted": float(adopted[name]) for name in sorted(asked)}
    return total


def adopt(question: Sequence[Candidate], config: AdoptSection, seed: int) -> Rationale | None:
    """The chain of one question that is learned, if there is one. Pure.

    The accuracy counts every candidate, as that of `pair` does.
    """
    num_right = sum(is_right(candidate.score) for candidate in question)
    accuracy = num_right / len(question)
    right = sampled.chains([one for one in question if _is_rationale(one)])
    if not right or not config.min_accuracy <= accuracy <= config.max_accuracy:
        return None
    index, _ = sampled.chance(seed, question[0].example_id).choice(list(right.values()))
    chosen = next(candidate for candidate in question if candidate.index == index)
    thought, _ = answers.parts(chosen.text)
    return Rationale(
        example_id=chosen.example_id,
        text=chosen.text,
        answer=chosen.answer,
        status=chosen.status,
        teacher=TEACHER,
        prompt_tokens=0,
        completion_tokens=chosen.num_tokens,
        cost_usd=0.0,
        num_samples=len(question),
        num_right=num_right,
        num_words=texts.num_words(thought),
        repetition=texts.repetition(thought),
    )


def _is_rationale(candidate: Candidate) -> bool:
    """Right, and with reasoning before an answer of one line, as what is kept of a teacher's."""
    thought, conclusion = answers.parts(candidate.text)
    whole = candidate.status == "marker" and thought and len(conclusion.splitlines()) == 1
    return bool(whole) and is_right(candidate.score)
