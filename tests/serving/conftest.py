"""A world to serve from: checkpoints in a store, versions in a registry, a server as a process."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

from chainsight.store import LocalStore
from chainsight.tracking import ALIGNED_URI, CHAMPION, CONTENT_DIGEST, Registry
from chainsight.vlm import checkpoint

ROOT = Path(__file__).parents[2]
BARS = {"examples": [{"dataset": "bars"}], "benchmarks": [{"dataset": "bars", "split": "test"}]}


class World:
    """A configuration with a store and a registry of its own."""

    def __init__(self, root: Path, database: Path, name: str):
        self.root, self.name = root, name
        self.store = LocalStore(root / "home" / "store")
        self.uri = f"sqlite:///{database}"
        self.config = root / "run.yaml"
        run = {"home": str(root / "home"), "tracking_uri": self.uri}
        content = {"run": run, "register": {"model_name": name}, "prepare": BARS}
        content["evaluate"] = {"max_new_tokens": 8, "max_direct_tokens": 4, "batch_size": 4}
        self.config.write_text(yaml.safe_dump(content))

    def commit(self, folder: Path, key: str, kind: str = "aligned") -> str:
        nothing = {"config": {}, "inputs": {}, "input_digests": {}, "metrics": {}, "seconds": 0.0}
        self.store.commit(folder, kind=kind, key=key, stage="dpo", code_version="t", **nothing)
        return self.store.artifact_uri(kind, key)

    def save(self, student: Path, key: str, shift: float = 0.0) -> str:
        """Commit the student, with its output layer moved a little."""
        loaded = checkpoint.load(student)
        loaded.model.get_output_embeddings().weight.data.add_(shift)
        checkpoint.save(loaded, self.root / f"draft-{key}", base="random")
        return self.commit(self.root / f"draft-{key}", key)

    def register(self, uri: str, alias: str = CHAMPION):
        manifest = self.store.load(uri)
        tags = {ALIGNED_URI: uri, CONTENT_DIGEST: manifest.content_digest}
        source = f"file://{uri}/{manifest.attempt}"
        registry = Registry(self.uri)
        made = registry.create(self.name, source, run_id=None, tags=tags, description="")
        registry.set_alias(made, alias)
        return made


class Process:
    """`chainsight serve` as an operator starts it."""

    def __init__(self, world: World, *arguments: str, **env: str):
        command = [sys.executable, "-m", "chainsight", "serve", str(world.config)]
        self.process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", "0", *arguments],
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | env,
        )
        self.log: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()
        found = self.wait_for(r"listening on (http://127\.0\.0\.1:\d+)")
        self.address = found[1]

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)

    def wait_for(self, pattern: str, seconds: float = 60.0) -> re.Match[str]:
        """The first line of the log that matches."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for line in list(self.log):
                if found := re.search(pattern, line):
                    return found
            if self.process.poll() is not None and not self.log:
                break
            time.sleep(0.05)
        raise AssertionError(f"no {pattern!r} in the log:\n{''.join(self.log)}")

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.address + path, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def end(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@pytest.fixture(scope="session")
def make_world(tmp_path_factory):
    """Makes worlds of one database, whose tables take seconds to make; each with a model name."""
    database = tmp_path_factory.mktemp("registry") / "mlflow.db"
    return lambda root, name: World(root, database, name)


@pytest.fixture(scope="session")
def start():
    """Starts servers, and kills what a failed test left."""
    started: list[Process] = []

    def begin(world: World, *arguments: str, **env: str) -> Process:
        started.append(Process(world, *arguments, **env))
        return started[-1]

    yield begin
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()
