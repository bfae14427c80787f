"""Where the registry is used from, as people and pods do: by commands, in processes."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import candidates
import quick
import yaml
from stack import STORE, Stack

from chainsight.config import load_config
from chainsight.promotion import Place, open_place
from chainsight.store import Store, open_store
from chainsight.tracking import Registry, Version

ROOT = Path(__file__).parents[2]
CALL_SECONDS = 120


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


@dataclass
class Desk:
    """One registered model of the stack, and a folder from which commands are called."""

    stack: Stack
    folder: Path
    name: str
    _calls: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.rename(self.name)

    def rename(self, name: str) -> None:
        """Work on another registered model."""
        self.name = name
        for user in ("trainer", "promoter"):
            self.stack.allow(user, self.name)
        self.write_config()

    @property
    def config(self) -> Path:
        return self.folder / "run.yaml"

    def write_config(self, **sections: Mapping[str, Any]) -> None:
        """The configuration that the commands are called with."""
        content = {
            "run": {"home": str(self.folder / "home"), "store": STORE},
            "prepare": {"examples": [{"dataset": "bars"}], "benchmarks": [{"dataset": "bars"}]},
            "register": {"model_name": self.name},
        }
        for section, values in sections.items():
            content[section] = {**content.get(section, {}), **values}
        self.config.write_text(yaml.safe_dump(content))

    def call(
        self, command: str, *arguments: str, user: str = "trainer", **environment: str
    ) -> Done:
        """Call `chainsight COMMAND CONFIG ...` in a process of its own."""
        self._calls += 1
        out, err = (self.folder / f"call-{self._calls}.{end}" for end in ("out", "err"))
        variables = self.stack.environment(user) | environment
        words = [command, str(self.config), *arguments]
        process = quick.start(words, variables, out, errors=err)
        process.join(CALL_SECONDS)
        process.kill()  # if it is still there, which a test may want
        process.join()
        return Done(process.exitcode or 0, *(f.read_text() for f in (out, err) if f.exists()))

    def call_anew(self, command: str, *arguments: str, user: str = "trainer") -> Done:
        """The same in a fresh interpreter, as a shell does."""
        done = subprocess.run(
            [sys.executable, "-m", "chainsight", command, str(self.config), *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, **self.stack.environment(user)},
        )
        return Done(done.returncode, done.stdout, done.stderr)

    @property
    def store(self) -> Store:
        return open_store(STORE, self.folder / "cache")

    def candidate(self, number: int, num_right: int, *, small: bool = False) -> dict[str, str]:
        scores = candidates.right(num_right)
        return candidates.make(self.store, self.folder / "make", number, scores, small=small)

    def register(self, inputs: Mapping[str, str], *more: str, **given: Any) -> Done:
        flags = [f"--{kind}={uri}" for kind, uri in inputs.items()]
        return self.call("register", "--json", *flags, *more, **given)

    @property
    def registry(self) -> Registry:
        return Registry(self.stack.mlflow.url)

    def versions(self) -> list[Version]:
        return self.registry.versions(self.name)

    def place(self) -> Place:
        """The place of promotions, opened in this process."""
        return open_place(load_config(self.config))

    def state(self) -> dict[str, Any]:
        """Everything that a refused command must leave as it was."""
        return {
            "versions": self.versions(),
            "aliases": self.registry.aliases(self.name),
            "log": [name for name in self.stack.s3.names() if f"/promotions/{self.name}/" in name],
        }
