"""What a submission would send, said without a request."""

from typing import Any

import yaml
from rich.console import Console

from chainsight.config import RunConfig
from components.images import pinned
from pipelines.compiled import compile_to
from pipelines.package import Compile, package
from pipelines.submit import Target


def plan(config: RunConfig, target: Target, compile_to: Compile = compile_to) -> dict[str, Any]:
    """What `submit` would do; no request is made."""
    built = package(config, compile_to)
    images = {task: {"image": name, "pinned": pinned(name)} for task, name in built.images.items()}
    return {
        "pipeline": built.name,
        "version": built.version,
        "run": config.run.name,
        "experiment": target.experiment or config.run.experiment,
        "host": target.host,
        "namespace": target.namespace,
        "service_account": target.service_account,
        "images": images,
        "secrets": built.secrets,
        "parameters": built.parameters,
    }


def show_plan(console: Console, planned: dict[str, Any]) -> None:
    """Print a plan for people."""

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    for name in ("pipeline", "version", "run", "experiment", "host", "namespace"):
        say(f"{name:<16}{planned[name] or '(default)'}")
    say(f"{'service account':<16}{planned['service_account'] or '(default)'}")
    say("images")
    for task, image in planned["images"].items():
        say(f"  {task:<14}{image['image']}  {'pinned' if image['pinned'] else 'NOT PINNED'}")
    say("secrets, by name")
    for secret, tasks in planned["secrets"].items():
        say(f"  {secret:<24}{', '.join(tasks)}")
    say("parameters")
    for line in yaml.safe_dump(planned["parameters"]).splitlines():
        say(f"  {line}")
    say("dry run: nothing was sent")
