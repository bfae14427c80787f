"""What became of the teacher's answers, counted while they stream by; memory does not grow.

`quality.json` is what `Tally.to_json` gives: `all` and each of `datasets` with

    num_examples, num_kept, reasons        of each example: kept, or why not
    kept, dropped, superseded              answers, tokens and dollars; each answer is paid once
    answers_by_reason, cost_by_reason      those that were asked again, too
    measured                               the answers that end right, whatever the filter says
    agreement_by_reason                    mean agreement with tables, also of wrong answers
    would_drop                             how many of these a setting of `filter` would set aside

and `rounds`: answers, kept ones and dollars of the first question and of each retry.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chainsight.inventory.spread import spread
from chainsight.quality.reasons import PAPER, REASONS, UNANSWERED
from chainsight.records import Rationale

FILE = "quality.json"
FATES = ("kept", "dropped", "superseded")
WORDS = (10, 25, 50, 75, 100, 150, 200, 300, 500)
"""Where bins of lengths end."""
PERCENT = (1, 11, 21, 31, 41, 51, 61, 71, 81, 91, 100)
"""Where bins of shares end; the last is 100 alone."""
SETTINGS: Mapping[str, Sequence[float]] = {
    "min_words": (5, 10, 20, 40),
    "max_words": (100, 200, 300, 500),
    "max_repetition": (0.1, 0.2, 0.3, 0.5),
    "min_agreement": (0.5, 0.8, 0.9, 1.0),
}
"""Of which it is said what they would set aside."""


@dataclass
class Bill:
    """What some answers cost."""

    num_answers: int = 0
    num_batch: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0

    def add(self, row: Rationale) -> None:
        self.num_answers += row.reason not in UNANSWERED
        self.num_batch += row.batch
        self.prompt_tokens += row.prompt_tokens
        self.completion_tokens += row.completion_tokens
        self.cost_usd += row.cost_usd


@dataclass
class Group:
    """The answers about one dataset, or all."""

    reasons: Counter[str] = field(default_factory=Counter)
    """Of each example; "" is kept."""
    statuses: Counter[str] = field(default_factory=Counter)
    bills: dict[str, Bill] = field(default_factory=lambda: {fate: Bill() for fate in FATES})
    words: Counter[int] = field(default_factory=Counter)
    repetition: Counter[int] = field(default_factory=Counter)
    """By percent, rounded."""
    agreement: Counter[int] = field(default_factory=Counter)
    """By percent, rounded; of those that can be checked."""
    agrees: dict[str, list[float]] = field(default_factory=dict)
    """Sum and number of agreements by reason."""
    num_answer_first: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    """By reason, those that were asked again, too."""
    dollars: dict[str, float] = field(default_factory=dict)
    """Likewise."""
    would: Counter[str] = field(default_factory=Counter)

    def add(self, row: Rationale) -> None:
        self.bills[_fate(row)].add(row)
        name = row.reason or "kept"
        self.answers[name] += 1
        self.dollars[name] = self.dollars.get(name, 0.0) + row.cost_usd
        if not row.superseded:
            self.reasons[row.reason] += 1
            self.statuses[row.status] += 1
        if row.agreement is not None:
            known = self.agrees.setdefault(name, [0.0, 0.0])
            known[:] = known[0] + row.agreement, known[1] + 1
        if row.reason not in PAPER:
            self._measure(row)

    def _measure(self, row: Rationale) -> None:
        self.words[row.num_words] += 1
        self.repetition[round(100 * row.repetition)] += 1
        self.num_answer_first += row.answer_first
        if row.agreement is not None:
            self.agreement[round(100 * row.agreement)] += 1
        self.would.update(would_drop(row))

    @property
    def num_examples(self) -> int:
        return self.reasons.total()

    @property
    def num_right(self) -> int:
        """Answers that end in the right answer."""
        return self.words.total()

    @property
    def cost_usd(self) -> float:
        return sum(bill.cost_usd for bill in self.bills.values())

    def to_json(self) -> dict[str, Any]:
        return {
            "num_examples": self.num_examples,
            "num_kept": self.reasons[""],
            "reasons": {r: self.reasons[r] for r in REASONS if self.reasons[r]},
            **{fate: vars(bill) for fate, bill in self.bills.items()},
            "answers_by_reason": dict(self.answers),
            "cost_by_reason": self.dollars,
            "measured": {
                "num_answers": self.num_right,
                "words": spread(self.words, WORDS),
                "repetition_percent": spread(self.repetition, PERCENT),
                "num_answer_first": self.num_answer_first,
                "num_checked": self.agreement.total(),
                "agreement_percent": spread(self.agreement, PERCENT),
            },
            "agreement_by_reason": {r: total / n for r, (total, n) in self.agrees.items()},
            "would_drop": {
                "answer_first: drop": self.num_answer_first,
                **{text: self.would[text] for text in _settings()},
            },
        }


def _settings() -> list[str]:
    return [f"{name}: {value:g}" for name, values in SETTINGS.items() for value in values]


def would_drop(row: Rationale) -> list[str]:
    """The settings of `SETTINGS` that would set this right rationale aside, as `max_words: 200`."""
    agrees = 1.0 if row.agreement is None else row.agreement
    measured = {
        "min_words": -row.num_words,
        "max_words": row.num_words,
        "max_repetition": row.repetition,
        "min_agreement": -agrees,
    }
    return [
        f"{name}: {value:g}"
        for name, values in SETTINGS.items()
        for value in values
        if measured[name] > (-value if name.startswith("min") else value)
    ]


def _fate(row: Rationale) -> str:
    if row.superseded:
        return "superseded"
    return "dropped" if row.reason else "kept"


class Tally:
    """All answers, by dataset and by round of questions."""

    def __init__(self) -> None:
        self.all = Group()
        self.datasets: dict[str, Group] = {}
        self.rounds: dict[int, Group] = {}

    def add(self, dataset: str, row: Rationale) -> None:
        """Count one answer, or the lack of one."""
        self.all.add(row)
        self.datasets.setdefault(dataset, Group()).add(row)
        self.rounds.setdefault(row.variant, Group()).add(row)

    def statuses(self) -> Iterator[tuple[str, str]]:
        """Dataset and status of each example's answer, in no order."""
        for name, group in self.datasets.items():
            yield from ((name, status) for status in group.statuses.elements())

    def to_json(self) -> dict[str, Any]:
        return {
            "all": self.all.to_json(),
            "datasets": {name: group.to_json() for name, group in self.datasets.items()},
            "rounds": [
                {
                    "round": number,
                    "num_answers": sum(bill.num_answers for bill in group.bills.values()),
                    "num_kept": group.reasons[""],
                    "cost_usd": group.cost_usd,
                }
                for number, group in sorted(self.rounds.items())
            ],
        }

    def metrics(self) -> dict[str, float]:
        """The headlines, for MLflow; the rest is in `quality.json`."""
        every, bills = self.all, self.all.bills.values()
        counts = {f"num_{reason}": float(every.reasons[reason]) for reason in REASONS}
        kept = every.reasons[""]
        return counts | {
            "num_examples": float(every.num_examples),
            "num_kept": float(kept),
            "keep_rate": kept / every.num_examples,
            "num_superseded": float(every.bills["superseded"].num_answers),
            "num_kept_by_retry": float(sum(g.reasons[""] for n, g in self.rounds.items() if n)),
            "prompt_tokens": float(sum(bill.prompt_tokens for bill in bills)),
            "completion_tokens": float(sum(bill.completion_tokens for bill in bills)),
            "cost_usd": every.cost_usd,
            "cost_kept_usd": every.bills["kept"].cost_usd,
            "cost_per_kept_usd": every.cost_usd / kept if kept else 0.0,
            **self._measured(),
        }

    def _measured(self) -> dict[str, float]:
        found = self.all.to_json()["measured"]
        right = max(1, found["num_answers"])
        agrees = found["agreement_percent"]["mean"] / 100
        return {
            "words_median": float(found["words"]["median"]),
            "words_p95": float(found["words"]["p95"]),
            "repetition_mean": found["repetition_percent"]["mean"] / 100,
            "answer_first_rate": found["num_answer_first"] / right,
            "num_checked": float(found["num_checked"]),
        } | ({"agreement_mean": agrees} if found["num_checked"] else {})
