"""Checks side by side: the slowest decides how long the doctor takes, and a limit cuts it."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from chainsight.doctor.check import Check, fail

DEADLINE_SECONDS = 45.0
"""Longer than any single call may take by its own time-outs."""


@dataclass(frozen=True)
class Probe:
    """One subject and what looks at it."""

    what: str
    look: Callable[[], Iterable[Check]]


def side_by_side(
    probes: Sequence[Probe], deadline_seconds: float = DEADLINE_SECONDS
) -> list[Check]:
    """The findings of all probes, in their order.

    The threads are daemons: one that hangs in a call of a library does not keep the process.
    """
    found: dict[int, list[Check]] = {}

    def look(number: int) -> None:
        found[number] = list(probes[number].look())

    threads = [
        threading.Thread(target=look, args=(number,), daemon=True, name=probe.what)
        for number, probe in enumerate(probes)
    ]
    for thread in threads:
        thread.start()
    until = time.monotonic() + deadline_seconds
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    checks: list[Check] = []
    for number, probe in enumerate(probes):
        if number in found:
            checks.extend(found[number])
        elif threads[number].is_alive():
            checks.append(_late(probe, deadline_seconds))
        else:
            raise RuntimeError(f"doctor: looking at {probe.what} broke; its traceback is above")
    return checks


def _late(probe: Probe, seconds: float) -> Check:
    return fail(
        probe.what,
        f"no answer within {seconds:g} s",
        "check the address, the network and its policies, then run the doctor again",
    )
