"""How many requests may be in flight at a place: learned, as congestion control learns it.

It starts with a few, doubles with each round of answers until something resists, then grows by a
tenth a round. Refusals and overload take a share off at once. A teacher that only queues what it
is sent (an open model on one's own GPUs) resists otherwise: answers take longer and no more come.
So each larger number has to bring more answers a second, or the smaller one is taken again.

Where the limits per minute are known, they set the speed, and this is a bound above it (Little's
law: what is in flight is rate times latency).
"""

FIRST = 4
"""In flight before the first answer."""
GROWTH = 0.1
"""Of the number, a round of answers."""
DECREASE, HALF = 0.7, 0.5
"""What is left of the number after signs of overload, and after a refusal."""
RELIEF = 0.1
"""Of a failure from overload, that an answer makes up for: single failures happen ..."""
STRAIN = 3.0
"""... and so many that are not made up for are a sign."""
STEP = 1.4
"""A larger number is judged when it is so much larger ..."""
GAIN = 0.25
"""... and has to bring this share of the growth in answers a second."""
LEAST_ROUND = 8
HOLD_SECONDS = 60.0
"""Until a number that brought nothing is tried again."""
AMPLE = 2.0
"""Times what the known limits need."""


class Pace:
    """The window of one place."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.window = float(min(FIRST, most))
        """Requests that may be in flight."""
        self._is_fast = True
        self._is_refusing = False
        self._calm_at = self._hold_until = 0.0
        self._strain = 0.0
        self._round: tuple[float, int, int] | None = None
        """The round that is measured: its start, how many answers it has, and how many came."""
        self._proven: tuple[float, float] | None = None
        """The largest window that paid, and its answers a second."""

    def has_room(self, in_flight: int) -> bool:
        """Whether one more may be sent."""
        return in_flight < max(1, int(self.window))

    def lift(self, needed: float) -> None:
        """The known limits allow so many in flight: no need to grow there step by step."""
        if self._is_fast:
            self.window = min(self._most, max(self.window, AMPLE * needed))

    def answered(self, now: float, in_flight: int) -> None:
        """An answer came; the window grows only where it was what held the next request back."""
        self._strain = max(0.0, self._strain - RELIEF)
        if in_flight + 1 < int(self.window):
            self._round = None
            return
        if now >= self._hold_until:
            step = 1.0 if self._is_fast else self._growth() / self.window
            self.window = min(self._most, self.window + step)
        self._measure(now)

    def _growth(self) -> float:
        """In a round of answers; a place that has refused some is not pushed."""
        return 1.0 if self._is_refusing else max(1.0, GROWTH * self.window)

    def _measure(self, now: float) -> None:
        if self._round is None:
            self._round = (now, max(LEAST_ROUND, int(self.window)), 0)
            return
        start, size, count = self._round
        self._round = (start, size, count + 1)
        if count + 1 >= size and now > start:
            self._judge((count + 1) / (now - start), now)
            self._round = None

    def _judge(self, per_second: float, now: float) -> None:
        if self._proven is None:
            self._proven = (self.window, per_second)
        window, proven = self._proven
        growth = self.window / window
        if growth < STEP:
            return
        if per_second >= proven * (1 + GAIN * (growth - 1)):
            self._proven = (self.window, per_second)
            return
        self.window, self._is_fast = window, False
        self._proven, self._hold_until = None, now + HOLD_SECONDS

    def overloaded(self, now: float, latency: float, *, certain: bool = False) -> None:
        """The place is overloaded, or refuses what it would take later.

        Counts once in the time that an answer takes: what was in flight then tells the same.
        """
        self._strain += STRAIN if certain else 1.0
        self._is_refusing = self._is_refusing or certain
        if now < self._calm_at or self._strain < STRAIN:
            return
        self.window = max(1.0, (HALF if certain else DECREASE) * self.window)
        self._is_fast, self._proven, self._round = False, None, None
        self._calm_at, self._strain = now + latency, 0.0
