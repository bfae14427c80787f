"""How far an ablation is: bars on a terminal, elsewhere a line for each stage that ends."""

import json
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.progress import TaskID

from chainsight.ablation.execute import State, seconds_by_stage
from chainsight.ablation.plan import Node
from chainsight.progress import bars
from chainsight.report.parts import duration
from chainsight.runner import StageRun


class Progress:
    """Follows an execution (`execute.View`)."""

    def __init__(self, console: Console, state: State, jobs: int) -> None:
        self._console, self._state, self._jobs = console, state, jobs
        self._num_reused = 0
        self._bars = bars(console)
        self._all = self._bars.add_task(
            state.plan.config.name, total=len(state.plan.nodes), unit="stages"
        )
        self._own: dict[str, tuple[TaskID, Follower]] = {}

    def __enter__(self) -> "Progress":
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def reused(self, node: Node, run: StageRun) -> None:  # noqa: ARG002
        self._num_reused += 1
        self._bars.advance(self._all)

    def started(self, node: Node, events: Path) -> None:
        task = self._bars.add_task(self.title(node), total=None, unit="")
        self._own[node.id] = (task, Follower(events))

    def finished(self, node: Node, run: StageRun) -> None:
        self._ended(node, f"[green]✓[/] {self.title(node)}  {duration(run.seconds)}")

    def crashed(self, node: Node, why: str) -> None:
        self._bars.remove_task(self._own.pop(node.id)[0])
        self._console.print(f"[yellow]↻[/] {self.title(node)}: once more")
        self._console.print(why, highlight=False, markup=False, soft_wrap=True)

    def failed(self, node: Node, why: str) -> None:
        self._ended(node, f"[red]✗[/] {self.title(node)}")
        self._console.print(why, highlight=False, markup=False, soft_wrap=True)

    def tick(self) -> None:
        left = remaining(self._state, self._jobs)
        note = f"{self._num_reused} reused" + (f", about {duration(left)} left" if left else "")
        self._bars.update(self._all, note=note)
        for task, follower in self._own.values():
            follower.follow()
            self._bars.update(
                task, total=follower.total, completed=follower.done, unit=follower.unit
            )

    def _ended(self, node: Node, line: str) -> None:
        if node.id in self._own:  # some fail before they are started
            self._bars.remove_task(self._own.pop(node.id)[0])
        self._bars.advance(self._all)
        settled = len(self._state.done) + len(self._state.failed)
        self._console.print(
            f"{line}  [dim]{settled} of {len(self._state.plan.nodes)}[/]",
            highlight=False,
            soft_wrap=True,
        )

    def title(self, node: Node) -> str:
        """`dpo seed 1: both + DPO, 2 more`."""
        names = list(dict.fromkeys(row.name for row in self._state.plan.users(node.id)))
        more = f", {len(names) - 1} more" if len(names) > 1 else ""
        return f"{node.stage.name} seed {node.run.seed}: {names[0]}{more}"


class Follower:
    """How far a stage in another process is, by its file of events."""

    def __init__(self, path: Path) -> None:
        self._path, self._at = path, 0
        self.total: int | None = None
        self.done, self.unit = 0, ""

    def follow(self) -> None:
        """Read what is new."""
        if not self._path.exists():
            return
        with self._path.open(encoding="utf-8") as file:
            file.seek(self._at)
            while (line := file.readline()).endswith("\n"):
                self._at = file.tell()
                event = json.loads(line)
                self.total = event.get("total", self.total) if event["event"] != "end" else None
                self.done = event.get("done", self.done)
                self.unit = event.get("unit", self.unit)


def remaining(state: State, jobs: int) -> float | None:
    """Seconds that are left, by the mean of each stage so far; None: a stage is still unknown."""
    known = seconds_by_stage(state.done)
    running = [state.plan.nodes[node] for node in state.running]
    stages = Counter(node.stage.name for node in [*state.rest, *running])
    if not stages or not set(stages) <= set(known):
        return None
    return sum(known[stage] * count for stage, count in stages.items()) / jobs
