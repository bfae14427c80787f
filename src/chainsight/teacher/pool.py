"""The places where the teacher is asked: each with its own limits, pace and line, side by side."""

import logging
import math
from dataclasses import dataclass, field

from chainsight.config import DistillSection
from chainsight.errors import TeacherError
from chainsight.teacher.client import Answer, Line
from chainsight.teacher.endpoint import Endpoint
from chainsight.teacher.limits import Limits, Ticket
from chainsight.teacher.pace import Pace
from chainsight.teacher.patience import Patience
from chainsight.teacher.troubles import Trouble

log = logging.getLogger(__name__)

RETURN_SECONDS = 60.0
"""A place that cannot be reached is tried again after this, as long as others answer."""
REST = 0.25
"""Of the time of an answer: how long nothing is sent after a refusal that does not say."""


@dataclass
class Site:
    """One place, and what is known of it. `now` is in seconds, from anywhere."""

    line: Line
    model: str
    limits: Limits
    pace: Pace
    patience: Patience
    in_flight: int = 0
    rest_until: float = 0.0
    reached: bool = False
    """Whether it has ever answered anything."""
    num_unreached: int = 0
    """Requests in a row that did not reach it."""
    _tokens: float = field(default=1.0)
    """What a request takes, about."""

    @classmethod
    def of(cls, config: DistillSection, endpoint: Endpoint, line: Line) -> "Site":
        return cls(
            line,
            endpoint.model or config.teacher_model,
            Limits(endpoint.requests_per_minute, endpoint.tokens_per_minute),
            Pace(config.concurrency),
            Patience(config.timeout_seconds),
        )

    def wait(self, now: float) -> float:
        """Seconds until one more request may be sent; infinite: until one in flight has ended."""
        if not self.pace.has_room(self.in_flight):
            return math.inf
        return max(0.0, self.rest_until - now, self.limits.wait(now))

    def take(self, tokens: float, most_tokens: float, now: float) -> Ticket:
        """Send a request that is predicted to take so many tokens."""
        self.in_flight += 1
        self._tokens = tokens
        return self.limits.take(tokens, most_tokens, now)

    def ended(self, outcome: Answer | Trouble, ticket: Ticket, seconds: float, now: float) -> None:
        """A request ended after so many seconds: learn from it."""
        self.in_flight -= 1
        if isinstance(outcome, Trouble):
            ticket = self._learn_from(outcome, ticket, now)
        self.limits.read(outcome.headers, ticket, now)
        away = _is(outcome, "unreachable")
        self.num_unreached = self.num_unreached + 1 if away else 0
        self.reached = self.reached or not away
        if isinstance(outcome, Answer) or _is(outcome, "silent"):
            self.patience.took(seconds)
        if isinstance(outcome, Answer):
            self._speed_up(now)

    def _learn_from(self, trouble: Trouble, ticket: Ticket, now: float) -> Ticket:
        if trouble.pause_seconds is not None:
            self.rest_until = max(self.rest_until, now + trouble.pause_seconds)
        if trouble.kind == "overloaded":
            self.pace.overloaded(now, self.patience.typical)
        if trouble.kind == "limited":
            self.limits.refused()
            if not self.limits.known:
                self.pace.overloaded(now, self.patience.typical, certain=True)
                self.rest_until = max(self.rest_until, now + REST * self.patience.typical)
        return ticket if trouble.means.is_counted else self.limits.give_back(ticket)

    def _speed_up(self, now: float) -> None:
        self.pace.answered(now, self.in_flight)
        rate = self.limits.per_second(self._tokens, now)
        if rate is not None:
            self.pace.lift(rate * self.patience.typical)


def _is(outcome: Answer | Trouble, kind: str) -> bool:
    return isinstance(outcome, Trouble) and outcome.kind == kind


class Pool:
    """All places; the ones that are down or out of money are left out while others answer."""

    def __init__(self, sites: list[Site]) -> None:
        self._sites = sites

    @property
    def sites(self) -> tuple[Site, ...]:
        """Those that are asked."""
        return tuple(self._sites)

    def pick(self, now: float) -> tuple[Site, float]:
        """The place with the most room, and the seconds until it may be asked."""
        return min(
            ((site, site.wait(now)) for site in self._sites),
            key=lambda one: (one[1], one[0].in_flight / one[0].pace.window),
        )

    def leave_out(self, site: Site, why: str) -> None:
        """Ask no more here, if there is somewhere else to ask.

        Raises:
            TeacherError: there is not.
        """
        if site not in self._sites:
            return
        if len(self._sites) == 1:
            raise TeacherError(why)
        self._sites.remove(site)
        log.warning("%s; the other places go on", why)

    def rest(self, site: Site, why: str, now: float) -> None:
        """A place cannot be reached: ask the others, and it again later.

        Raises:
            TeacherError: none of the others answers either.
        """
        others = [one for one in self._sites if one is not site and one.rest_until <= now]
        why = f"{site.line.address}: the teacher cannot be reached: {why}"
        if not others:
            raise TeacherError(f"{why}; start it or correct distill.teacher, then run again")
        site.rest_until = now + RETURN_SECONDS
        site.num_unreached = 0
        log.warning("%s; the other places go on", why)

    @property
    def tokens_per_minute(self) -> float | None:
        """What all places allow together; None: not known of one."""
        allowed = [site.limits.tokens_per_minute for site in self._sites]
        known = [limit for limit in allowed if limit is not None]
        return sum(known) if len(known) == len(allowed) else None
