"""A plan on this machine: nodes in processes side by side, each as soon as it can.

What the store has is reused. A failure stops what depends on it and nothing else; the same command
goes on from there, as it does after a kill. A process that a signal killed (a segmentation fault in
a library, the kernel's killer when memory is short) is started once more, as a cluster would.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Protocol

from chainsight.ablation import work
from chainsight.ablation.plan import Node, Plan, Row
from chainsight.errors import ChainsightError
from chainsight.job import Job, job
from chainsight.runner import StageRun, find
from chainsight.store import Store, open_store

TICK_SECONDS = 0.5


class View(Protocol):
    """Who is told what happens."""

    def reused(self, node: Node, run: StageRun) -> None: ...
    def started(self, node: Node, events: Path) -> None: ...
    def finished(self, node: Node, run: StageRun) -> None: ...
    def crashed(self, node: Node, why: str) -> None: ...
    def failed(self, node: Node, why: str) -> None: ...
    def tick(self) -> None: ...


@dataclass
class State:
    """How far a plan is."""

    plan: Plan
    store: Store
    done: dict[str, StageRun] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """Nodes that were tried, and why they failed."""
    crashed: set[str] = field(default_factory=set)
    """Nodes whose first process was killed by a signal; they are tried once more."""
    lost: dict[str, str] = field(default_factory=dict)
    """Nodes that cannot be tried, and the failed node that they depend on."""
    running: dict[str, tuple[str, work.Worker]] = field(default_factory=dict)
    """Nodes at work, with their stage keys."""
    _jobs: dict[str, Job] = field(default_factory=dict)

    def job(self, node: Node) -> Job:
        """A node's job; the nodes before it are done."""
        if node.id not in self._jobs:  # its key may hash a base model: once is enough
            self._jobs[node.id] = job(
                node.stage.name,
                node.config,
                run=node.run,
                model=node.model,
                inputs=self.inputs(node),
                store=self.store,
            )
        return self._jobs[node.id]

    def inputs(self, node: Node) -> dict[str, str]:
        """Store URIs of what a node reads, by input kind."""
        made = {kind: self.done[ref.node].outputs[ref.kind] for kind, ref in node.parents.items()}
        return {kind: self.store.artifact_uri(m.kind, m.key) for kind, m in made.items()}

    @property
    def rest(self) -> list[Node]:
        """Nodes that are still to be started, in the plan's order."""
        settled = {**self.done, **self.failed, **self.lost, **self.running}
        return [node for node in self.plan.nodes.values() if node.id not in settled]

    def lost_rows(self) -> list[tuple[Row, str]]:
        """Settings that have no result, each with the failed node that it needs."""
        broken = {**self.lost, **{node: node for node in self.failed}}
        found = []
        for row in self.plan.rows:
            cause = next((broken[node] for node in row.steps.values() if node in broken), None)
            if cause:
                found.append((row, cause))
        return found


def survey(plan: Plan) -> State:
    """What of a plan the store has already, without doing anything."""
    state = State(plan, open_store(plan.run.store_uri(), Path(plan.run.home) / "cache"))
    for node in plan.nodes.values():
        if all(ref.node in state.done for ref in node.parents.values()):
            # a node whose base model, say, is not there fails when it is tried, and says why
            with suppress(ChainsightError):
                if found := find(state.job(node)):
                    state.done[node.id] = found
    return state


def execute(state: State, jobs: int, start: work.Start, view: View) -> None:
    """Do what is left of a plan, `jobs` nodes at a time; `start` gives each a worker."""
    for node_id, run in state.done.items():
        view.reused(state.plan.nodes[node_id], run)
    (state.plan.folder() / "nodes").mkdir(parents=True, exist_ok=True)
    with _stopped(state):
        while state.rest or state.running:
            _start(state, jobs, start, view)
            if state.running:
                wait([worker.sentinel for _, worker in state.running.values()], TICK_SECONDS)
            _collect(state, view)
            view.tick()


def _start(state: State, jobs: int, start: work.Start, view: View) -> None:
    """Start what can start; what turns out to be there already frees more."""
    for node in state.rest:
        above = {ref.node for ref in node.parents.values()}
        if broken := next((n for n in above if n in state.failed or n in state.lost), None):
            state.lost[node.id] = state.lost.get(broken, broken)
        elif len(state.running) < jobs and above <= state.done.keys():
            _try(node, state, start, view)


def _try(node: Node, state: State, start: work.Start, view: View) -> None:
    try:
        key, found = state.job(node).key, find(state.job(node))
    except ChainsightError as error:  # a base model that is not there, a damaged artifact
        _fail(node, str(error), state, view)
        return
    if key in {other for other, _ in state.running.values()}:
        return  # another node does the same work on equal content: its result will be found
    if found:
        state.done[node.id] = found
        view.reused(node, found)
        return
    order = work.Order(
        node.stage.name,
        node.config.model_dump(mode="json", by_alias=True),
        node.run.model_dump(mode="json"),
        node.model.model_dump(mode="json"),
        state.inputs(node),
    )
    place = state.plan.folder() / "nodes" / f"{node.stage.name}-{node.id}"
    state.running[node.id] = (key, start(order, place))
    view.started(node, place.with_suffix(".events"))


def _collect(state: State, view: View) -> None:
    for node_id, (_, worker) in list(state.running.items()):
        if not worker.has_ended():
            continue
        del state.running[node_id]
        node = state.plan.nodes[node_id]
        why = worker.failure()
        if why and worker.crashed and node_id not in state.crashed:
            state.crashed.add(node_id)
            view.crashed(node, why)
            continue
        found = None if why else find(state.job(node))
        if found:
            state.done[node_id] = found
            view.finished(node, found)
        else:
            _fail(node, why or "its artifacts are not in the store", state, view)


def _fail(node: Node, why: str, state: State, view: View) -> None:
    state.failed[node.id] = why
    view.failed(node, why)


@contextmanager
def _stopped(state: State) -> Iterator[None]:
    """Leave no worker behind, whatever happens."""
    try:
        yield
    finally:
        for _, worker in state.running.values():
            worker.stop()
        state.running.clear()


def seconds_by_stage(done: Mapping[str, StageRun]) -> dict[str, float]:
    """Mean wall time of the executions of each stage."""
    times: dict[str, list[float]] = {}
    for run in done.values():
        times.setdefault(run.stage, []).append(run.seconds)
    return {stage: sum(values) / len(values) for stage, values in times.items()}
