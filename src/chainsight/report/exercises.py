"""Training questions with all their candidates: which were paired, and why the others were not."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chainsight import stored
from chainsight.metrics import is_right
from chainsight.report.choice import shares, spread
from chainsight.report.pictures import Picture, fitted
from chainsight.report.rows import rows

NUM_EXERCISES = 12
PICTURE_BYTES = 800_000
MAX_LENGTH = 4000
"""Characters of a text that are shown."""
TEACHER = -1
"""`chosen_index` of a pair whose chosen chain is the teacher's."""
OUTCOMES = {
    "paired": "in the band, paired",
    "taught": "no candidate right, paired with the teacher's rationale",
    "unmarked": "in the band, but no right and wrong chain that both end in the marker",
    "hard": "too hard: below the band",
    "easy": "too easy: above the band",
    "unpaired": "sampled, not paired yet",
    "unasked": "not sampled",
}
"""What can become of a question."""


@dataclass(frozen=True)
class Rules:
    """The settings that decide, as far as the stages have run."""

    band: tuple[float, float] | None = None
    """Accuracies between which a question gives pairs, ends included."""
    max_words: int | None = None
    """DPO learns this many words of a chain; 0: all."""


@dataclass(frozen=True)
class Attempt:
    """A text about a training question: a candidate's, or the teacher's."""

    who: str
    text: str
    answer: str
    status: str
    right: bool
    fate: str
    """Whether it was paired, with which, or why not."""
    is_paired: bool = False


@dataclass(frozen=True)
class Exercise:
    """A training question with all that was said to it."""

    example_id: str
    outcome: str
    question: str
    choices: tuple[str, ...]
    references: tuple[str, ...]
    pictures: tuple[Picture, ...]
    teacher: tuple[Attempt, ...]
    candidates: tuple[Attempt, ...]
    num_pairs: int

    @property
    def num_right(self) -> int:
        """Of the candidates."""
        return sum(attempt.right for attempt in self.candidates)


@dataclass(frozen=True)
class Exercises:
    """Those shown, and how many questions there are of each outcome."""

    shown: tuple[Exercise, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    """By outcome."""
    rules: Rules = field(default_factory=Rules)


def judge(rights: Sequence[bool], pairs: Sequence[tuple[int, int]], rules: Rules) -> str:
    """The outcome of a sampled question; `pairs` are (chosen, rejected) candidates."""
    if pairs:
        return "taught" if any(chosen == TEACHER for chosen, _ in pairs) else "paired"
    if rules.band is None:
        return "unpaired"
    accuracy = sum(rights) / len(rights)
    if accuracy < rules.band[0]:
        return "hard"
    return "easy" if accuracy > rules.band[1] else "unmarked"


def verdicts(folders: Mapping[str, Path]) -> dict[str, list[bool]]:
    """Of each sampled question which candidates are right."""
    found: dict[str, list[bool]] = {}
    for row in rows(folders, "candidates", ("example_id", "score")):
        found.setdefault(row["example_id"], []).append(is_right(row["score"]))
    return found


def choose_exercises(
    folders: Mapping[str, Path], rights: Mapping[str, Sequence[bool]], rules: Rules
) -> Exercises:
    """Some of each outcome, from all over; `rights` are the `verdicts`."""
    if "examples" not in folders:
        return Exercises()
    pairs: dict[str, list[tuple[int, int]]] = {}
    names = ("example_id", "chosen_index", "rejected_index")
    for row in rows(folders, "pairs", names):
        own = pairs.setdefault(row["example_id"], [])
        own.append((row["chosen_index"], row["rejected_index"]))
    outcomes = {key: judge(own, pairs.get(key, ()), rules) for key, own in rights.items()}
    if not outcomes:
        asked = rows(folders, "rationales", ("example_id",))
        outcomes = {row["example_id"]: "unasked" for row in asked}
    groups: dict[str, list[str]] = {name: [] for name in OUTCOMES}
    for key, outcome in outcomes.items():
        groups[outcome].append(key)
    counts = {outcome: len(keys) for outcome, keys in groups.items() if keys}
    wanted = shares(counts, NUM_EXERCISES)
    chosen = {key: name for name in counts for key in spread(groups[name], wanted[name])}
    return Exercises(tuple(_exercises(folders, chosen, pairs)), counts, rules)


def _exercises(
    folders: Mapping[str, Path],
    chosen: Mapping[str, str],
    pairs: Mapping[str, Sequence[tuple[int, int]]],
) -> list[Exercise]:
    teacher, candidates = _teacher(folders, chosen), _candidates(folders, chosen)
    source = stored.examples(folders["examples"] / "examples.parquet")
    examples = {example.id: example for example in source if example.id in chosen}
    images = {(key, n): file for key, e in examples.items() for n, file in enumerate(e.images)}
    pictures = fitted(images, PICTURE_BYTES)
    return [
        Exercise(
            example_id=key,
            outcome=outcome,
            question=examples[key].question,
            choices=examples[key].choices or (),
            references=examples[key].references,
            pictures=tuple(one for place, one in pictures.items() if place[0] == key),
            teacher=tuple(teacher.get(key, ())),
            candidates=tuple(_attempts(candidates.get(key, ()), outcome, pairs.get(key, ()))),
            num_pairs=len(pairs.get(key, ())),
        )
        for key, outcome in chosen.items()
        if key in examples
    ]


def _teacher(folders: Mapping[str, Path], chosen: Collection[str]) -> dict[str, list[Attempt]]:
    names = ("example_id", "text", "answer", "status", "reason")
    found: dict[str, list[Attempt]] = {}
    for name in ("rationales", "rejected"):
        for row in rows(folders, "rationales", names, name, chosen):
            reason = row["reason"].replace("_", " ")
            fate = f"set aside: {reason}" if reason else "kept"
            attempt = Attempt(
                "teacher", row["text"], row["answer"], row["status"], not reason, fate
            )
            found.setdefault(row["example_id"], []).append(attempt)
    return found


def _candidates(
    folders: Mapping[str, Path], chosen: Collection[str]
) -> dict[str, list[dict[str, Any]]]:
    names = ("example_id", "index", "text", "answer", "status", "score")
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows(folders, "candidates", names, wanted=chosen):
        found.setdefault(row["example_id"], []).append(row)
    return found


def _attempts(
    found: Sequence[Mapping[str, Any]], outcome: str, pairs: Sequence[tuple[int, int]]
) -> list[Attempt]:
    first: dict[str, int] = {}
    attempts = []
    for row in sorted(found, key=lambda row: int(row["index"])):
        partners = _partners(row["index"], pairs)
        same = first.setdefault(row["text"].strip(), row["index"])
        attempt = Attempt(
            who=f"candidate {row['index']}",
            text=row["text"],
            answer=row["answer"],
            status=row["status"],
            right=is_right(row["score"]),
            fate=partners or _why_not(row, same, outcome),
            is_paired=bool(partners),
        )
        attempts.append(attempt)
    return attempts


def _partners(index: int, pairs: Sequence[tuple[int, int]]) -> str:
    """Which candidates it was paired with: `chosen, against 3 and 5`; "": with none."""
    rejected = [str(other) for chosen, other in pairs if chosen == index]
    chosen = ["the teacher" if c == TEACHER else str(c) for c, other in pairs if other == index]
    if rejected:
        return f"chosen, against {' and '.join(rejected)}"
    return f"rejected, against {' and '.join(chosen)}" if chosen else ""


def _why_not(row: Mapping[str, Any], same: int, outcome: str) -> str:
    if outcome in {"hard", "easy"}:
        return f"not paired: the question is too {outcome}"
    if outcome == "unpaired":
        return "not paired yet"
    if same != row["index"]:
        return f"not paired: the same text as candidate {same}"
    if outcome != "taught" and row["status"] != "marker":
        return "not paired: does not end in the marker"
    if outcome == "unmarked":
        return "not paired: nothing to set it against"
    return "not drawn: at most pair.max_pairs a question, by the seed"
