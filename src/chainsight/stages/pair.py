"""candidates, rationales -> pairs: a right chain of thought against a wrong one.

The paper's section 4.1: of the questions that the policy answers neither too rarely nor too
often, at most three pairs each, drawn at random.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from chainsight import records, sampled
from chainsight.config import PairSection
from chainsight.context import Context
from chainsight.errors import NoPairsError
from chainsight.metrics import is_right
from chainsight.records import Candidate, Pair, Rationale

TEACHER = -1
"""`chosen_index` of a pair whose chosen chain is the teacher's."""

Place = Literal["all_wrong", "below", "inside", "above", "all_right"]


@dataclass(frozen=True)
class Verdict:
    """What became of one question."""

    accuracy: float
    """Share of right answers among all its candidates."""
    place: Place
    """Where that lies; `inside` the band wins over the two ends."""
    pairs: tuple[Pair, ...]


def run(
    config: PairSection, *, candidates: Path, rationales: Path, pairs: Path, context: Context
) -> dict[str, float]:
    """Pair the candidates of each question.

    Raises:
        NoPairsError: no question gave a pair; the message has the accuracies found.
        RecordError: the candidates of a question do not stand together.
    """
    teacher = _by_example(
        records.read(rationales / "rationales.parquet", Rationale)
        if config.teacher_as_chosen
        else ()
    )
    tally = Tally(config)
    rows = records.read(candidates / "candidates.parquet", Candidate)

    def found() -> Iterator[Pair]:
        for question in sampled.questions(rows):
            rationale = teacher.get(question[0].example_id)
            yield from tally.add(judge(question, config, rationale, context.seed)).pairs

    records.write(pairs / "pairs.parquet", found(), Pair)
    tally.require_pairs()
    return tally.metrics()


def build_pairs(
    candidates: Iterable[Candidate],
    config: PairSection,
    rationales: Iterable[Rationale] = (),
    seed: int = 0,
) -> list[Pair]:
    """Pair the candidates of each question, questions in the order of their first candidate.

    Raises:
        NoPairsError: no question gave a pair; the message has the accuracies found.
    """
    questions: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        questions.setdefault(candidate.example_id, []).append(candidate)
    teacher = _by_example(rationales)
    tally = Tally(config)
    pairs = [
        pair
        for example_id, question in questions.items()
        for pair in tally.add(judge(question, config, teacher.get(example_id), seed)).pairs
    ]
    tally.require_pairs()
    return pairs


def judge(
    question: Sequence[Candidate], config: PairSection, rationale: Rationale | None, seed: int
) -> Verdict:
    """Pair the candidates of one question; with `rationale` where no candidate is right.

    The accuracy counts every candidate: an answer that cannot be read is a wrong one. But both
    sides of a pair must end in the marker, so that DPO teaches reasoning and not the format.
    """
    num_right = sum(is_right(candidate.score) for candidate in question)
    accuracy = num_right / len(question)
    place = _place(accuracy, config)
    pairs: tuple[Pair, ...] = ()
    if config.teacher_as_chosen and not num_right:
        # Below the band by definition: the bound is there for chains that the policy chose.
        pairs = _against_teacher(question, config, rationale, seed) if rationale else ()
    elif place == "inside":
        marked = [candidate for candidate in question if candidate.status == "marker"]
        right = [candidate for candidate in marked if is_right(candidate.score)]
        wrong = [candidate for candidate in marked if not is_right(candidate.score)]
        pairs = _draw(
            sampled.chains(right), sampled.chains(wrong), config, question[0].example_id, seed
        )
    return Verdict(accuracy, place, pairs)


def _against_teacher(
    question: Sequence[Candidate], config: PairSection, rationale: Rationale, seed: int
) -> tuple[Pair, ...]:
    """Marked chains if there are any; else others, as an untrained policy writes no marker."""
    marked = [candidate for candidate in question if candidate.status == "marker"]
    wrong = sampled.chains(marked) or sampled.chains(question)
    return _draw({rationale.text.strip(): (TEACHER, rationale.text)}, wrong, config,
                 rationale.example_id, seed)  # fmt: skip


def _draw(
    right: sampled.Chains, wrong: sampled.Chains, config: PairSection, example_id: str, seed: int
) -> tuple[Pair, ...]:
    """At most `max_pairs` different pairs, by the question's own seed: others do not matter."""
    possible = [(r, w) for r in right for w in wrong if r != w]
    drawn = sampled.chance(seed, example_id).sample(possible, min(config.max_pairs, len(possible)))
    return tuple(
        Pair(
            example_id=example_id,
            chosen=right[r][1],
            rejected=wrong[w][1],
            chosen_index=right[r][0],
            rejected_index=wrong[w][0],
        )
        for r, w in drawn
    )


def _place(accuracy: float, config: PairSection) -> Place:
    if config.min_accuracy <= accuracy <= config.max_accuracy:
        return "inside"
    if accuracy < config.min_accuracy:
        return "below" if accuracy else "all_wrong"
    return "above" if accuracy < 1 else "all_right"


class Tally:
    """Counts over the questions of one run."""

    def __init__(self, config: PairSection) -> None:
        self.config = config
        self.places: Counter[Place] = Counter()
        self.num_pairs = self.num_paired = self.num_teacher_chosen = self.num_unmarked = 0
        self.sum_accuracy = 0.0

    def add(self, verdict: Verdict) -> Verdict:
        """Count `verdict` and hand it back."""
        self.places[verdict.place] += 1
        self.sum_accuracy += verdict.accuracy
        self.num_pairs += len(verdict.pairs)
        self.num_paired += bool(verdict.pairs)
        taught = any(pair.chosen_index == TEACHER for pair in verdict.pairs)
        self.num_teacher_chosen += taught
        self.num_unmarked += verdict.place == "inside" and not verdict.pairs
        return verdict

    def metrics(self) -> dict[str, float]:
        """Questions: in_band + too_hard + too_easy = all; paired + unpaired = all."""
        places, num_questions = self.places, self.places.total()
        counts = {
            "num_questions": num_questions,
            "num_in_band": places["inside"],
            "num_too_hard": places["all_wrong"] + places["below"],
            "num_too_easy": places["above"] + places["all_right"],
            "num_all_wrong": places["all_wrong"],
            "num_all_right": places["all_right"],
            "num_in_band_unpaired": self.num_unmarked,
            "num_paired": self.num_paired,
            "num_unpaired": num_questions - self.num_paired,
            "num_teacher_chosen": self.num_teacher_chosen,
            "num_pairs": self.num_pairs,
        }
        accuracy = self.sum_accuracy / num_questions if num_questions else 0.0
        return {name: float(value) for name, value in counts.items()} | {"mean_accuracy": accuracy}

    def require_pairs(self) -> None:
        """Raise NoPairsError if there is no pair."""
        if self.num_pairs:
            return
        if not self.places:
            raise NoPairsError("no candidates to pair; check sample.limit and sample.datasets")
        config, places = self.config, self.places
        band = f"[{config.min_accuracy:g}, {config.max_accuracy:g}]"
        raise NoPairsError(
            f"no pair from {places.total()} questions. Their accuracies: "
            f"{places['all_wrong']} at 0, {places['below']} below the band {band}, "
            f"{places['inside']} inside it ({self.num_unmarked} of them without a right and a "
            f"wrong chain that end in '### Answer:'), {places['above']} above it, "
            f"{places['all_right']} at 1. {self._way_out()}"
        )

    def _way_out(self) -> str:
        places = self.places
        if places["inside"]:
            return (
                "Train sft longer (sft.epochs, sft.learning_rate) until chains end in the marker."
            )
        if places["above"] + places["all_right"] > places["all_wrong"] + places["below"]:
            return "Raise sample.temperature or pair.max_accuracy, or take harder questions."
        if self.config.teacher_as_chosen:
            return (
                "pair.teacher_as_chosen found no kept rationale for them either: raise "
                "sample.num_candidates, lower pair.min_accuracy or train sft longer (sft.epochs)."
            )
        return (
            "Raise sample.num_candidates, lower pair.min_accuracy, train sft longer (sft.epochs), "
            "or set pair.teacher_as_chosen: true to take the teacher's rationales as chosen."
        )


def _by_example(rationales: Iterable[Rationale]) -> Mapping[str, Rationale]:
    """The kept rationale of each example, the first if there are several."""
    kept: dict[str, Rationale] = {}
    for rationale in rationales:
        if not rationale.reason and rationale.text.strip():
            kept.setdefault(rationale.example_id, rationale)
    return kept
