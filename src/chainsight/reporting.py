"""`chainsight report`: of a run, as the paper's tables, or of two runs side by side."""

from pathlib import Path
from typing import Annotated

import typer

from chainsight.errors import ChainsightError, ConfigError
from chainsight.options import AsJson, Settings, configuration, err, out, overrides, print_json


def report(
    config: Annotated[
        Path | None,
        typer.Argument(
            help="Run configuration (YAML); with --paper also an ablation's; with --compare it "
            "says where the registry is.",
            metavar="[CONFIG]",
        ),
    ] = None,
    paper: Annotated[
        bool, typer.Option("--paper", help="Lay the results out as the paper's tables do.")
    ] = False,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(
            help="Two sides, each a configuration, ABLATION#SETTING or ABLATION#SETTING/SEED, "
            "models:/NAME@ALIAS, or a store URI of predictions; #MODEL behind one says which of "
            "its models (default: aligned).",
            metavar="A B",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="HTML file; default: report.html, paper.html or compare.html in the run's report "
            "folder; between two store URIs compare.html here.",
        ),
    ] = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Build the report of what CONFIG's run has finished, the paper's tables, or a comparison."""
    if paper and compare:
        raise ConfigError("--paper and --compare are two reports: ask for one at a time")
    if compare:
        _compare(config, compare, output, settings, as_json)
        return
    if config is None:
        raise ConfigError("write a configuration: chainsight report CONFIG, or --compare A B")
    if paper:
        _paper(config, output, settings, as_json)
    else:
        _run(config, output, settings, as_json)


def _run(config: Path, output: Path | None, settings: list[str] | None, as_json: bool) -> None:
    from chainsight.console import show_summary
    from chainsight.runner import resolve
    from chainsight.runs import stopped, write_report

    resolved = configuration(config, settings)
    done = resolve(resolved)
    if not done:
        raise ChainsightError(
            f"no stage of {config} is finished; start with: chainsight run {config}"
        )
    path = output or resolved.run.report_folder() / "report.html"
    summary = write_report(resolved.run, done.values(), path, stopped(resolved, done))
    if as_json:
        print_json(summary)
    else:
        show_summary(out, summary, path.parent)


def _paper(config: Path, output: Path | None, settings: list[str] | None, as_json: bool) -> None:
    from chainsight.report.paper import page, show, sources
    from chainsight.report.paper.layout import lay_out

    name, found, splits, folder = sources.read(config, overrides(settings))
    laid = lay_out(found, splits)
    path = _write(output or folder / "paper.html", page.build(name, laid))
    if as_json:
        print_json(show.to_json(laid) | {"page": str(path)})
    else:
        show.show(out, laid)
        _tell(path)


def _compare(
    config: Path | None,
    sides: tuple[str, str],
    output: Path | None,
    settings: list[str] | None,
    as_json: bool,
) -> None:
    from chainsight.report.compare import page, show
    from chainsight.report.compare.comparison import compare
    from chainsight.report.compare.sides import configuration_of, read

    run = configuration(config, settings) if config else None
    values = overrides(settings)
    run = run or next((found for one in sides if (found := configuration_of(one, values))), None)
    compared = compare(*(read(one, run, values) for one in sides))
    folder = run.run.report_folder() if run else Path()
    path = _write(output or folder / "compare.html", page.build(compared))
    if as_json:
        print_json(show.to_json(compared) | {"page": str(path)})
    else:
        show.show(out, compared)
        _tell(path)


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _tell(path: Path) -> None:
    err.print(f"page: {path}", highlight=False, markup=False, soft_wrap=True)
