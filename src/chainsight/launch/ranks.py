"""A training stage on one machine: in this process, or by torchrun in one process a GPU."""

import functools
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from chainsight import errors, runner
from chainsight.config import PlatformSection
from chainsight.errors import ChainsightError, ConfigError, LaunchError
from chainsight.job import Job
from chainsight.launch import worker
from chainsight.launch.checkpoints import mirrored
from chainsight.runner import Claim, StageRun

STOP_SECONDS = 120
"""For the checkpoint that a terminated training keeps; torchrun's own 30 are short for 8 B. Also
what a restart may have to wait for GPU ranks that hang in an exchange with one that is gone."""
_POLL_SECONDS = 0.2
_CLOSE_SECONDS = 10
_DIED = re.compile(r"failed \(exitcode: (-?\d+)\) local_rank: (\d+)")  # torchrun's log
_TAIL_LINES = 5


def execute(job: Job, platform: PlatformSection, *, pipeline_run: str = "") -> StageRun:
    """Execute a training stage on this machine, or reuse what an equal execution committed.

    Crashed processes are started again `platform.retries` times and go on from the last
    checkpoint; an error that the user can mend ends the training at once.

    Raises:
        ConfigError: more processes than GPUs.
        LaunchError: the processes ended badly; whatever else the stage raises.
    """
    done = runner.find(job)
    if done is not None:
        return done  # before torch, which is slow to import, is asked for GPUs
    num_gpus = visible_gpus()
    count = num_processes(platform, num_gpus)
    if count == 1 and num_gpus <= 1:
        return runner.execute(job, pipeline_run=pipeline_run, how=_alone)
    how = functools.partial(_launch, count=count, platform=platform)
    return runner.execute(job, pipeline_run=pipeline_run, how=how)


def _alone(job: Job, claim: Claim, pipeline_run: str) -> StageRun:
    with mirrored(job, claim.work, os.environ, runner.say) as kept:
        return runner.perform(job, claim.work, pipeline_run, **kept)


def num_processes(platform: PlatformSection, num_gpus: int) -> int:
    """As many as the platform section says, else one a GPU, else one.

    Raises:
        ConfigError: more than there are GPUs, if there are any.
    """
    count = platform.processes or max(1, num_gpus)
    if 0 < num_gpus < count:
        raise ConfigError(
            f"platform.processes is {count}, but torch sees {num_gpus} GPUs; leave it out to use "
            "all that there are"
        )
    return count


def visible_gpus() -> int:
    """How many GPUs torch may use here."""
    if importlib.util.find_spec("torch") is None:
        return 0
    import torch

    return torch.cuda.device_count()


def _launch(
    job: Job, claim: Claim, pipeline_run: str, *, count: int, platform: PlatformSection
) -> StageRun:
    logs = claim.work / "ranks"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    environment = {
        worker.JOB_VARIABLE: worker.dump(job, pipeline_run),
        worker.PARALLEL_VARIABLE: platform.parallel,
        worker.FAILURES_VARIABLE: str(logs),
        **worker.FRESH_STORE,
    }
    command = _command(count, platform.retries, logs)
    with _started(command, environment, logs, claim.lock) as process:
        code = _wait(process, logs)
    if code:
        raise _failure(job, count, logs)
    done = runner.find(job)
    if done is None:
        raise LaunchError(
            f"{job.stage.name}: {count} processes ended well but committed nothing; do "
            "they see the store of this one?"
        )
    return replace(done, reused=False)


def _command(count: int, restarts: int, logs: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
        f"--nproc-per-node={count}",
        f"--max-restarts={restarts}",
        f"--shutdown-timeout={STOP_SECONDS}",
        "--redirects=3",  # both streams into files: what torchrun says itself helps nobody
        f"--log-dir={logs}",
        *("-m", "chainsight.launch.worker"),
    ]


@contextmanager
def _started(
    command: list[str], environment: dict[str, str], logs: Path, lock: int
) -> Iterator[subprocess.Popen[bytes]]:
    """torchrun, which is never left behind; it holds the stage's lock, should this process die."""
    with (logs / "torchrun.log").open("wb") as said:
        process = subprocess.Popen(  # noqa: S603 - our own Python
            command,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env={**os.environ, **environment},
            pass_fds=(lock,),
        )
    try:
        with _terminating(process):
            yield process
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _terminating(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Pass SIGTERM on: the ranks then keep a checkpoint and end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _wait(process: subprocess.Popen[bytes], logs: Path) -> int:
    """The exit code, once torchrun has ended; shows meanwhile what rank 0 says."""
    shown: dict[Path, int] = {}
    while process.poll() is None:
        time.sleep(_POLL_SECONDS)
        _show(logs, shown)
        if any(logs.glob("*.failure")):
            _end(process)  # a restart would fail alike
    _show(logs, shown)
    return process.returncode


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a training that has failed: the leader may close its MLflow run, nobody else matters.

    Ranks that wait for one that is gone hear no signal; they end with torchrun.
    """
    process.terminate()
    try:
        process.wait(_CLOSE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _show(logs: Path, shown: dict[Path, int]) -> None:
    for path in sorted(logs.glob("*/attempt_*/0/stderr.log")):
        with path.open("rb") as file:
            file.seek(shown.get(path, 0))
            sys.stderr.write(file.read().decode("utf-8", "replace"))
            shown[path] = file.tell()
    sys.stderr.flush()


def _failure(job: Job, count: int, logs: Path) -> ChainsightError:
    """What went wrong first: the error that a rank reported, else how one died."""
    reports = [json.loads(path.read_text("utf-8")) for path in logs.glob("*.failure")]
    if reports:
        first = min(reports, key=lambda report: report["time"])
        kind: type[ChainsightError] = getattr(errors, first["kind"], ChainsightError)
        return kind(first["message"])
    died = _DIED.findall((logs / "torchrun.log").read_text("utf-8", "replace"))
    if not died:
        return LaunchError(
            f"{job.stage.name}: torchrun ended before its {count} processes; "
            + _tail(logs / "torchrun.log")
        )
    code, rank = died[-1]
    how = f"was killed by signal {-int(code)}" if int(code) < 0 else f"ended with code {code}"
    how += " (often: no memory left)" if int(code) == -signal.SIGKILL else ""
    found = logs.glob(f"*/attempt_*/{rank}/stderr.log")
    said = max(found, key=lambda path: path.stat().st_mtime, default=logs / "torchrun.log")
    return LaunchError(
        f"{job.stage.name}: process {rank} of {count} {how}; run again to "
        f"go on from the last checkpoint. {_tail(said)}"
    )


def _tail(path: Path) -> str:
    lines = path.read_text("utf-8", "replace").strip().splitlines()[-_TAIL_LINES:]
    return "Its last words:\n  " + "\n  ".join(lines) if lines else "It said nothing."
