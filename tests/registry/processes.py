"""Servers as child processes: started, waited for, killed, and never left behind."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

POLL_SECONDS = 0.1


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(
    what: str, done: Callable[[], bool], seconds: float = 60, poll: float = POLL_SECONDS
) -> float:
    """Wait until `done()`; the seconds that it took. AssertionError after `seconds`."""
    start = time.monotonic()
    while not done():
        waited = time.monotonic() - start
        assert waited < seconds, f"{what}: not within {seconds} s"
        time.sleep(poll)
    return time.monotonic() - start


class Server:
    """One process in a group of its own, so that its children go with it."""

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._command, self._log = list(command), log
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, ready: Callable[[], bool], seconds: float = 60) -> float:
        """Start and wait until `ready()`; the seconds that it took."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                cwd=self._log.parent,
                env=self._environment,
                start_new_session=True,
            )
        return until(f"the start of {self._command[0]}", lambda: self._alive() and ready(), seconds)

    def stop(self, with_signal: signal.Signals = signal.SIGTERM, seconds: float = 20) -> None:
        """Send a signal, to the whole group if it is SIGKILL, and wait for the end."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if with_signal == signal.SIGKILL:
                os.killpg(self._process.pid, with_signal)
            else:
                self._process.send_signal(with_signal)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def run(self) -> None:
        """Start a job and wait for its end, which must be a good one."""
        with self._log.open("ab") as log:
            streams = {"stdout": log, "stderr": log, "env": self._environment}
            done = subprocess.run(self._command, check=False, **streams)
        assert done.returncode == 0, self._log.read_text(errors="replace")[-3000:]

    def _alive(self) -> bool:
        assert self._process is not None
        if (code := self._process.poll()) is not None:
            shown = self._log.read_text(errors="replace")[-3000:]
            raise AssertionError(f"{self._command[0]} ended with {code}:\n{shown}")
        return True
