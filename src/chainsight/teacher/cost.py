"""What answers cost, and the budget that ends the spending."""

import asyncio
from dataclasses import dataclass, field

from chainsight.config import DistillSection, Price
from chainsight.errors import ConfigError, TeacherError
from chainsight.inventory.pricelist import listed
from chainsight.teacher.reply import Reply

FREE = Price(prompt=0.0, completion=0.0)
ROUNDING = 1e-12
"""Sums of many small costs are off by less than this, as a share."""


def known_price(config: DistillSection) -> Price | None:
    """What the teacher charges: `config.price`, else what the list says; None: nobody knows."""
    known = listed(config)
    return config.price or (known.price if known else None)


def source_of(config: DistillSection) -> str:
    """Who says what the teacher charges, and when it was said."""
    known = listed(config)
    if config.price:
        return "distill.price"
    return f"{known.source} of {known.seen}" if known else "not known"


def price_of(config: DistillSection) -> Price:
    """Likewise, and nothing where nobody knows."""
    return known_price(config) or FREE


@dataclass
class Budget:
    """What may be spent on a set of questions: a ceiling.

    Money is reserved before a request is sent, for the most that it can cost, and settled at what
    it did cost. So what is spent and what is in flight never pass the limit together. Answers from
    the ledger count (`add`): they are part of what the set costs, and a resumed run does not get
    the budget anew. A request that ended without an answer after it was sent may have been billed
    all the same (a hang, a broken connection): `lose` keeps its money out of the budget.

    For one thread, that of the event loop.
    """

    limit_usd: float | None
    num_questions: int = 0
    """Of the whole set, for what is said of it."""
    spent_usd: float = 0.0
    """On answers."""
    num_answers: int = 0
    reserved_usd: float = 0.0
    """By requests in flight."""
    num_in_flight: int = 0
    lost_usd: float = 0.0
    """At most, on requests that may have been billed and brought no answer."""
    num_lost: int = 0
    _freed: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def add(self, cost: float) -> None:
        """Count one answer."""
        self.spent_usd += cost
        self.num_answers += 1

    def fits(self, cost: float) -> bool:
        """Whether a request of at most this cost may be sent now."""
        return self._within(self.spent_usd + self.lost_usd + self.reserved_usd + cost)

    def _within(self, usd: float) -> bool:
        return self.limit_usd is None or usd <= self.limit_usd * (1 + ROUNDING)

    def reserve(self, cost: float) -> float:
        """Set money aside for a request of at most this cost, and return it.

        Raises:
            TeacherError: the limit might be passed; says what was spent, and how to go on.
        """
        if not self.fits(cost):
            raise TeacherError(self._refusal())
        return self.hold(cost)

    def hold(self, cost: float) -> float:
        """Set money aside for what an earlier run has sent already, whether it fits or not."""
        self.reserved_usd += cost
        self.num_in_flight += 1
        return cost

    async def room(self, cost: float) -> float:
        """Reserve; if only requests in flight stand in the way, wait for them to settle first.

        Raises:
            TeacherError: as `reserve`.
        """
        while not self.fits(cost) and self._within(self.spent_usd + self.lost_usd + cost):
            self._freed.clear()
            await self._freed.wait()
        return self.reserve(cost)

    def settle(self, reserved: float, actual: float) -> None:
        """A reserved request was answered, for this much."""
        self.release(reserved)
        self.add(actual)

    def check(self, reply: Reply, by: str) -> None:
        """Look whether the answer of the place `by` can be counted.

        Raises:
            TeacherError: there is a limit, and it does not say what it costs.
        """
        if self.limit_usd is not None and not (reply.prompt_tokens or reply.error):
            raise TeacherError(
                f"{by}: reports no token counts, so that distill.budget_usd cannot be kept; "
                "remove the budget to go on without one"
            )

    def release(self, reserved: float) -> None:
        """A reserved request cost nothing: it was not sent, or refused."""
        self.num_in_flight -= 1
        self.reserved_usd = self.reserved_usd - reserved if self.num_in_flight else 0.0
        self._freed.set()

    def lose(self, reserved: float) -> None:
        """A reserved request may have been billed, and brought no answer."""
        self.release(reserved)
        self.lost_usd += reserved
        self.num_lost += 1

    def told(self) -> str:
        """What was spent so far, and what all questions will cost at this rate; "" of nothing."""
        if not self.spent_usd:
            return ""
        return f"${self.spent_usd:,.2f} of about ${self._projected():,.2f}"

    def _projected(self) -> float:
        return self.spent_usd / max(1, self.num_answers) * self.num_questions

    def _refusal(self) -> str:
        lost = (
            f" and up to ${self.lost_usd:.4f} on {self.num_lost} without an answer"
            if self.num_lost
            else ""
        )
        return (
            f"distill.budget_usd: ${self.limit_usd:.4f} allowed, ${self.spent_usd:.4f} spent on "
            f"{self.num_answers} of {self.num_questions} questions{lost}, and the next one might "
            f"pass it; all of them would cost about ${self._projected():.4f}. "
            "Raise the budget or take fewer examples"
        )


def budget_of(config: DistillSection, num_questions: int) -> Budget:
    """The configuration's ceiling for so many questions.

    Raises:
        ConfigError: a ceiling, and nobody knows what the teacher charges.
    """
    if config.budget_usd is not None and known_price(config) is None:
        raise ConfigError(
            f"distill.budget_usd cannot be kept: the price of {config.teacher_model!r} is not in "
            "the list; set distill.price to {prompt: ..., completion: ...} in US dollars per "
            "million tokens (0 and 0 for a server of your own), or remove the budget"
        )
    return Budget(config.budget_usd, num_questions)
