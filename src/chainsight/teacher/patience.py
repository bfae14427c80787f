"""How long a request may be silent before it is cut and sent again: learned from the others."""

RECENT = 256
"""Answers that say how long one takes."""
TRUSTED = 20
QUANTILE = 0.95
TIMES = 4.0
FLOOR_SECONDS = 10.0
RECKON_EVERY = 8


class Patience:
    """How long to wait for an answer: several times what all but a few take.

    A request that was cut counts as one that took so long. So a few hung ones change nothing, and
    a place that has become slow is soon waited for, not asked everything twice.
    """

    def __init__(self, most_seconds: float) -> None:
        self._most = most_seconds
        self._recent: list[float] = []
        self._count = 0
        self._learned = most_seconds
        self.typical = 1.0
        """Seconds that an answer takes, about."""

    def seconds(self, tries: int) -> float:
        """How long this try may be silent; one that was cut before gets twice the time."""
        return min(self._most, self._learned * 2.0 ** min(tries, 16))

    def took(self, seconds: float) -> None:
        """An answer came after so long, or was cut."""
        if len(self._recent) < RECENT:
            self._recent.append(seconds)
        else:
            self._recent[self._count % RECENT] = seconds
        self._count += 1
        if self._count <= TRUSTED or self._count % RECKON_EVERY == 0:
            self._reckon()

    def _reckon(self) -> None:
        ordered = sorted(self._recent)
        self.typical = ordered[len(ordered) // 2]
        if self._count >= TRUSTED:
            high = ordered[int(QUANTILE * (len(ordered) - 1))]
            self._learned = max(FLOOR_SECONDS, TIMES * high)
