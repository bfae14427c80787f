"""`chainsight promote | rollback | history | diff | watch-registry`."""

import json
import logging
import os
import signal
from contextlib import nullcontext
from dataclasses import asdict
from types import FrameType
from typing import Annotated, Any

import typer

from chainsight.options import AsJson, ConfigPath, Settings, configuration, err, out, print_json

By = Annotated[
    str | None,
    typer.Option(
        help="Who promotes; default: CHAINSIGHT_USER, MLFLOW_TRACKING_USERNAME, user@host."
    ),
]
Why = Annotated[str, typer.Option(help="The reason; it is kept in the log.")]


def promote(
    config: ConfigPath,
    version: Annotated[int | None, typer.Option(min=1, help="Number of the candidate.")] = None,
    alias: Annotated[str, typer.Option(help="Alias of the candidate.")] = "challenger",
    why: Why = "",
    by: By = None,
    force: Annotated[
        bool, typer.Option("--force", help="Past the gate, with --why; never past the files.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say the verdict; do nothing.")
    ] = False,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Make a version that passed its gate the champion; exit code 1 if it is refused."""
    from chainsight.promotion import open_place
    from chainsight.promotion import promote as make_champion

    place = open_place(configuration(config, settings))
    outcome = make_champion(
        place, version=version, alias=alias, why=why, who=by, force=force, dry_run=dry_run
    )
    _tell(outcome, as_json)


def rollback(
    config: ConfigPath,
    to: Annotated[
        int | None, typer.Option(min=1, help="A former champion; default: the one before.")
    ] = None,
    why: Why = "",
    by: By = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Make the champion before this one champion again; twice leads to the one before that."""
    from chainsight.promotion import open_place
    from chainsight.promotion import rollback as go_back

    outcome = go_back(open_place(configuration(config, settings)), to=to, why=why, who=by)
    _tell(outcome, as_json)


def _tell(outcome: Any, as_json: bool) -> None:
    entry = outcome.entry
    if as_json:
        line = None if entry is None else json.loads(entry.to_json())
        print_json({"done": outcome.done, "text": outcome.text, "entry": line})
    else:
        out.print(outcome.text, highlight=False, markup=False, soft_wrap=True)
        if entry is not None:
            out.print(f"entry {entry.number} of the log of {entry.model}", highlight=False)
    if not outcome.done:
        raise typer.Exit(1)


def history(config: ConfigPath, settings: Settings = None, as_json: AsJson = False) -> None:
    """Who was champion, since when, by whom and why; exit code 1 if the log is damaged."""
    from chainsight.promotion import open_place
    from chainsight.promotion.history import disagreements
    from chainsight.promotion.show import show_history

    place = open_place(configuration(config, settings))
    entries, problems = place.log.audit()
    notes = [] if problems else disagreements(place)
    if as_json:
        listed = [json.loads(entry.to_json()) for entry in entries]
        print_json({"model": place.model, "entries": listed, "damage": problems, "notes": notes})
    else:
        show_history(out, place.model, entries, [*problems, *notes])
    if problems:
        raise typer.Exit(1)


def diff(
    config: ConfigPath,
    before: Annotated[str, typer.Argument(metavar="A", help="3, champion, models:/NAME/3")],
    after: Annotated[str, typer.Argument(metavar="B", help="4, challenger, models:/NAME/4")],
    limit: Annotated[int, typer.Option(min=0, help="Answers to show, won and lost.")] = 5,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Compare two versions: scores, answers that changed, settings, what the gate says."""
    from chainsight.promotion import open_place
    from chainsight.promotion.diff import compare, named
    from chainsight.promotion.entry import finite
    from chainsight.promotion.show import show_comparison

    place = open_place(configuration(config, settings))
    found = compare(place, named(place, before), named(place, after))
    if as_json:
        body = asdict(found)
        counts = {"num_won": len(found.won), "num_lost": len(found.lost)}
        body |= {"won": body["won"][:limit], "lost": body["lost"][:limit], **counts}
        print_json(finite(body))
    else:
        show_comparison(out, found, limit)


def watch_registry(
    config: ConfigPath,
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
    hook_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of /hook, /healthz and /metrics.")
    ] = None,
    settings: Settings = None,
) -> None:
    """Keep log, aliases and serving in agreement, whoever moves the alias in MLflow."""
    from chainsight.promotion import Reconciler, open_place
    from chainsight.promotion.hook import SECRET_VARIABLE, hook_server

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("chainsight.promotion").setLevel(logging.INFO)
    resolved = configuration(config, settings)
    section = resolved.promotion
    place = open_place(resolved)
    reconciler = Reconciler(
        place,
        _deployment(section.deployment, place.model),
        poll_seconds=section.poll_seconds,
        rollout_seconds=section.rollout_seconds,
    )
    if once:
        reconciler.look()
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: _end(reconciler, _number, _frame))
    secret = os.environ.get(SECRET_VARIABLE)
    port = (
        nullcontext()
        if hook_port is None
        else hook_server(reconciler, place.model, port=hook_port, secret=secret)
    )
    with port as address:
        err.print(
            f"watching {place.model} every {section.poll_seconds:g} s"
            + (f", {address}/metrics" if address else ""),
            highlight=False,
            soft_wrap=True,
        )
        reconciler.run()


def _end(reconciler: Any, _number: int, _frame: FrameType | None) -> None:
    reconciler.stop()


def _deployment(name: str | None, model: str) -> Any:
    if name is None:
        return None
    from chainsight.launch.deployment import Deployment

    return Deployment.connect(name, model)
