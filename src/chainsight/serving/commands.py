"""`chainsight serve` and `chainsight fetch`."""

import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chainsight.config import RunConfig
from chainsight.errors import ConfigError
from chainsight.options import AsJson, ConfigPath, Settings, configuration, out, print_json

if TYPE_CHECKING:
    from chainsight.serving.find import Found

ModelRef = Annotated[
    str | None,
    typer.Option(
        help="models:/NAME@ALIAS or models:/NAME/3; default: CHAINSIGHT_MODEL, else the champion."
    ),
]


def serve(
    config: ConfigPath,
    model: ModelRef = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "0.0.0.0",  # noqa: S104
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8000,
    settings: Settings = None,
) -> None:
    """Answer questions over HTTP as OpenAI does, with a registered model (docs/serving.md)."""
    from chainsight.serving import find

    resolved = configuration(config, settings)
    _log()
    try:
        from chainsight.serving.server import Server
    except ImportError as error:
        raise ConfigError(
            f"serving needs {error.name}; install chainsight with the extras serve, model and "
            "tracking"
        ) from None
    ref = find.reference(resolved, model)
    raise typer.Exit(Server(resolved, lambda: find.find(resolved, ref)).run(host, port))


def fetch(
    config: ConfigPath,
    to: Annotated[Path, typer.Option(help="Folder to fill; empty, or filled by this command.")],
    model: ModelRef = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Download and verify a registered model, for vLLM or another server (docs/serving.md)."""
    from chainsight.serving import find
    from chainsight.serving.fetch import place

    resolved = configuration(config, settings)
    _log()
    ref = find.reference(resolved, model)
    say = logging.getLogger("chainsight.serving").warning
    found = find.persist(lambda: _find(resolved, ref, to), say=say, sleep=time.sleep)
    num_files = place(found, to, dtype=resolved.model.dtype)
    version = found.version
    summary = {"model": version.uri, "folder": str(to), "num_files": num_files}
    if as_json:
        print_json(summary)
    else:
        out.print(f"{version.uri}: {num_files} files verified in {to}", highlight=False)


def _find(config: RunConfig, ref: str, to: Path) -> "Found":
    from chainsight.serving import find
    from chainsight.serving.fetch import DOWNLOAD

    return find.find(config, ref, cache=to / DOWNLOAD)


def _log() -> None:
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
