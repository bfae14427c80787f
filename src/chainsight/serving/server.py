"""The process: it listens at once, loads behind that, and ends in peace when it is told to."""

import io
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from PIL import Image

from chainsight.config import RunConfig
from chainsight.errors import CheckpointError, RecordError, StoreError, TrackingError
from chainsight.records import Mode
from chainsight.serving import app
from chainsight.serving.find import Found, persist
from chainsight.serving.model import Model
from chainsight.serving.protocol import Question, Sampling
from chainsight.serving.worker import Worker
from chainsight.vlm import checkpoint

GRACE_SECONDS = 25
"""What runs when the process is told to stop gets this long; Kubernetes kills after 30."""

MENDABLE = (TrackingError, RecordError, StoreError, CheckpointError)
"""What may be put right while the server waits: a champion to come, a file to be restored."""

_logger = logging.getLogger("chainsight.serving")


class _Listener(uvicorn.Server):
    """uvicorn, which tells us of a signal before it stops listening."""

    def __init__(self, config: uvicorn.Config, told: Callable[[], None]) -> None:
        super().__init__(config)
        self._told = told

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._told()
        super().handle_exit(sig, frame)


class Server:
    """One model behind one address."""

    def __init__(self, config: RunConfig, find: Callable[[], Found]) -> None:
        self._config = config
        self._find = find
        self._state = app.State()
        self._stopped = threading.Event()
        self._failed = False
        made = uvicorn.Config(
            app.build(self._state),
            log_level="warning",
            timeout_graceful_shutdown=GRACE_SECONDS,
            lifespan="off",
        )
        self._listener = _Listener(made, self._stop)

    def run(self, host: str, port: int) -> int:
        """Serve until SIGTERM or ctrl-C; the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)  # uvicorn raises them once more when it is done
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=family) as listening:
            where = listening.getsockname()
            _logger.info("listening on http://%s:%d", where[0], where[1])
            threading.Thread(target=self._load, name="loader", daemon=True).start()
            self._listener.run(sockets=[listening])
        self._stop()
        return self._end()

    def _stop(self) -> None:
        self._state.stopping = True
        self._stopped.set()
        if self._state.serving is not None:
            self._state.serving.worker.stop()

    def _end(self) -> int:
        serving = self._state.serving
        idle = serving.worker.join(1.0) if serving is not None else not _loading()
        _logger.info("stopped%s", "" if idle else ", in the middle of work")
        code = 1 if self._failed else 0
        if not idle:
            logging.shutdown()
            os._exit(code)  # a thread inside torch would make the interpreter's own end crash
        return code

    def _load(self) -> None:
        """Bring the model up, however long that takes; a bug ends the process."""
        ended = False
        try:
            persist(self._prepare, while_=MENDABLE, say=self._say, sleep=self._pause)
            ended = True
        except _StoppedError:
            ended = True
        finally:
            if not ended:
                self._failed = self._listener.should_exit = True

    def _say(self, message: str) -> None:
        self._state.phase = message
        _logger.warning("not ready: %s", message)

    def _pause(self, seconds: float) -> None:
        if self._stopped.wait(seconds):
            raise _StoppedError

    def _prepare(self) -> None:
        """Find, verify, load and ask once; only then is the server ready."""
        started = time.monotonic()
        found = self._find()
        _logger.info("loading %s from %s", found.version.uri, found.folder)
        model = self._config.model
        loaded = checkpoint.load(
            found.folder, dtype=model.dtype, attention=model.attention, fetch=found.store.fetch
        )
        worker = Worker(Model(loaded).answer, batch_size=self._config.evaluate.batch_size)
        worker.start()
        worker.submit(_warm_up()).result()
        self._state.serving = app.Serving(
            found.version, worker, default_tokens(self._config), int(time.time())
        )
        if self._stopped.is_set():
            worker.stop()
        _logger.info("ready: %s, after %.1f s", found.version.uri, time.monotonic() - started)


class _StoppedError(Exception):
    """The process was told to stop while it waited."""


def _loading() -> bool:
    return any(thread.name == "loader" for thread in threading.enumerate())


def default_tokens(config: RunConfig) -> dict[Mode | None, int]:
    """Longest answer by mode, as in evaluation."""
    section = config.evaluate
    return {
        None: section.max_new_tokens,
        "cot": section.max_new_tokens,
        "direct": section.max_direct_tokens,
    }


def _warm_up() -> Question:
    """A question about a grey picture: what fails now would fail for everyone."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "grey").save(file, format="PNG")
    content = [{"type": "image"}, {"type": "text", "text": "What is this?"}]
    turn = {"role": "user", "content": content}
    return Question((turn,), file.getvalue(), Sampling(2), "warm-up", mode="direct")
