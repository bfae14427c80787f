"""How far the batches are, for the progress: what the API counts, before it is in the ledger."""

import time
from collections.abc import Iterable

from chainsight.context import Task
from chainsight.teacher.batches.flights import Flight


class Teller:
    """Counts each question once: when the API has answered it, or when it is settled here."""

    def __init__(self, task: Task) -> None:
        self._task, self._started = task, time.monotonic()

    def seen(self, flight: Flight) -> None:
        """The API has so many answers; of a batch that others want too, our share at most."""
        done = min(flight.state.num_completed if flight.state else 0, len(flight.stakes))
        if done > flight.num_shown:
            self._task.advance(done - flight.num_shown)
            flight.num_shown = done

    def settled(self, flight: Flight) -> None:
        """An answer is in the ledger."""
        if flight.num_shown:
            flight.num_shown -= 1
        else:
            self._task.advance()

    def failed(self) -> None:
        """A question is given up."""
        self._task.advance()

    def tell(self, flights: Iterable[Flight]) -> None:
        """Say how far the batches are that this run wants answers from."""
        wanted = [flight for flight in flights if flight.stakes]
        states = [flight.state for flight in wanted if flight.state]
        ends = [state.expires_at for state in states if state.expires_at]
        num_answered = sum(state.num_completed for state in states)
        num_questions = sum(len(flight.intent.keys) for flight in wanted)
        self._task.note(
            f"{len(wanted)} batches under way, {num_answered} of {num_questions} answered, "
            f"{_hours(time.monotonic() - self._started)} waited"
            + (f", {_hours(min(ends) - time.time())} left for the first" if ends else "")
        )


def _hours(seconds: float) -> str:
    minutes = max(0, round(seconds / 60))
    return f"{minutes // 60}:{minutes % 60:02d} h"
