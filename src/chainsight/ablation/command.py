"""`chainsight ablate`: settings of one pipeline compared, with what they share made once."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from chainsight.errors import ChainsightError
from chainsight.options import AsJson, Settings, err, out, overrides, print_json


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
    dry_run: Annotated[bool, typer.Option(help="Say what would be done; do nothing.")] = False,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Compare settings of the pipeline over several seeds; finished work is reused."""
    from chainsight.ablation import show
    from chainsight.ablation.execute import execute, survey
    from chainsight.ablation.plan import plan
    from chainsight.ablation.results import collect, write
    from chainsight.config.ablate import load_ablation

    state = survey(plan(*load_ablation(config, overrides(settings))))
    if dry_run:
        return print_json(show.planned(state)) if as_json else show.show_plan(out, state)
    at_once = jobs or default_jobs()
    try:
        execute(state, at_once, max(1, _cores() // at_once), show.Lines(err, state, at_once))
    except KeyboardInterrupt:
        err.print("stopped; finished work is kept, and the same command goes on from there")
        raise typer.Exit(130) from None  # as shells say of ctrl-c
    finally:
        found = collect(state)
        path = write(found, state.plan.folder())
    if as_json:
        print_json(found)
    else:
        show.show_table(out, found)
        out.print(f"results     {path}", highlight=False, soft_wrap=True)
    if state.failed:
        raise ChainsightError(_lost(state))
    return None


def _lost(state: Any) -> str:
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
