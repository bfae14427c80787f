"""What the commands share: consoles, the arguments that most of them take, JSON for machines."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console

from chainsight.config import RunConfig, load_config
from chainsight.errors import ConfigError

out = Console()
err = Console(stderr=True)

ConfigPath = Annotated[
    Path, typer.Argument(help="Run configuration (YAML), as in configs/.", metavar="CONFIG")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a setting: --set sft.max_steps=10", metavar="KEY=VALUE"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines, no table.")]


def configuration(path: Path, settings: list[str] | None) -> RunConfig:
    """The configuration at `path` with the `--set` overrides applied."""
    return load_config(path, overrides(settings))


def overrides(settings: list[str] | None) -> dict[str, Any]:
    """The values of `--set` by their dotted keys."""
    found = {}
    for setting in settings or []:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting}: write KEY=VALUE, e.g. sft.max_steps=10")
        found[key] = yaml.safe_load(value)
    return found


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1, sort_keys=True))
