"""A place for whole runs of the pipeline, started as a user starts them."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainsight.config import RunConfig, load_config
from chainsight.runner import StageRun, resolve

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "chainsight"]


@dataclass(frozen=True)
class Workplace:
    """A folder for a run's home, and the environment that its processes see."""

    home: Path
    environment: Mapping[str, str]

    def settings(self, **values: Any) -> dict[str, Any]:
        dotted = {name.replace("__", "."): value for name, value in values.items()}
        return {"run.home": str(self.home), **dotted}

    def arguments(self, config: str, **values: Any) -> list[str]:
        flags = [f"--set={k}={json.dumps(v)}" for k, v in self.settings(**values).items()]
        return ["run", str(ROOT / config), "--json", *flags]

    def start(self, config: str, **values: Any) -> "subprocess.Popen[str]":
        """Start `chainsight run` in a process group of its own, so that all of it can be killed."""
        return subprocess.Popen(
            [*COMMAND, *self.arguments(config, **values)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **self.environment},
            start_new_session=True,
        )

    def run(self, config: str, **values: Any) -> tuple[dict[str, Any], str]:
        """Run to the end; returns the summary and what was shown."""
        process = self.start(config, **values)
        output, shown = process.communicate()
        assert process.returncode == 0, shown
        return json.loads(output), shown

    def call(self, command: str, config: str, *flags: str, **values: Any) -> dict[str, Any]:
        """`chainsight COMMAND --json`: what it says."""
        _, *rest = self.arguments(config, **values)
        done = subprocess.run(
            [*COMMAND, command, *rest, *flags],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def examine(self, config: str, **values: Any) -> None:
        """`chainsight doctor --spend`: what the first task of a run asks."""
        _, *rest = self.arguments(config, **values)
        subprocess.run(
            [*COMMAND, "doctor", "--spend", *rest],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            check=True,
            capture_output=True,
        )

    def config(self, config: str, **values: Any) -> RunConfig:
        return load_config(ROOT / config, self.settings(**values))

    def resolve(self, config: str, **values: Any) -> dict[str, StageRun]:
        return resolve(self.config(config, **values))


def contents(stages: Mapping[str, StageRun]) -> dict[str, str]:
    """The content digest of every artifact."""
    return {k: m.content_digest for run in stages.values() for k, m in run.outputs.items()}
