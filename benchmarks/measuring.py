"""Contenders that do the same work by turns: what they found, counted and took."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.counters import Counts, counting

OURS = "ours"


def nothing() -> None:
    """Of a contender that needs no preparation."""


@dataclass(frozen=True)
class Contender:
    """One way to do a case's work."""

    name: str
    run: Callable[[], Any]
    """What is timed; returns what is compared."""
    ready: Callable[[], None] = nothing
    """Called before each run, not timed."""


@dataclass(frozen=True)
class Case:
    """The same work, done by ours and by others."""

    name: str
    title: str
    contenders: tuple[Contender, ...]
    """Ours first."""
    models: tuple[Any, ...]
    """All that run, without adapters around them."""
    apart: Callable[[Any, Any], float]
    """Relative difference of what two contenders returned."""
    bound: float
    """The most that it may be."""
    goal: float | None = None
    """How many times as fast as the first of the others ours is to be."""
    gradient: Callable[[], torch.Tensor] | None = None
    """What the last run left, on the CPU."""
    processor: Any = None
    """The image processor, if the case has it run."""
    useful_flops: float | None = None
    """Of the work without anything done twice; for utilisation."""
    once: frozenset[str] = frozenset()
    """Contenders that are run in the first round alone, to save time."""


@dataclass
class Took:
    """What one contender took."""

    seconds: list[float] = field(default_factory=list)
    backbone_seconds: list[float] = field(default_factory=list)
    """The share of them in the decoder stack's forward passes."""
    counts: Counts = field(default_factory=Counts)
    peak_bytes: int = 0
    """CUDA memory beyond what was there before."""
    apart: float = 0.0
    """From ours: what was returned."""
    gradient_apart: float | None = None
    refused: str = ""
    """Why it did not run."""

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Result:
    """A case when all have run."""

    case: Case
    """Without what holds models."""
    took: Mapping[str, Took]
    where: str
    """Where ours spends its time; asked for only where the goal is missed."""

    def ratio(self, peer: str) -> tuple[float, float, float] | None:
        """Median, lowest and highest of the rounds' ratios; None if either did not run."""
        ours, theirs = self.took[OURS].seconds, self.took[peer].seconds
        if not ours or not theirs:
            return None
        each = [t / o for o, t in zip(ours, theirs, strict=False)]
        return self.took[peer].median / self.took[OURS].median, min(each), max(each)

    @property
    def peers(self) -> list[str]:
        return [name for name in self.took if name != OURS]

    @property
    def agrees(self) -> bool:
        """Whether all found the same."""
        return all(one.apart <= self.case.bound for one in self.took.values())

    def as_json(self) -> dict[str, Any]:
        """For the file."""
        return {
            "case": self.case.name,
            "title": self.case.title,
            "goal": self.case.goal,
            "bound": self.case.bound,
            "agrees": self.agrees,
            "useful_flops": self.case.useful_flops,
            "where": self.where,
            "took": {
                name: asdict(one) | {"median": one.median if one.seconds else None}
                for name, one in self.took.items()
            },
            "ratios": {peer: self.ratio(peer) for peer in self.peers},
        }


class Clock:
    """Process time on a CPU, as others may share the machine; events on a GPU."""

    def __init__(self, device: str) -> None:
        self.cuda = device != "cpu"

    def mark(self) -> Any:
        """A point in time."""
        if not self.cuda:
            return time.process_time()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, start: Any, stop: Any) -> float:
        """Between two points."""
        if not self.cuda:
            return float(stop - start)
        torch.cuda.synchronize()
        return float(start.elapsed_time(stop)) / 1000


LONG = 50.0
"""Seconds of timed runs after which two rounds of a case do."""


def measure(case: Case, clock: Clock, rounds: int, say: Callable[[str], None]) -> Result:
    """A first run of each that is compared and counted, then timed ones by turns."""
    took: dict[str, Took] = {}
    found: dict[str, Any] = {}
    gradients: dict[str, torch.Tensor] = {}
    for one in case.contenders:
        took[one.name] = Took()
        try:
            found[one.name] = _first(case, one, took[one.name], clock)
        except torch.OutOfMemoryError:
            took[one.name].refused = "does not fit"
        if case.gradient is not None and not took[one.name].refused:
            gradients[one.name] = case.gradient()
        _cleared(clock)
    for name, other in took.items():
        if name != OURS and name in found and OURS in found:
            other.apart = case.apart(found[OURS], found[name])
            if gradients:
                other.gradient_apart = relative(gradients[OURS], gradients[name])
    gradients.clear()
    _rounds(case, took, clock, rounds)
    where = _where(case, took)
    alone = replace(case, contenders=(), models=(), gradient=None, processor=None)  # frees models
    result = Result(alone, took, where)
    say(f"{case.name}: " + ", ".join(f"{n} {_spread(t)}" for n, t in took.items()))
    return result


def _rounds(case: Case, took: dict[str, Took], clock: Clock, rounds: int) -> None:
    for number in range(rounds):
        if number > 1 and sum(sum(one.seconds) for one in took.values()) > LONG:
            return
        for one in case.contenders:
            if not took[one.name].refused and (number == 0 or one.name not in case.once):
                _timed(case, one, took[one.name], clock)


def relative(one: torch.Tensor, other: torch.Tensor) -> float:
    """Distance of two vectors by the first one's length."""
    return float((one - other).norm() / one.norm().clamp(min=1e-30))


def _first(case: Case, one: Contender, took: Took, clock: Clock) -> Any:
    """Warms up, counts and measures memory."""
    one.ready()
    before = 0
    if clock.cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    with counting(*case.models, image_processor=case.processor) as took.counts:
        found = one.run()
    if clock.cuda:
        took.peak_bytes = torch.cuda.max_memory_allocated() - before
    return found


def _timed(case: Case, one: Contender, took: Took, clock: Clock) -> None:
    one.ready()
    _cleared(clock)
    with _backbone(case, clock) as marks:
        start = clock.mark()
        one.run()
        took.seconds.append(clock.seconds(start, clock.mark()))
    took.backbone_seconds.append(sum(clock.seconds(a, b) for a, b in marks))


def _cleared(clock: Clock) -> None:
    if clock.cuda:
        torch.cuda.empty_cache()


@contextmanager
def _backbone(case: Case, clock: Clock) -> Iterator[list[tuple[Any, Any]]]:
    """Start and end of each forward pass of the decoder stack."""
    marks: list[tuple[Any, Any]] = []
    begun: list[Any] = []
    hooks = []
    for model in case.models:
        part = model.model.language_model
        hooks += [
            part.register_forward_pre_hook(lambda *_: begun.append(clock.mark())),
            part.register_forward_hook(lambda *_: marks.append((begun.pop(), clock.mark()))),
        ]
    try:
        yield marks
    finally:
        for hook in hooks:
            hook.remove()


def _where(case: Case, took: Mapping[str, Took]) -> str:
    """The five operations that take most of ours, if it misses its goal."""
    names = list(took)
    if case.goal is None or len(names) < 2 or not (took[OURS].seconds and took[names[1]].seconds):
        return ""
    if took[names[1]].median / took[OURS].median >= case.goal:
        return ""
    ours = case.contenders[0]
    ours.ready()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        ours.run()
    table = sorted(found.key_averages(), key=lambda row: -row.self_cpu_time_total)
    total = sum(row.self_cpu_time_total for row in table)
    return ", ".join(f"{r.key} {r.self_cpu_time_total / total:.0%}" for r in table[:5])


def _spread(took: Took) -> str:
    if took.refused:
        return took.refused
    return f"{took.median:.2f} s ({min(took.seconds):.2f} to {max(took.seconds):.2f})"
