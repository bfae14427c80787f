"""What to change so that a stage fits a GPU, from the cheapest change to the dearest."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from chainsight.config import RunConfig
from chainsight.planner.memory import Need, Processes, need
from chainsight.planner.shapes import Shape

MOST = 64
"""The bound of `platform.gpus` and `platform.nodes`."""


@dataclass(frozen=True)
class Plan:
    """A stage on so many GPUs of one kind."""

    stage: str
    shape: Shape
    config: RunConfig
    processes: Processes

    @property
    def usual(self) -> Need:
        """For rows of the usual size."""
        return need(self.stage, self.shape, self.config, self.processes)

    @property
    def longest(self) -> Need:
        """For the longest rows."""
        return need(self.stage, self.shape, self.config, self.processes, longest=True)

    def fits(self, memory_bytes: int) -> bool:
        """Whether the longest rows do, too."""
        return self.longest.total <= memory_bytes


@dataclass(frozen=True)
class Change:
    """One setting, changed."""

    section: str
    key: str
    value: Any

    @property
    def setting(self) -> str:
        """As it is written in a configuration."""
        value = str(self.value).lower() if isinstance(self.value, bool) else self.value
        return f"{self.section}.{self.key}: {value}"

    def applied(self, plan: Plan) -> Plan:
        """The plan with it."""
        before = getattr(plan.config, self.section)
        after = before.model_copy(update={self.key: self.value})
        config = plan.config.model_copy(update={self.section: after})
        return replace(plan, config=config, processes=self._processes(before, plan.processes))

    def _processes(self, before: Any, found: Processes) -> Processes:
        if self.section != "platform":
            return found
        if self.key == "parallel":
            return replace(found, parallel=self.value)
        return replace(found, number=found.number * self.value // getattr(before, self.key))


def advice(plan: Plan, memory_bytes: int) -> list[tuple[Change, Need]]:
    """The cheapest changes until the longest rows fit, with the need of these after each.

    All there are if that is not enough. First what costs time alone, then what gives other
    weights, then GPUs, at last rows; what turns out not to be needed is left out again.
    """
    made: list[Change] = []
    for change in _changes(plan):
        made = [one for one in made if (one.section, one.key) != (change.section, change.key)]
        made.append(change)
        if _with(plan, made).fits(memory_bytes):
            return _told(plan, _pruned(plan, made, memory_bytes))
    return _told(plan, made)


def _with(plan: Plan, changes: Iterable[Change]) -> Plan:
    return reduce(lambda found, change: change.applied(found), changes, plan)


def _pruned(plan: Plan, changes: Sequence[Change], memory_bytes: int) -> list[Change]:
    kept = list(changes)
    for change in changes[:-1]:
        others = [one for one in kept if one is not change]
        if _with(plan, others).fits(memory_bytes):
            kept = others
    return kept


def _told(plan: Plan, changes: Sequence[Change]) -> list[tuple[Change, Need]]:
    return [(one, _with(plan, changes[: n + 1]).longest) for n, one in enumerate(changes)]


# --- changes, in order of cost ---------------------------------------------------------------


def _changes(plan: Plan) -> Iterator[Change]:
    if plan.stage in ("sft", "dpo"):
        yield from _of_training(plan)
    else:
        yield from _of_decoding(plan)


def _of_training(plan: Plan) -> Iterator[Change]:
    stage, section = plan.stage, getattr(plan.config, plan.stage)
    yield from _halved(stage, "device_batch_size", section.device_batch_size, 1)  # the same result
    if not plan.config.model.gradient_checkpointing:  # the same, for one more forward pass
        yield Change("model", "gradient_checkpointing", value=True)
    if plan.processes.number > plan.processes.pieces:  # the same, for more traffic
        yield Change("platform", "parallel", "fsdp")
    if plan.config.model.dtype == "float32":
        yield Change("model", "dtype", "bfloat16")
    if section.tuning == "full":
        yield Change(stage, "tuning", "lora")
    yield from _more_gpus(plan, section.batch_size)
    if stage == "sft":  # longer rows are dropped
        yield from _halved(stage, "max_length", section.max_length, 1024)


def _of_decoding(plan: Plan) -> Iterator[Change]:
    stage, section = plan.stage, getattr(plan.config, plan.stage)
    yield from _halved(stage, "batch_size", section.batch_size, 1)  # the same answers
    if plan.config.model.dtype == "float32":
        yield Change("model", "dtype", "bfloat16")
    yield from _halved(stage, "max_new_tokens", section.max_new_tokens, 128)  # longer ones are cut


def _halved(section: str, key: str, value: int, least: int) -> Iterator[Change]:
    while value // 2 >= least and value % 2 == 0:
        value //= 2
        yield Change(section, key, value)


def _more_gpus(plan: Plan, batch_size: int) -> Iterator[Change]:
    """Doubled as long as a batch gives each a row."""
    platform, number = plan.config.platform, plan.processes.number
    if platform.processes is not None:
        return
    key = "nodes" if platform.launcher == "trainjob" else "gpus"
    value: int = getattr(platform, key)
    while 2 * value <= MOST and batch_size % (2 * number) == 0:
        number, value = 2 * number, 2 * value
        yield Change("platform", key, value)
