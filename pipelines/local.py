"""Run a pipeline on this machine: `kfp.local` executes each component in a subprocess."""

import json
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from kfp import local
from rich.console import Console

from chainsight.config import RunConfig
from chainsight.console import RunView
from chainsight.errors import ChainsightError
from chainsight.progress import EVENTS_VARIABLE
from chainsight.runner import StageRun, resolve
from chainsight.runs import log_summary, stopped, tracked, write_report
from pipelines.compiled import parameters
from pipelines.train import build

Event = dict[str, Any]


def run_pipeline(config: RunConfig, console: Console) -> dict[str, Any]:
    """Run everything, write the report, and return its summary.

    Raises:
        ChainsightError: a stage failed; a partial report is written all the same.
    """
    folder = config.run.report_folder()
    with tracked(config) as run, RunView(console) as view:
        succeeded = run_train(config, folder, view.on_event)
        done = resolve(config)
        summary = _report(config, done, folder / "report.html") if done else {}
        log_summary(run, folder, summary)
        if not succeeded:
            raise ChainsightError(view.failure or _last_words(folder / "kfp.log"))
    return summary


def _report(config: RunConfig, done: Mapping[str, StageRun], path: Path) -> dict[str, Any]:
    return write_report(config.run, done.values(), path, stopped(config, done))


def _last_words(log: Path) -> str:
    tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-25:]
    return f"a stage ended without a message; the end of {log}:\n" + "\n".join(tail)


def run_train(config: RunConfig, folder: Path, on_event: Callable[[Event], None]) -> bool:
    """Execute the pipeline with the given configuration; True when every stage is done.

    KFP's own log goes to `<folder>/kfp.log`; what the stages report is passed to `on_event`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    events = folder / "events.jsonl"
    events.write_text("", encoding="utf-8")
    local.init(
        runner=local.SubprocessRunner(use_venv=False),
        pipeline_root=str(folder / "kfp"),
        raise_on_error=True,
    )
    # Threads that wait should not spin on a busy machine (docs/log.md has the suspicion's figures).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with _environment(EVENTS_VARIABLE, str(events)), _following(events, on_event):
        try:
            with _logged(folder / "kfp.log"):
                build()(**parameters(config))
        except RuntimeError:  # kfp's word for a task that exited with a failure
            return False
    return True


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Send what kfp prints to a file; its warnings are about images, which are not used here."""
    with path.open("w", encoding="utf-8", buffering=1) as log, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with redirect_stdout(log):
            yield


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def _following(path: Path, on_event: Callable[[Event], None]) -> Iterator[None]:
    finished = threading.Event()
    thread = threading.Thread(target=_follow, args=(path, on_event, finished), daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()


def _follow(path: Path, on_event: Callable[[Event], None], finished: threading.Event) -> None:
    with path.open(encoding="utf-8") as file:
        partial = ""
        while True:
            last_round = finished.is_set()
            for line in file:
                partial += line
                if partial.endswith("\n"):
                    on_event(json.loads(partial))
                    partial = ""
            if last_round:
                return
            time.sleep(0.1)
