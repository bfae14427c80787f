"""One node in a process of its own: a stage by the runner, with its failure as one message.

Processes come from a fork server that has imported torch and its like already, which takes longer
than many a node. A process dies alone, and with its parent.
"""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import forkserver, get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

from chainsight.errors import ChainsightError
from chainsight.job import CODE_VERSION_VARIABLE, code_version, job
from chainsight.progress import EVENTS_VARIABLE
from chainsight.runner import execute

PRELOADED = ("torch", "trl", "transformers.trainer", "mlflow", "chainsight.runner")
"""What nodes import, taking seconds."""
_FORKS = get_context("forkserver")


@dataclass(frozen=True)
class Order:
    """What is to be done: the arguments of `job`."""

    stage: str
    config: dict[str, Any]
    run: dict[str, Any]
    model: dict[str, Any]
    inputs: dict[str, str]
    """Store URIs by kind."""


class Worker(Protocol):
    """A node under way."""

    @property
    def sentinel(self) -> int:
        """A file descriptor that is ready once it has ended."""
        ...

    @property
    def crashed(self) -> bool:
        """Whether, once it has ended, a signal killed it."""
        ...

    def has_ended(self) -> bool: ...
    def failure(self) -> str | None:
        """Why it failed, once it has ended; None: it did not."""
        ...

    def stop(self) -> None:
        """End it now; it can go on another time."""
        ...


Start = Callable[[Order, Path], Worker]
"""Starts an order; the path with `.log` and `.events` gets what the work says."""


def processes(threads: int) -> Start:
    """A way to start workers, each a process of so many threads.

    All have one code version, should the source be edited meanwhile.
    """
    own = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    _FORKS.set_forkserver_preload(list(PRELOADED))
    return partial(Process, own | {CODE_VERSION_VARIABLE: code_version()})


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Set variables for a while: the fork server, when it starts, loads what reads them."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield dict(os.environ)
    finally:
        os.environ.clear()
        os.environ.update(before)


def _start_server() -> None:
    """Start the fork server deaf to ctrl-c, which it would answer with a traceback.

    What it forks hears it again (`_do`); what this process is told meanwhile, it hears after.
    """
    resource_tracker.ensure_running()  # first: it unblocks the signal when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Process:
    """A worker that is a process."""

    def __init__(self, variables: Mapping[str, str], order: Order, place: Path) -> None:
        self._log = place.with_suffix(".log")
        events = place.with_suffix(".events")
        events.write_text("", encoding="utf-8")
        self._answer, sender = _FORKS.Pipe(duplex=False)
        with _environment(variables) as seen:
            _start_server()
            self._process: BaseProcess = _FORKS.Process(
                target=_do, args=(order, seen, sender, self._log, events)
            )
            self._process.start()
        sender.close()

    @property
    def sentinel(self) -> int:
        return self._process.sentinel

    @property
    def crashed(self) -> bool:
        return (self._process.exitcode or 0) < 0

    def has_ended(self) -> bool:
        return not self._process.is_alive()

    def failure(self) -> str | None:
        self._process.join()
        if self._process.exitcode == 0:
            return None
        try:
            return str(self._answer.recv())
        except EOFError:
            return f"it ended without a message ({self._ending()}); see {self._log}"

    def _ending(self) -> str:
        code = self._process.exitcode or 0
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def stop(self) -> None:
        self._process.terminate()
        self._process.join()


def _do(
    order: Order,
    variables: dict[str, str],
    answer: Connection,
    log: Path,
    events: Path,
) -> None:
    """Runs in the new process."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _write_to(log)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    os.environ.update(variables)
    os.environ[EVENTS_VARIABLE] = str(events)
    try:
        execute(
            job(order.stage, order.config, run=order.run, model=order.model, inputs=order.inputs)
        )
    except ChainsightError as error:
        print(error, flush=True)  # noqa: T201 - to its log
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
