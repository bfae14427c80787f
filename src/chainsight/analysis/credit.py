"""Does the reward fall at the first wrong step? On toy charts, where that step is known.

A chain that ends in a wrong answer is searched for its first slip (`demo.steps`) by the rewards of
its tokens. Chains that slip and yet end right stand apart: DPO, which sees answers alone, has no
reason to blame them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from chainsight.analysis import steps
from chainsight.analysis.steps import Finder, Rate, Token
from chainsight.demo import bars
from chainsight.demo.steps import FAULTS, Slip, Unreadable, first_slip
from chainsight.metrics import is_right
from chainsight.records import Example, Verified

WRONG, RIGHT = "all wrong answers", "answer right all the same"


@dataclass(frozen=True)
class Case:
    """An answer and its first wrong step."""

    answer: Verified
    slip: Slip


@dataclass(frozen=True)
class Known:
    """What is known of some answers to questions about toy charts."""

    cases: tuple[Case, ...]
    num_without: int
    """Answers without a slip."""
    num_unreadable: int

    @property
    def num_answers(self) -> int:
        return len(self.cases) + self.num_without + self.num_unreadable

    def groups(self) -> dict[str, list[Case]]:
        """All that end wrong, the same by fault, and those that end right; none is empty."""
        wrong = [case for case in self.cases if not is_right(case.answer.score)]
        found = {WRONG: wrong}
        found |= {fault: [case for case in wrong if case.slip.fault == fault] for fault in FAULTS}
        found[RIGHT] = [case for case in self.cases if is_right(case.answer.score)]
        return {name: cases for name, cases in found.items() if cases}


def known(examples: Mapping[str, Example], answers: Iterable[Verified]) -> Known:
    """The first slips of those answers whose question is one about a toy chart."""
    charts = {name: table for name, one in examples.items() if (table := _table(one))}
    cases, num_without, num_unreadable = [], 0, 0
    for answer in answers:
        if answer.example_id not in charts:
            continue
        question = examples[answer.example_id].question
        slip = first_slip(charts[answer.example_id], question, answer.text)
        if isinstance(slip, Slip):
            cases.append(Case(answer, slip))
        num_without += slip is None
        num_unreadable += isinstance(slip, Unreadable)
    return Known(tuple(cases), num_without, num_unreadable)


def _table(example: Example) -> bars.Table | None:
    """The chart of a toy question; None for any other, whose images are not even read."""
    is_toy = example.meta.get("kind") in bars.KINDS
    return bars.read_table(example.images[0]) if is_toy else None


# --- measures --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measure:
    """A way to look for slips."""

    name: str
    finder: Finder
    k: int = 1
    whole_step: bool = False
    """Whether any word of the wrong step will do, not just the wrong one."""
    uncertain: bool = False
    """Whether only tokens are looked at that the policy was unsure of, and chance is theirs."""

    def rate(self, cases: Sequence[Case]) -> Rate:
        """How often it finds the slip."""
        return steps.rate([self._try(case) for case in cases])

    def _try(self, case: Case) -> steps.Try:
        chain: list[Token] = steps.tokens(case.answer)
        if self.uncertain:
            chain = steps.uncertain(chain)
        span = case.slip.step if self.whole_step else case.slip.word
        return steps.search(case.answer.example_id, chain, span, self.finder, self.k)


MAIN = Measure("most negative", steps.by_reward)
ANYWHERE = Measure("most negative, anywhere in the step", steps.by_reward, whole_step=True)
AMONG_UNCERTAIN = Measure("most negative of the uncertain", steps.by_reward, uncertain=True)
CONTROL = Measure("least expected by the policy", steps.by_surprise)
MEASURES = (
    MAIN,
    Measure("3 most negative", steps.by_reward, 3),
    Measure("first strongly negative", steps.first_strong),
    ANYWHERE,
)
CONTROLS = (AMONG_UNCERTAIN, CONTROL)
"""They take the tokens' log-probabilities."""


@dataclass(frozen=True)
class Credit:
    """The first slips of some answers, and how often each measure finds them."""

    known: Known
    rates: Mapping[tuple[str, str], Rate]
    """By group and measure; the controls where log-probabilities were kept."""


def credit(examples: Mapping[str, Example], answers: Iterable[Verified]) -> Credit | None:
    """What rewards find in answers about toy charts; None: no wrong step is known in any."""
    found = known(examples, answers)
    kept = all(case.answer.logprobs for case in found.cases)
    measures = (*MEASURES, *CONTROLS) if kept else MEASURES
    rates = {
        (group, measure.name): measure.rate(cases)
        for group, cases in found.groups().items()
        for measure in measures
    }
    return Credit(found, rates) if rates else None
