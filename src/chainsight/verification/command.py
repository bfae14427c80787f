"""The command `chainsight verify`."""

from typing import Annotated

import typer

from chainsight.options import AsJson, ConfigPath, Settings, configuration, out, print_json


def verify(
    config: ConfigPath,
    model: Annotated[
        str | None,
        typer.Option(help="A registered version: models:/NAME@ALIAS, or NAME/3; default: the run."),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(help="Manifest or store URI; default: what the model was trained from."),
    ] = None,
    aligned: Annotated[str | None, typer.Option(help="Manifest or store URI.")] = None,
    benchmarks: Annotated[str | None, typer.Option(help="Manifest or store URI.")] = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Let the aligned model judge its own answers: best-of-N and voting against greedy."""
    from chainsight.verification.show import show
    from chainsight.verification.work import verify as work

    given = {"policy": policy, "aligned": aligned, "benchmarks": benchmarks}
    inputs = {kind: uri for kind, uri in given.items() if uri}
    found, page = work(configuration(config, settings), model, inputs)
    if as_json:
        print_json(found | {"page": str(page)})
    else:
        show(out, found, page)
