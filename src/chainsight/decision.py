"""What the gate looks at and what it finds: rows, figures, checks, the decision and its words."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from pydantic import TypeAdapter, ValidationError

from chainsight.errors import RecordError

UNPARSED = frozenset({"no_marker", "truncated", "empty"})
"""Statuses of an answer that nobody can read. A `fallback` is read, only not where it belongs."""
TESTS: Mapping[str, str] = {
    "mcnemar": "McNemar's exact test",
    "agresti-min": "Agresti and Min's paired test",
    "stratified": "the paired test over the benchmarks",
}


@dataclass(frozen=True)
class Row:
    """A model's answer to one question, as far as the gate looks."""

    dataset: str
    score: float
    """0 to 1."""
    status: str
    """How the answer was found: see `chainsight.answers`."""
    num_tokens: int


@dataclass(frozen=True)
class Results:
    """A model's results on a benchmark, question by question, in the gate's mode."""

    fingerprint: str
    """Of the benchmark: `scoring.benchmark_fingerprint`."""
    rows: Mapping[str, Row]
    """By example id."""
    digest: str = ""
    """Of the model's files."""

    @property
    def scores(self) -> dict[str, float]:
        """Example id to score."""
        return {key: row.score for key, row in self.rows.items()}


def dataset_of(example_id: str) -> str:
    """The benchmark that a question belongs to: what its id begins with (`bars/test/3`)."""
    dataset, slash, _ = example_id.partition("/")
    return dataset if slash else "all"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What was measured on one benchmark, or over all: plain means over the benchmarks.

    Values are 0 to 1. Those of the champion and of the comparison are None without one.
    """

    num_examples: int = 0
    candidate_value: float | None = None
    champion_value: float | None = None
    gain: float | None = None
    """Mean of the paired differences."""
    gain_low: float | None = None
    """Bootstrap bound: the gain is above it with the policy's confidence."""
    gain_high: float | None = None
    """Bootstrap bound: the gain is below it with the policy's confidence."""
    p_value: float | None = None
    """Chance of such a gain if the true one were `min_gain` (one-sided); of one benchmark: 0."""
    p_loss: float | None = None
    """Chance of such a loss if there were none (one-sided)."""
    wins: int = 0
    """Questions on which the candidate scores higher."""
    losses: int = 0
    unparsed_rate: float | None = None
    champion_unparsed_rate: float | None = None
    unparsed_rise: float | None = None
    p_unparsed: float | None = None
    """Chance of such a rise of the rate if there were none (one-sided)."""
    mean_tokens: float | None = None
    """Tokens an answer."""
    champion_mean_tokens: float | None = None


@dataclass(frozen=True)
class Check:
    """One thing that the gate looks at."""

    name: str
    """`gain`, `loss on NAME`, `unparsed answers`, `length`."""
    met: bool
    words: str
    """What was found and what is required, with every figure."""


@dataclass(frozen=True, kw_only=True)
class Decision(Figures):
    """What the gate found. The figures are those over all benchmarks."""

    passed: bool
    reason: str
    """One line: what decided."""
    mode: str = ""
    champion_digest: str = ""
    """Of the champion's files; empty without one."""
    test: str = ""
    """Which test gave `p_value`: a key of `TESTS`."""
    checks: tuple[Check, ...] = ()
    benchmarks: Mapping[str, Figures] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """The whole decision in words: the verdict, then a line for each check (Markdown)."""
        lines = [
            f"- {check.name}, {'met' if check.met else 'NOT MET'}: {check.words}."
            for check in self.checks
        ]
        head = "Passed." if self.passed else "Refused."
        if not lines:
            _, _, why = self.reason.partition(": ")
            return f"{head} {why[:1].upper()}{why[1:]}."
        return "\n".join([head, "", *lines])

    def to_json(self) -> str:
        """The decision for machines; `from_json` reads it back."""
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Decision":
        """Read a decision; what stands beside it is ignored. RecordError for anything else."""
        try:
            return _DECISION.validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(step) for step in first["loc"])
            raise RecordError(f"not a decision of the gate: {where}: {first['msg']}") from error


_DECISION = TypeAdapter(Decision)
