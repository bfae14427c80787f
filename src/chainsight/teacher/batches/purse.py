"""The budget of batch mode: a file's money is set aside before its batch is created."""

from dataclasses import dataclass

from chainsight.config import DistillSection
from chainsight.teacher.cost import Budget, price_of
from chainsight.teacher.ledger import Entry
from chainsight.teacher.reply import Reply
from chainsight.teacher.sizing import Size, Sizer


@dataclass(frozen=True)
class Stake:
    """What a question in a batch takes, and the money that is set aside for it."""

    size: Size
    usd: float


class Purse:
    """Sets aside what answers will cost at the price of batches, and learns it from them."""

    def __init__(self, config: DistillSection, budget: Budget, sizer: Sizer) -> None:
        self._budget, self._price, self._sizer = budget, price_of(config), sizer

    def afford(self, asked: Size) -> Stake | None:
        """Set money aside for a question, if there is as much."""
        usd = self._usd(asked)
        return Stake(asked, self._budget.reserve(usd)) if self._budget.fits(usd) else None

    def hold(self, asked: Size) -> Stake:
        """Set money aside for a question that is in a batch already."""
        return Stake(asked, self._budget.hold(self._usd(asked)))

    def refuse(self, asked: Size) -> None:
        """Say that there is no money for a question.

        Raises:
            TeacherError: what was spent, and the way out.
        """
        self._budget.reserve(self._usd(asked))

    def settle(self, stake: Stake, entry: Entry) -> Reply:
        """Pay for an answer.

        Raises:
            TeacherError: it does not say what it costs.
        """
        reply = self._reply(entry)
        self._budget.settle(stake.usd, reply.cost_usd(self._price, batch=entry.batch))
        self._sizer.learn(stake.size, reply)
        return reply

    def pay(self, entry: Entry) -> Reply:
        """Pay for an answer for which nothing was set aside.

        Raises:
            TeacherError: it does not say what it costs.
        """
        reply = self._reply(entry)
        self._budget.add(reply.cost_usd(self._price, batch=entry.batch))
        return reply

    def _reply(self, entry: Entry) -> Reply:
        reply = Reply.of(entry.response)
        self._budget.check(reply, entry.by)
        return reply

    def release(self, stake: Stake) -> None:
        """A question was not answered, and not billed."""
        self._budget.release(stake.usd)

    def _usd(self, asked: Size) -> float:
        """What is set aside: the mean once answers have shown it, the most before.

        A batch is of hundreds: their sum is close to the mean's, where one answer's cost is not.
        """
        sizer = self._sizer
        likely = sizer.expected(asked) if sizer.trusted else sizer.most(asked)
        return likely.cost_usd(self._price, batch=True)
