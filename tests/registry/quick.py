"""Real processes that run commands without each paying for the imports: forked from one that has.

What is forked has imported modules and opened nothing: no connection, no thread.
"""

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

PRELOAD = [
    "mlflow",
    "mlflow.store.tracking.rest_store",
    "mlflow.store.model_registry.rest_store",
    "sqlalchemy.exc",
    "boto3",
    "chainsight.cli",
    "chainsight.promotion.commands",
    "chainsight.promotion",
    "chainsight.runner",
    "chainsight.stages.register",
    "chainsight.store.s3",
    "candidates",
    "promoters",
    "quick",
]


def context() -> multiprocessing.context.ForkServerContext:
    """Where processes are forked from; the first call starts it."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # all that the fork's origin knows
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(PRELOAD)
    return found


def start(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    candidate: tuple[str, Path, int, int, int] | None = None,
    *,
    errors: Path | None = None,
) -> BaseProcess:
    """Start `chainsight ARGUMENTS`; what it prints is appended to `log`, or partly to `errors`.

    `candidate`: what the process makes before that and gives as inputs: store, folder, number,
    right answers, tokens an answer.
    """
    process = context().Process(
        target=_run,
        args=(list(arguments), dict(environment), log, errors or log, candidate),
        daemon=True,
    )
    process.start()
    return process


def _run(
    arguments: list[str],
    environment: dict[str, str],
    log: Path,
    errors: Path,
    candidate: tuple[str, Path, int, int, int] | None,
) -> None:
    os.environ.update(environment)
    for path, descriptor in ((log, 1), (errors, 2)):
        with path.open("ab", buffering=0) as file:
            os.dup2(file.fileno(), descriptor)
    if candidate is not None:
        arguments = [*arguments, *(f"--{k}={uri}" for k, uri in _make(*candidate).items())]
    from chainsight.cli import main

    sys.argv = ["chainsight", *arguments]
    main()


def _make(
    store_uri: str, folder: Path, number: int, num_right: int, num_tokens: int
) -> dict[str, str]:
    import candidates

    from chainsight.store import open_store

    store = open_store(store_uri, folder / "cache")
    scores = candidates.right(num_right)
    return candidates.make(
        store, folder / "make", number, scores, small=True, num_tokens=num_tokens
    )
