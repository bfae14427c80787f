"""What answers cost, and the budget that ends the spending."""

from dataclasses import dataclass

from chainsight.config import DistillSection, Price
from chainsight.errors import TeacherError
from chainsight.inventory.prices import TEACHERS

FREE = Price(prompt=0.0, completion=0.0)


def price_of(config: DistillSection) -> Price:
    """What the teacher charges: `config.price`, or what the table of known prices says.

    The scripted teacher is reckoned at the price of the paper's.
    """
    known = {teacher.name: teacher.price for teacher in TEACHERS}
    name = TEACHERS[0].name if config.teacher == "scripted" else config.teacher_model
    return config.price or known.get(name, FREE)


@dataclass
class Budget:
    """What may be spent on a set of questions, and what its answers have cost so far.

    Answers from the ledger count: they are part of what the set costs, and a resumed run does
    not get the budget anew. Checked before each request, so that the requests in flight when
    the limit is reached are the most that it can be passed by.
    """

    limit_usd: float | None
    spent_usd: float = 0.0
    num_answers: int = 0

    def add(self, cost: float) -> None:
        """Count one answer."""
        self.spent_usd += cost
        self.num_answers += 1

    def check(self, num_questions: int) -> None:
        """Refuse the next request if the money is spent.

        Raises:
            TeacherError: says what was spent, on how much, and how to go on.
        """
        if self.limit_usd is None or self.spent_usd < self.limit_usd:
            return
        each = self.spent_usd / max(1, self.num_answers)
        raise TeacherError(
            f"distill.budget_usd: ${self.limit_usd:.4f} allowed, ${self.spent_usd:.4f} spent on "
            f"{self.num_answers} of {num_questions} questions; all of them would cost about "
            f"${each * num_questions:.4f}. Raise the budget or take fewer examples"
        )
