"""How fast the answers come and what they cost, in one short line."""

from collections import deque

from chainsight.teacher.cost import Budget
from chainsight.teacher.reply import Reply

EVERY_SECONDS = 2.0
OVER_SECONDS = 30.0


class Speed:
    """Speaks every two seconds, of the last half minute."""

    def __init__(self, budget: Budget, total: int) -> None:
        self._budget, self._total = budget, total
        self._num_answers = self._num_tokens = 0
        self._seen: deque[tuple[float, int, int]] = deque()

    def note(
        self, reply: Reply, allowed: float | None, num_limited: int, *, now: float
    ) -> str | None:
        """Count an answer; the line when it is time for one.

        `allowed` tokens a minute, None where that is not known.
        """
        self._num_answers += 1
        self._num_tokens += reply.prompt_tokens + reply.completion_tokens
        if self._seen and now < self._seen[-1][0] + EVERY_SECONDS:
            return None
        self._seen.append((now, self._num_answers, self._num_tokens))
        while self._seen[0][0] < now - OVER_SECONDS:
            self._seen.popleft()
        start, answers, tokens = self._seen[0]
        if now <= start:
            return None
        each_second = (self._num_answers - answers) / (now - start)
        each_minute = (self._num_tokens - tokens) / (now - start) * 60
        return ", ".join(self._parts(each_second, each_minute, allowed, num_limited))

    def _parts(
        self, each_second: float, each_minute: float, allowed: float | None, num_limited: int
    ) -> list[str]:
        of = f" of {_short(allowed)}" if allowed else ""
        parts = [f"{each_second:.1f}/s", f"{_short(each_minute)}{of} tokens/min"]
        if num_limited:
            parts.append(f"{num_limited} x 429")
        budget = self._budget
        if budget.spent_usd:
            forecast = budget.spent_usd / budget.num_answers * self._total
            parts.append(f"${budget.spent_usd:.2f} of about ${forecast:.2f}")
        return parts


def _short(number: float) -> str:
    return f"{number / 1e6:.2f}M" if number >= 1e6 else f"{number / 1e3:.0f}k"
