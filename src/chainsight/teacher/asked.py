"""What came of asking, counted: of one execution alone, as the ledger has the answers of all."""

from dataclasses import astuple, dataclass

TOLD = (
    "num_asked",
    "num_sent",
    "num_retried",
    "num_limited",
    "num_hung",
    "num_maybe_paid",
    "num_batches",
    "num_adopted",
)
"""What the stage's metrics tell; how many questions have no answer, they tell by its reason."""


@dataclass
class Asked:
    """What came of asking, one by one or by batches."""

    num_asked: int = 0
    """Answers that came and were recorded, those that say "never" among them."""
    num_failed: int = 0
    """Questions without an answer."""
    num_unanswerable: int = 0
    """Answers that say that the teacher will never take the request."""
    num_sent: int = 0
    """Tries, one by one."""
    num_retried: int = 0
    """Tries after the first; by batches, questions that were put into one more."""
    num_limited: int = 0
    """Tries that were answered HTTP 429."""
    num_hung: int = 0
    """Tries that were cut for their silence."""
    num_maybe_paid: int = 0
    """Tries without an answer that may have been billed."""
    num_batches: int = 0
    """Created here."""
    num_adopted: int = 0
    """Batches that were found, as an earlier or another run had created them."""

    def __add__(self, other: "Asked") -> "Asked":
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Asked(*(one + another for one, another in pairs))

    def metrics(self) -> dict[str, float]:
        """For the stage's metrics."""
        return {name: float(getattr(self, name)) for name in TOLD}
