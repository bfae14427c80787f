"""Where a model's direct and reasoned answers agree, and which flip between models. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from chainsight.analysis.differences import Answered, Answers, gains, measured, pairs
from chainsight.analysis.intervals import Interval
from chainsight.decision import dataset_of
from chainsight.metrics import is_right
from chainsight.records import MODES, Mode, Prediction


@dataclass(frozen=True)
class Agreement:
    """A model's two answers to each question, counted."""

    model: str
    both: int
    """Right."""
    only_direct: int
    only_reasoned: int
    same_wrong: int
    """The same wrong answer both times."""
    other_wrong: int
    gain: Interval
    """Reasoned less direct; over several benchmarks the plain mean of theirs."""
    p_value: float

    @property
    def num_questions(self) -> int:
        return self.both + self.only_direct + self.only_reasoned + self.neither

    @property
    def neither(self) -> int:
        return self.same_wrong + self.other_wrong


@dataclass(frozen=True)
class Flips:
    """Questions whose verdict changes from one model to another."""

    better: str
    than: str
    mode: Mode
    both_right: int
    both_wrong: int
    won: tuple[str, ...]
    """Ids that only `better` has right, in the benchmark's order."""
    lost: tuple[str, ...]


def agreements(answered: Answered) -> list[Agreement]:
    """One for each model that was asked in both modes."""
    models = dict.fromkeys(model for model, _ in answered)
    asked = [name for name in models if all((name, mode) in answered for mode in MODES)]
    return [_agreement(name, *(answered[name, mode] for mode in MODES)) for name in asked]


def _agreement(model: str, direct: Answers, reasoned: Answers) -> Agreement:
    counts = dict.fromkeys(("both", "only_direct", "only_reasoned", "same_wrong", "other_wrong"), 0)
    datasets: dict[str, list[float]] = {}
    for key, gain in gains(reasoned, direct).items():
        counts[_kind(direct[key], reasoned[key])] += 1
        datasets.setdefault(dataset_of(key), []).append(gain)
    _, mean, _, _, p_value = measured(list(datasets.values()), list(datasets))
    return Agreement(model, **counts, gain=mean, p_value=p_value)


def _kind(direct: Prediction, reasoned: Prediction) -> str:
    right = is_right(direct.score), is_right(reasoned.score)
    if any(right):
        return {(True, True): "both", (True, False): "only_direct"}.get(right, "only_reasoned")
    answers = [" ".join(one.answer.lower().split()) for one in (direct, reasoned)]
    same = answers[0] == answers[1] != ""
    return "same_wrong" if same else "other_wrong"


def flips(answered: Answered) -> list[Flips]:
    """For each pair that `differences` compares, in each mode."""
    models = list(dict.fromkeys(model for model, _ in answered))
    return [
        _flips(better, than, mode, answered)
        for better, than in pairs(models)
        for mode in MODES
        if (better, mode) in answered and (than, mode) in answered
    ]


def _flips(better: str, than: str, mode: Mode, answered: Answered) -> Flips:
    ours, theirs = answered[better, mode], answered[than, mode]
    verdicts = {
        key: (is_right(ours[key].score), is_right(theirs[key].score))
        for key in ours
        if key in theirs
    }

    def which(verdict: tuple[bool, bool]) -> Sequence[str]:
        return [key for key, found in verdicts.items() if found == verdict]

    return Flips(
        better,
        than,
        mode,
        both_right=len(which((True, True))),
        both_wrong=len(which((False, False))),
        won=tuple(which((True, False))),
        lost=tuple(which((False, True))),
    )
