"""One node in a process of its own: a stage by the runner, with its failure as one message.

Processes come from a fork server that has imported torch and its like already, which takes longer
than many a node. A process dies alone, and with its parent.
"""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from chainsight.errors import ChainsightError
from chainsight.job import CODE_VERSION_VARIABLE, code_version, job
from chainsight.progress import EVENTS_VARIABLE
from chainsight.runner import execute

PRELOADED = ("torch", "trl", "transformers.trainer", "mlflow", "chainsight.runner")
"""What nodes import, taking seconds."""
_FORKS = get_context("forkserver")


@dataclass(frozen=True)
class Order:
    """What a process is told: the arguments of `job`."""

    stage: str
    config: dict[str, Any]
    run: dict[str, Any]
    model: dict[str, Any]
    inputs: dict[str, str]
    environment: dict[str, str]


@dataclass
class Worker:
    """A node under way."""

    process: BaseProcess
    answer: Connection
    log: Path
    events: Path

    def failure(self) -> str | None:
        """Why it failed, once it has ended; None: it did not."""
        self.process.join()
        if self.process.exitcode == 0:
            return None
        try:
            return str(self.answer.recv())
        except EOFError:
            return f"ended without a message ({self._ending()}); see {self.log}"

    def _ending(self) -> str:
        code = self.process.exitcode or 0
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def environment(threads: int) -> dict[str, str]:
    """What the processes see: this one's variables, so many threads each, and one code version,
    should the source be edited meanwhile."""
    own = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    return {**os.environ, **own, CODE_VERSION_VARIABLE: code_version()}


@contextmanager
def fork_server(variables: Mapping[str, str]) -> Iterator[None]:
    """Have the server started with `variables`: libraries read theirs when they are loaded."""
    _FORKS.set_forkserver_preload(list(PRELOADED))
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        forkserver.ensure_running()
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def start(order: Order, place: Path) -> Worker:
    """Do `order` in a process of its own; `place` with `.log` and `.events` gets what it says."""
    receiver, sender = _FORKS.Pipe(duplex=False)
    log, events = place.with_suffix(".log"), place.with_suffix(".events")
    events.write_text("", encoding="utf-8")
    process = _FORKS.Process(target=_do, args=(order, sender, log, events))
    process.start()
    sender.close()
    return Worker(process, receiver, log, events)


def _do(order: Order, answer: Connection, log: Path, events: Path) -> None:
    """Runs in the new process."""
    _write_to(log)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    os.environ.update(order.environment)
    os.environ[EVENTS_VARIABLE] = str(events)
    try:
        execute(job(order.stage, order.config, run=order.run, model=order.model,
                    inputs=order.inputs))  # fmt: skip
    except ChainsightError as error:
        print(error, flush=True)  # noqa: T201 - its log
        answer.send(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        os._exit(130)  # as shells say of ctrl-c; what is finished is kept
    except Exception as error:
        traceback.print_exc()
        answer.send(f"{type(error).__name__}: {error} (see {log})")
        sys.exit(1)


def _write_to(log: Path) -> None:
    """Send what this process says to its log, whoever says it."""
    with log.open("a") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)


def _die_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # nobody would start what comes next; the stage resumes
