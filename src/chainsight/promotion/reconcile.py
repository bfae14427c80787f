"""`chainsight watch-registry`: whoever moves the alias, the log, the aliases and serving agree.

A look is a few requests and can be cut short anywhere: what it has begun stands in the log and in
the Deployment, and the next look goes on. Two reconcilers do each other no harm.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from chainsight.errors import ChainsightError, PromotionError
from chainsight.promotion.aliases import observe, tidy
from chainsight.promotion.entry import Action
from chainsight.promotion.place import Place, author
from chainsight.promotion.rollout import Rollout, follow

AUDIT_SECONDS = 3600.0
"""How often the whole log is read anew, every seal checked."""
_HINT_SECONDS = 0.5
"""However many hints come, looks are so far apart."""
REVERTS: tuple[Action, ...] = ("reverted", "fell_back", "rollout_failed")

_logger = logging.getLogger("chainsight.promotion")


def say(event: str, **facts: object) -> None:
    """One line of the reconciler's log: `event=... key=value ...`."""
    words = [f"{key}={_quoted(value)}" for key, value in facts.items() if value is not None]
    _logger.info(" ".join([f"event={_quoted(event)}", *words]))


def _quoted(value: object) -> str:
    text = " ".join(str(value).split())
    return (
        text if text and " " not in text and '"' not in text else '"' + text.replace('"', "'") + '"'
    )


@dataclass
class Health:
    """What the reconciler says of itself, to probes and to Prometheus."""

    started: float
    looked: float | None = None
    """When a look last ended well, by the monotonic clock."""
    went_round: float | None = None
    """When a look last ended."""
    entries: int = 0
    champion: int | None = None
    actions: Counter[str] = field(default_factory=Counter)
    """Log entries, by action."""
    failures: int = 0
    trouble: str = ""
    """Why the last look failed; empty after a good one."""
    broken: bool = False
    """Whether the chain of the log is broken."""


class Reconciler:
    """Looks at the log, the aliases and the Deployment, again and again."""

    def __init__(
        self,
        place: Place,
        rollout: Rollout | None = None,
        *,
        poll_seconds: float = 20.0,
        rollout_seconds: float = 1800.0,
        who: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place, self._rollout = place, rollout
        self.poll_seconds, self._rollout_seconds = poll_seconds, rollout_seconds
        self._who, self.clock = author(who), clock
        self._wake, self._stop = threading.Event(), threading.Event()
        self._audited: float | None = None
        self.health = Health(started=clock())

    @property
    def verifying(self) -> bool:
        """Whether the look under way reads a model's files, which may take minutes."""
        return self._place.verifying

    def run(self) -> None:
        """Look every `poll_seconds`, or when woken, until `stop`; troubles are said and retried."""
        while not self._stop.is_set():
            self.attempt()
            self._wake.wait(self.poll_seconds)
            self._wake.clear()
            self._stop.wait(_HINT_SECONDS)

    def wake(self) -> None:
        """Look now: something may have changed."""
        self._wake.set()

    def stop(self) -> None:
        """End `run` after the look under way."""
        self._stop.set()
        self._wake.set()

    def attempt(self) -> bool:
        """One look; whether it went well. With a service away it says so and changes nothing."""
        try:
            self.look()
        except (ChainsightError, OSError) as error:  # OSError: a disk, a mounted store
            self.health.failures += 1
            self.health.trouble = str(error)
            say("look failed", kind=type(error).__name__, why=error)
        else:
            if self.health.trouble:
                say("look went well again")
            self.health.trouble, self.health.looked = "", self.clock()
        self.health.went_round = self.clock()
        return not self.health.trouble

    def look(self) -> None:
        """Compare once, and mend what differs.

        Raises:
            PromotionError: the log is damaged.
            StoreError, TrackingError, LaunchError: they do not answer or refuse.
        """
        self._audit()
        snapshot = observe(self._place, who=self._who, by="reconciler")
        tidy(self._place, snapshot)
        self._note()
        if self._rollout is not None:
            follow(
                self._place, self._rollout, seconds=self._rollout_seconds, who=self._who, say=say
            )
            self._note()

    def _audit(self) -> None:
        """Check every seal, now and then: a tampered log stops promotions."""
        due = self._audited is None or self.clock() - self._audited > AUDIT_SECONDS
        if due or self.health.broken:
            entries, problems = self._place.log.audit()
            self.health.broken = bool(problems)
            if self._audited is None and not problems:  # counted, but told by another before
                self.health.actions.update(entry.action for entry in entries)
                self.health.entries = len(entries)
            self._audited = self.clock()
            if problems:
                raise PromotionError("; ".join(problems))

    def _note(self) -> None:
        """Say and count what has come into the log, whoever wrote it."""
        snapshot = self._place.log.snapshot()
        last = snapshot.head.number if snapshot.head else 0
        for number in range(self.health.entries + 1, last + 1):
            entry = self._place.log.entry(number)
            self.health.actions[entry.action] += 1
            if entry.from_version != entry.to_version or entry.action in REVERTS:
                say(
                    entry.action,
                    entry=number,
                    model=entry.model,
                    from_version=entry.from_version,
                    to_version=entry.to_version,
                    who=entry.who,
                    by=entry.by,
                    why=entry.why,
                )
        self.health.entries, self.health.champion = last, snapshot.champion


def metrics(health: Health, model: str, now: float) -> str:
    """The reconciler's figures in Prometheus' text format."""
    label = f'{{model="{model}"}}'
    promotions = sum(health.actions[a] for a in ("promoted", "adopted"))
    reverts = sum(health.actions[a] for a in REVERTS)
    looked = health.started if health.looked is None else health.looked
    lines = [
        ("promotions_total", "counter", "Versions that became champion.", promotions),
        ("reverts_total", "counter", "Champions that were taken back by the reconciler.", reverts),
        ("rollbacks_total", "counter", "Rollbacks by people.", health.actions["rolled_back"]),
        ("refusals_total", "counter", "Promotions that were refused.", health.actions["refused"]),
        ("log_entries", "gauge", "Entries in the promotion log.", health.entries),
        ("log_broken", "gauge", "1 if the log's chain is broken.", int(health.broken)),
        ("champion_version", "gauge", "The champion; 0 if there is none.", health.champion or 0),
        ("look_failures_total", "counter", "Looks that failed.", health.failures),
        ("last_look_seconds", "gauge", "Since the last look that went well.", now - looked),
    ]
    return "".join(
        f"# HELP chainsight_{name} {text}\n# TYPE chainsight_{name} {kind}\n"
        f"chainsight_{name}{label} {value:g}\n"
        for name, kind, text, value in lines
    )
