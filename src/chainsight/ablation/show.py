"""What `chainsight ablate` says: the plan before, the table and the verdicts after."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from chainsight.ablation import table
from chainsight.ablation.execute import State
from chainsight.ablation.plan import Plan
from chainsight.console import MODE_TITLES
from chainsight.scoring import ALL


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
    console.print(_plan_title(told), highlight=False, markup=False)
    drawn = Table()
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


OUTCOMES = {"yes": "[green]yes[/]", "no": "[red]no[/]", "open": "[yellow]open[/]"}


def show_claims(console: Console, found: Mapping[str, Any]) -> None:
    """Each claim, and whether it is reproduced."""
    if not found["claims"]:
        return
    drawn = Table(title="Claims", title_justify="left")
    for name in ("claim", "reproduced", "why"):
        drawn.add_column(name)
    for claim in found["claims"]:
        drawn.add_row(escape(claim["name"]), OUTCOMES[claim["reproduced"]], escape(claim["words"]))
    console.print(drawn)


def show_table(console: Console, found: Mapping[str, Any]) -> None:
    """Mean and spread over seeds, a row a setting; a table a dataset where there are several."""
    for dataset in table.datasets(found):
        console.print(_table(found, dataset))


def _table(found: Mapping[str, Any], dataset: str) -> Table:
    title = "mean over the datasets" if dataset == ALL else dataset
    modes = table.modes(found)
    drawn = Table(
        title=f"{title}: accuracy, % (mean ± standard deviation over seeds), and differences in "
        "points (95 % interval over seeds and questions)",
        title_justify="left",
    )
    drawn.add_column("setting")
    for mode in modes:
        drawn.add_column(MODE_TITLES[mode], justify="right")
        drawn.add_column(f"against {escape(found['baseline'])}", justify="right", style="dim")
    drawn.add_column("seeds", justify="right")
    for setting in found["settings"]:
        cells = []
        for mode in modes:
            cells += [
                percent(table.cell(setting, mode, dataset)),
                points(table.against(setting, mode, dataset)),
            ]
        drawn.add_row(escape(setting["name"]), *cells, str(len(setting["seeds"])))
    return drawn


def percent(cell: table.Cell | None) -> str:
    """`61.2 ± 1.3`."""
    if cell is None:
        return "-"
    mean = f"{100 * cell.mean:.1f}"
    return mean if cell.spread is None else f"{mean} ± {100 * cell.spread:.1f}"


def points(difference: Mapping[str, Any] | None) -> str:
    """`+3.1 (+1.0 to +5.2)`: points, with the interval over seeds and questions."""
    if difference is None:
        return ""
    low, high = 100 * difference["low"], 100 * difference["high"]
    return f"{100 * difference['difference']:+.1f} ({low:+.1f} to {high:+.1f})"
