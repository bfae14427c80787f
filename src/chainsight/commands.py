"""The commands of the stages: alike for all of them, and what two of them can do besides."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from chainsight.errors import ConfigError
from chainsight.options import AsJson, ConfigPath, Settings, configuration, out, print_json
from chainsight.stages import STAGES


def of_stage(name: str) -> Callable[..., None]:
    """The command of the stage `name`."""
    own: dict[str, Callable[..., None]] = {"distill": distill, "evaluate": evaluate}
    return own[name] if name in own else _generated(name)


def _generated(name: str) -> Callable[..., None]:
    """The command of one stage: CONFIG, a flag per input artifact, --set and --json."""

    def command(
        config: Path, settings: list[str] | None, as_json: bool, **inputs: str | None
    ) -> None:
        from chainsight.console import show_quality, show_stage
        from chainsight.runner import run_alone
        from chainsight.runs import quality

        resolved = configuration(config, settings)
        done, uris = run_alone(name, resolved, {k: v for k, v in inputs.items() if v})
        if as_json:
            print_json(
                {"stage": name, "reused": done.reused, "seconds": done.seconds}
                | {"metrics": done.metrics, "artifacts": uris}
            )
        else:
            show_stage(out, done, uris)
            if name == "distill":
                show_quality(out, quality(resolved.run, done))

    flags: dict[str, Any] = {
        kind: Annotated[
            str | None,
            typer.Option(help="Manifest or store URI; default: the one of CONFIG's own run."),
        ]
        for kind in STAGES[name].inputs
    }
    annotations = {"config": ConfigPath, "settings": Settings, "as_json": AsJson} | flags
    defaults = {"settings": None, "as_json": False} | dict.fromkeys(flags)
    _sign(command, annotations, defaults)
    command.__doc__ = f"Stage: {STAGES[name].summary}."
    return command


def _sign(function: Callable[..., Any], annotations: dict[str, Any], defaults: Any) -> None:
    """Give `function` the signature that typer reads flags from."""
    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=defaults.get(name, inspect.Parameter.empty),
            annotation=annotation,
        )
        for name, annotation in annotations.items()
    ]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = annotations


def distill(
    config: ConfigPath,
    estimate: Annotated[
        bool,
        typer.Option("--estimate", help="Only say what it would cost and take; no key is needed."),
    ] = False,
    probe: Annotated[
        int,
        typer.Option(
            min=0, help="With --estimate: ask so many questions first, and keep the answers."
        ),
    ] = 0,
    settings: Settings = None,
    as_json: AsJson = False,
    examples: Annotated[str | None, typer.Option(help="Manifest or store URI.")] = None,
) -> None:
    """Stage: the teacher writes rationales; or, with --estimate, what that would cost."""
    if not estimate:
        if probe:
            raise ConfigError("--probe makes an estimate better: write --estimate with it")
        _generated("distill")(config=config, settings=settings, as_json=as_json, examples=examples)
        return
    from chainsight.distilling import preview, show

    found = preview(configuration(config, settings), examples, probe)
    if as_json:
        print_json(found.to_json())
    else:
        show(out, found)


def evaluate(
    config: ConfigPath,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Evaluate these only: a folder, hub id or models:/NAME@ALIAS, as [NAME=]REF."
        ),
    ] = None,
    settings: Settings = None,
    as_json: AsJson = False,
    benchmarks: Annotated[str | None, typer.Option(help="Manifest or store URI.")] = None,
    policy: Annotated[str | None, typer.Option(help="Manifest or store URI.")] = None,
    aligned: Annotated[str | None, typer.Option(help="Manifest or store URI.")] = None,
) -> None:
    """Stage: score base, policy and aligned; or, with --model, any models."""
    if not model:
        inputs = {"benchmarks": benchmarks, "policy": policy, "aligned": aligned}
        _generated("evaluate")(config=config, settings=settings, as_json=as_json, **inputs)
        return
    from chainsight.console import show_scores
    from chainsight.runs import evaluate_models

    summary = evaluate_models(configuration(config, settings), model, benchmarks)
    if as_json:
        print_json(summary)
    else:
        show_scores(out, summary["models"], "Accuracy (± standard error)")
