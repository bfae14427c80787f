"""The command `chainsight verify`."""

from typing import Annotated

import typer

from chainsight.options import AsJson, ConfigPath, Settings, configuration, out, print_json


def verify(
    config: ConfigPath,
    model: Annotated[
        str | None,
        typer.Option(
            help="A registered version: models:/NAME@ALIAS, or NAME/3; default: the model that "
            "CONFIG's own run has aligned."
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            help="Store URI or manifest of the policy; default: what the model was trained from."
        ),
    ] = None,
    aligned: Annotated[
        str | None,
        typer.Option(help="Store URI or manifest of the aligned model; default: the run's."),
    ] = None,
    benchmarks: Annotated[
        str | None,
        typer.Option(help="Store URI or manifest of the questions; default: the run's."),
    ] = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Let the aligned model judge its own answers: best-of-N and voting against greedy.

    Draws verify.num_candidates answers to each benchmark question, or finds them in the store, and
    writes verification.html and verification.json into the run's report folder; for --model
    verification-NAME-3.html and .json.
    """
    from chainsight.verification.show import show
    from chainsight.verification.work import verify as work

    given = {"policy": policy, "aligned": aligned, "benchmarks": benchmarks}
    inputs = {kind: uri for kind, uri in given.items() if uri}
    found, page = work(configuration(config, settings), model, inputs)
    if as_json:
        print_json(found | {"page": str(page)})
    else:
        show(out, found, page)
