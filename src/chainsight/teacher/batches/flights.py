"""Batches on their way, and how many of them the account's queue may hold."""

import logging
import math
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from chainsight.config import DistillSection
from chainsight.errors import TeacherError
from chainsight.teacher.batches.api import State
from chainsight.teacher.batches.intents import Intent
from chainsight.teacher.batches.purse import Stake

log = logging.getLogger(__name__)

LONELY_REFUSALS = 6
"""So often a batch may find no room in the queue although none of ours is in it."""
LONGEST_REST_SECONDS = 900.0


@dataclass
class Flight:
    """A batch on its way."""

    intent: Intent
    batch: str | None = None
    """Its id; none: not created yet, or by somebody who is at it."""
    state: State | None = None
    """As of the last look."""
    stakes: dict[str, Stake] = field(default_factory=dict)
    """Of the questions in it that this run wants."""
    num_shown: int = 0
    """Answers that the progress has counted and the ledger has not."""

    @property
    def is_untried(self) -> bool:
        """Whether the API has not yet said that it takes this batch."""
        return self.state is None or self.state.status == "validating"


class Queue:
    """How much may wait at the API: what the configuration says, or what the API has refused."""

    def __init__(self, config: DistillSection) -> None:
        self._limit, self._poll = config.batch.queued_tokens, config.batch.poll_seconds
        self._largest = 0
        self._is_careful = False
        self._num_lonely = 0
        self._rest_until = -math.inf

    def note(self, prompt_tokens: int) -> None:
        """A batch of so many tokens was cut."""
        self._largest = max(self._largest, prompt_tokens)

    def room(self, flights: Collection[Flight]) -> int | None:
        """Tokens that fit; None: nobody knows."""
        if self._limit is None:
            return None
        return self._limit - sum(f.intent.prompt_tokens for f in flights if f.batch)

    def has_room(self, flights: Collection[Flight]) -> bool:
        """Whether to send now. Less than half a batch is not worth a file: rather wait.

        After a refusal one batch at a time has to be taken before the next one is sent.
        """
        room = self.room(flights)
        if room is not None and room < max(1, self._largest / 2):
            return False
        if time.monotonic() < self._rest_until:
            return False
        return not (self._is_careful and any(f.is_untried for f in flights if f.batch))

    def refuse(self, flights: Collection[Flight], said: str) -> None:
        """The API had no room: wait until one of `flights` has ended, or longer and longer.

        Raises:
            TeacherError: none of ours is in the queue, and still there is no room.
        """
        self._is_careful = True
        if any(flight.batch for flight in flights):
            self._rest_until = math.inf
            return
        self._num_lonely += 1
        if self._num_lonely > LONELY_REFUSALS:
            raise TeacherError(
                f"the account's queue has no room although no batch of ours is in it ({said}); set "
                "distill.batch.queued_tokens to half of the limit, or wait for the account's "
                "other batches"
            )
        rest = min(LONGEST_REST_SECONDS, self._poll * 2**self._num_lonely)
        log.info("batches: no room in the account's queue (%s); trying again in %.0f s", said, rest)
        self._rest_until = time.monotonic() + rest

    def clear(self) -> None:
        """A batch has ended: there is room."""
        self._num_lonely = 0
        self._rest_until = -math.inf
