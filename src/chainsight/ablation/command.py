"""`chainsight ablate`: settings of one pipeline compared, with what they share made once."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainsight.errors import ChainsightError
from chainsight.options import AsJson, Settings, err, out, overrides, print_json

if TYPE_CHECKING:
    from chainsight.ablation.execute import State


def ablate(
    config: Annotated[
        Path,
        typer.Argument(help="Ablation (YAML), as configs/ablations.yaml.", metavar="CONFIG"),
    ],
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Stages at a time; default: as many as cores, 1 where there is a GPU."
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(help="Check all settings and claims, say what would be done; do nothing."),
    ] = False,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Compare settings of the pipeline over several seeds; finished work is reused.

    Writes ablation.json and ablation.html into the report folder, and a child run of MLflow for
    each setting and seed. Stopped or failed, the same command goes on from there.
    """
    from chainsight.ablation import show
    from chainsight.ablation.execute import survey
    from chainsight.ablation.plan import plan
    from chainsight.config.ablate import load_ablation

    state = survey(plan(*load_ablation(config, overrides(settings))))
    if dry_run:
        return print_json(show.planned(state)) if as_json else show.show_plan(out, state)
    try:
        found = _run(state, jobs or default_jobs())
    except KeyboardInterrupt:
        err.print("stopped; finished work is kept, and the same command goes on from there")
        raise typer.Exit(130) from None  # as shells say of ctrl-c
    if as_json:
        print_json(found)
    else:
        show.show_table(out, found)
        show.show_claims(out, found)
        out.print(f"report      {state.plan.folder() / 'ablation.html'}", soft_wrap=True)
    if state.failed:
        raise ChainsightError(_lost(state))
    return None


def _run(state: "State", jobs: int) -> dict[str, Any]:
    """Do what is left, write what was found, in whole or in part, and record it in MLflow."""
    from chainsight.ablation.execute import execute
    from chainsight.ablation.page import build
    from chainsight.ablation.results import collect, write
    from chainsight.ablation.track import record, tracked
    from chainsight.ablation.view import Progress
    from chainsight.ablation.work import processes

    with tracked(state.plan) as parent:
        try:
            with Progress(err, state, jobs) as view:
                execute(state, jobs, processes(_cores() // jobs or 1), view)
        finally:
            found = collect(state)
            folder = state.plan.folder()
            write(found, folder)
            (folder / "ablation.html").write_text(build(found), encoding="utf-8")
        record(parent, state, found, folder)
    return found


def _lost(state: "State") -> str:
    rows: dict[str, list[int]] = {}
    for row, _ in state.lost_rows():
        rows.setdefault(row.name, []).append(row.seed)
    lines = [f"  {name}: seeds {', '.join(map(str, seeds))}" for name, seeds in rows.items()]
    return (
        f"{len(state.failed)} stage(s) failed; without a result are\n"
        + "\n".join(lines)
        + "\nThe same command tries them again; all else is kept."
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def default_jobs() -> int:
    """As many as cores; one where a GPU would have to be shared."""
    return 1 if Path("/dev/nvidia0").exists() else _cores()
