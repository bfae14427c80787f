"""The command line: `chainsight run | <stage> | compile | submit | terminate | doctor | ...`.

Exit codes: 0 done, 1 the run failed, 2 the call or the configuration is wrong.
"""

import importlib.util
import os
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from chainsight import __version__, commands, reporting
from chainsight.ablation import command as ablation
from chainsight.config import RunConfig
from chainsight.demo import command as demo
from chainsight.errors import ChainsightError, ConfigError
from chainsight.options import (
    AsJson,
    ConfigPath,
    Settings,
    configuration,
    err,
    out,
    overrides,
    print_json,
)
from chainsight.promotion import commands as promotion
from chainsight.serving import commands as serving
from chainsight.stages import STAGES
from chainsight.verification import command as verification

app = typer.Typer(
    name="chainsight",
    help="Teach vision language models to reason step by step (arXiv 2410.16198).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Host = Annotated[
    str | None,
    typer.Option(help="Address of Kubeflow Pipelines; default: KF_PIPELINES_ENDPOINT, kubeconfig."),
]
Namespace = Annotated[
    str | None, typer.Option(help="Your namespace, where the installation has several users.")
]
PipelineName = Annotated[
    Literal["train", "align", "evaluate", "verify", "ablate"],
    typer.Option(
        help="All stages; from a policy on; any models against the benchmarks; a model's own "
        "judgement of many answers; or settings compared, of which CONFIG is the ablation."
    ),
]
PolicyUri = Annotated[
    str | None,
    typer.Option(help="For align and verify: the policy's store URI, <store>/policy/<key>."),
]
AlignedUri = Annotated[
    str | None, typer.Option(help="For verify: the aligned model's store URI, without --model.")
]
ModelRefs = Annotated[
    list[str] | None,
    typer.Option(
        help="For evaluate: models:/NAME@ALIAS, a hub id or folder, as [NAME=]REF; for verify the "
        "one version."
    ),
]
AllowTags = Annotated[bool, typer.Option(help="Accept images without a digest.")]


@app.command()
def run(config: ConfigPath, settings: Settings = None, as_json: AsJson = False) -> None:
    """Run the whole pipeline on this machine; finished work is reused."""
    from chainsight.console import show_summary
    from pipelines.local import run_pipeline

    resolved = configuration(config, settings)
    try:
        summary = run_pipeline(resolved, err)
    except KeyboardInterrupt:
        err.print("stopped; finished work is kept, and the same command goes on from there")
        raise typer.Exit(130) from None  # as shells say of ctrl-c
    if as_json:
        print_json(summary)
    else:
        show_summary(out, summary, resolved.run.report_folder())


@app.command("compile")
def compile_(
    config: ConfigPath,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write (YAML).")],
    pipeline: PipelineName = "train",
    policy: PolicyUri = None,
    aligned: AlignedUri = None,
    model: ModelRefs = None,
    allow_tags: AllowTags = False,
    settings: Settings = None,
) -> None:
    """Write a pipeline for Kubeflow, with CONFIG as its default parameters."""
    from components.images import require_pinned
    from pipelines.compiled import compile_to

    if not allow_tags:
        require_pinned()
    resolved, given = _asked(config, settings, pipeline, policy, aligned, model)
    compile_to(resolved, output, pipeline, given)
    err.print(f"wrote {output}", highlight=False)


def _asked(
    config: Path,
    settings: list[str] | None,
    pipeline: str,
    policy: str | None,
    aligned: str | None,
    models: list[str] | None,
) -> tuple[RunConfig, dict[str, Any]]:
    """The run of a pipeline, and its parameters that are no sections of the configuration."""
    if pipeline == "ablate":
        from chainsight.ablation.remote import read

        return read(config, overrides(settings))
    given: dict[str, Any] = {"policy_uri": policy, "aligned_uri": aligned, "models": models}
    if pipeline == "verify":
        given["version"] = _one(models)
    return configuration(config, settings), {k: v for k, v in given.items() if v}


def _one(models: list[str] | None) -> str | None:
    if models and len(models) > 1:
        raise ConfigError("pipeline verify takes one --model: its policy is what judges with it")
    return models[0] if models else None


@app.command()
def submit(
    config: ConfigPath,
    host: Host = None,
    namespace: Namespace = None,
    experiment: Annotated[
        str | None, typer.Option(help="Experiment on Kubeflow; default: run.experiment.")
    ] = None,
    service_account: Annotated[
        str | None, typer.Option(help="Kubernetes service account of the pods.")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Follow the run to its end.")] = True,
    dry_run: Annotated[bool, typer.Option(help="Say what would happen; send nothing.")] = False,
    allow_tags: AllowTags = False,
    pipeline: PipelineName = "train",
    policy: PolicyUri = None,
    aligned: AlignedUri = None,
    model: ModelRefs = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Run a pipeline on Kubeflow Pipelines, with CONFIG as its parameters."""
    from pipelines.compiled import compile_to
    from pipelines.plan import plan, show_plan
    from pipelines.submit import Target
    from pipelines.submit import submit as send

    resolved, given = _asked(config, settings, pipeline, policy, aligned, model)
    write = partial(compile_to, pipeline=pipeline, given=given)
    target = Target(host, namespace, experiment, service_account)
    if dry_run:
        planned = plan(resolved, target, write)
        return print_json(planned) if as_json else show_plan(out, planned)
    console = err if as_json else out
    done = send(resolved, target, console, wait=wait, allow_tags=allow_tags, compile_to=write)
    if as_json:
        print_json(done.as_dict())
    if done.interrupted:
        raise typer.Exit(130)  # as shells say of ctrl-c
    return done.check()


@app.command()
def upload(
    config: ConfigPath,
    host: Host = None,
    namespace: Namespace = None,
    pipeline: Annotated[
        list[str] | None,
        typer.Option(help="train, align, evaluate or verify; may be given again. Default: all."),
    ] = None,
    allow_tags: AllowTags = False,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Upload pipelines to Kubeflow Pipelines where they are new; start no run."""
    from pipelines.compiled import compilers
    from pipelines.submit import Target
    from pipelines.submit import upload as send

    resolved, target = configuration(config, settings), Target(host, namespace)
    done = []
    for one in send(resolved, target, compilers(pipeline), allow_tags=allow_tags):
        news = "uploaded" if one.uploaded else "was there"
        line = f"{one.pipeline} {one.version} {one.version_id} ({news})"
        (err if as_json else out).print(line, highlight=False, markup=False, soft_wrap=True)
        done.append(asdict(one))
    if as_json:
        print_json(done)


@app.command()
def terminate(
    run_id: Annotated[str, typer.Argument(help="The run's id, as submit printed it.")],
    host: Host = None,
    namespace: Namespace = None,
) -> None:
    """End a run on Kubeflow Pipelines."""
    from pipelines.submit import Target
    from pipelines.submit import terminate as end

    end(Target(host, namespace), run_id)
    err.print(f"asked Kubeflow to end run {run_id}", highlight=False)


@app.command()
def data(config: ConfigPath, settings: Settings = None, as_json: AsJson = False) -> None:
    """What CONFIG's data are, once prepared: counts, leaks, tokens, the price of rationales."""
    from chainsight.inventory.show import show
    from chainsight.runs import inventory

    found, page = inventory(configuration(config, settings))
    if as_json:
        print_json(found | {"page": str(page)})
    else:
        show(out, found, page)


@app.command()
def doctor(
    config: ConfigPath,
    settings: Settings = None,
    as_json: AsJson = False,
    spend: Annotated[
        bool,
        typer.Option("--spend", help="Ask the teacher one question of one token: under a cent."),
    ] = False,
    cluster: Annotated[
        bool,
        typer.Option("--cluster", help="Look at the cluster too; in a pod that goes by itself."),
    ] = False,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Look at the cluster of this file's current context.")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option(help="Where the run's pods are; default: the context's.")
    ] = None,
) -> None:
    """Check what CONFIG needs, for free, within seconds: services, data, model, cluster."""
    from chainsight import doctor as doctors

    in_a_pod = doctors.IN_A_CLUSTER in os.environ
    asked = cluster or kubeconfig is not None or in_a_pod
    checks = doctors.examine(
        configuration(config, settings),
        where="pod" if in_a_pod else "here",
        spend=spend,
        images=_images() if asked else None,
        cluster=doctors.Cluster(kubeconfig, namespace) if asked else None,
    )
    if as_json:
        print_json([check.__dict__ for check in checks])
    else:
        doctors.show(out, checks)
    if any(check.level == "fail" for check in checks):
        raise typer.Exit(1)


def _images() -> dict[str, str] | None:
    """The image of each stage, where the package that compiles pipelines is."""
    if importlib.util.find_spec("kfp") is None:
        return None
    from components.images import image

    return {stage: image(stage) for stage in STAGES}


app.command("report")(reporting.report)
app.command("ablate")(ablation.ablate)
app.command("teacher")(demo.teacher)
app.command("serve")(serving.serve)
app.command("fetch")(serving.fetch)

for _name in STAGES:
    app.command(_name)(commands.of_stage(_name))


app.command("verify")(verification.verify)
app.command("promote")(promotion.promote)
app.command("rollback")(promotion.rollback)
app.command("history")(promotion.history)
app.command("diff")(promotion.diff)
app.command("watch-registry")(promotion.watch_registry)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"chainsight {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Teach vision language models to reason step by step (arXiv 2410.16198)."""


def main() -> None:
    """Entry point: an expected error ends in its message and exit code, a bug in its traceback."""
    try:
        app()
    except ChainsightError as error:
        err.print("[bold red]error[/]", end=" ")
        err.print(str(error), highlight=False, markup=False, soft_wrap=True)
        sys.exit(error.exit_code)
