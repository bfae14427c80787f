"""What `chainsight ablate` says: the plan, how far it is, the table."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from chainsight.ablation import table
from chainsight.ablation.execute import State, seconds_by_stage
from chainsight.ablation.plan import Node, Plan
from chainsight.console import MODE_TITLES
from chainsight.report.plots import duration
from chainsight.runner import StageRun
from chainsight.scoring import ALL


class Lines:
    """Follows an execution: a line for each node that ends."""

    def __init__(self, console: Console, state: State, jobs: int) -> None:
        self._console, self._state, self._jobs = console, state, jobs
        self._num_reused = 0

    def reused(self, node: Node, run: StageRun) -> None:  # noqa: ARG002
        self._num_reused += 1

    def started(self, node: Node, events: Path) -> None:  # noqa: ARG002
        return None

    def finished(self, node: Node, run: StageRun) -> None:
        self._say(f"[green]✓[/] {self._title(node)} {run.seconds:.0f} s")

    def failed(self, node: Node, why: str) -> None:
        self._say(f"[red]✗[/] {self._title(node)}")
        self._console.print(why, highlight=False, markup=False, soft_wrap=True)

    def tick(self) -> None:
        return None

    def _title(self, node: Node) -> str:
        names = list(dict.fromkeys(row.name for row in self._state.plan.users(node.id)))
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        return f"{node.stage.name:<8} seed {node.run.seed}  [dim]{names[0]}{more}[/]"

    def _say(self, line: str) -> None:
        state = self._state
        count = f"{len(state.done)}/{len(state.plan.nodes)}"
        left = remaining(state, self._jobs)
        words = f", about {duration(left)} left" if left else ""
        self._console.print(
            f"{line}  [dim]({count}, {self._num_reused} reused{words})[/]",
            highlight=False,
            soft_wrap=True,
        )


def remaining(state: State, jobs: int) -> float | None:
    """Seconds that are left, by the mean of each stage so far; None: a stage is still unknown."""
    known = seconds_by_stage(state.done)
    rest = [node for node in state.plan.nodes.values() if node.id in state.running]
    stages = Counter(node.stage.name for node in [*state.rest, *rest])
    if not stages or not set(stages) <= set(known):
        return None
    return sum(known[stage] * count for stage, count in stages.items()) / jobs


def planned(state: State) -> dict[str, Any]:
    """What a plan would do, for machines."""
    plan = state.plan
    stages = Counter(node.stage.name for node in plan.nodes.values())
    found = Counter(plan.nodes[node].stage.name for node in state.done)
    return {
        "name": plan.config.name,
        "settings": list(plan.config.rows()),
        "seeds": list(plan.config.seeds),
        "stages": {s: {"nodes": n, "found": found.get(s, 0)} for s, n in stages.items()},
        "nodes": len(plan.nodes),
        "found": len(state.done),
        "without_sharing": sum(len(row.steps) for row in plan.rows),
        "shared": shared(plan),
    }


def shared(plan: Plan) -> list[dict[str, Any]]:
    """Which settings share which stages, for the first seed; the others do likewise."""
    first = [row for row in plan.rows if row.seed == plan.config.seeds[0]]
    groups: dict[tuple[str, ...], list[str]] = {}
    for node in plan.nodes.values():
        users = tuple(row.name for row in first if node.id in row.steps.values())
        if len(users) > 1:
            groups.setdefault(users, []).append(node.stage.name)
    return [{"settings": list(users), "stages": names} for users, names in groups.items()]


def show_plan(console: Console, state: State) -> None:
    """The dry run: nodes by stage, those found, and what is shared."""
    told = planned(state)
    drawn = Table(title=_plan_title(told), title_justify="left")
    for name in ("stage", "nodes", "in the store", "to do"):
        drawn.add_column(name, justify="left" if name == "stage" else "right")
    for stage, count in told["stages"].items():
        todo = count["nodes"] - count["found"]
        drawn.add_row(stage, str(count["nodes"]), str(count["found"]), str(todo))
    console.print(drawn)
    for group in told["shared"]:
        who = "all" if len(group["settings"]) == len(told["settings"]) else None
        names = who or ", ".join(group["settings"])
        console.print(f"{', '.join(group['stages'])}: shared by {names}", highlight=False)


def _plan_title(told: Mapping[str, Any]) -> str:
    return (
        f"{told['name']}: {len(told['settings'])} settings x {len(told['seeds'])} seeds, "
        f"{told['nodes']} stages in place of {told['without_sharing']}"
    )


def show_table(console: Console, found: Mapping[str, Any]) -> None:
    """Mean and spread over seeds, a row a setting; a table a dataset where there are several."""
    for dataset in table.datasets(found):
        console.print(_table(found, dataset))


def _table(found: Mapping[str, Any], dataset: str) -> Table:
    title = "the mean over the datasets" if dataset == ALL else dataset
    drawn = Table(
        title=f"{title}: accuracy, % (mean ± standard deviation over seeds)", title_justify="left"
    )
    modes = table.modes(found)
    drawn.add_column("setting")
    for mode in modes:
        drawn.add_column(MODE_TITLES[mode], justify="right")
        drawn.add_column(f"against {found['baseline']}", justify="right", style="dim")
    drawn.add_column("seeds", justify="right")
    base = next(s for s in found["settings"] if s["name"] == found["baseline"])
    for setting in found["settings"]:
        cells = []
        for mode in modes:
            own = table.cell(setting, mode, dataset)
            against = table.difference(own, table.cell(base, mode, dataset))
            cells += [percent(own), "" if setting is base else percent(against, sign=True)]
        drawn.add_row(setting["name"], *cells, str(len(setting["seeds"])))
    return drawn


def percent(cell: table.Cell | None, *, sign: bool = False) -> str:
    """`61.2 ± 1.3`."""
    if cell is None:
        return "-"
    mean = f"{100 * cell.mean:+.1f}" if sign else f"{100 * cell.mean:.1f}"
    return mean if cell.spread is None else f"{mean} ± {100 * cell.spread:.1f}"
