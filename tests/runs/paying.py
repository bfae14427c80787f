"""Many processes of `chainsight distill` beside one teacher that counts what it bills."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chainsight import records
from chainsight.demo import bars
from chainsight.records import Example
from chainsight.store import Store, open_store
from chainsight.teacher.segments import parse_line

ROOT = Path(__file__).parents[2]
BILL_BYTES = 65
"""A digest in hexadecimal and the end of its line."""


def questions(number: int) -> list[Example]:
    """Different questions about bar charts."""
    found: dict[tuple[bytes, str], Example] = {}
    for i, chart in enumerate(bars.charts(0, "train")):
        for j, asked in enumerate(chart.questions):
            found[chart.image, asked.text] = Example(
                f"bars/train/{i}-{j}", "bars", "train", asked.text, (asked.answer,),
                "exact_match", (chart.image,),
            )  # fmt: skip
        if len(found) >= number:
            break
    return list(found.values())[:number]


@dataclass(frozen=True)
class Distilling:
    """Questions in a store, and the teacher to ask."""

    root: Path
    number: int
    teacher: str
    """Its base URL."""
    store_uri: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        folder = self.root / "examples"
        records.write(folder / "examples.parquet", questions(self.number), Example)
        about: dict[str, Any] = {"config": {}, "inputs": {}, "input_digests": {}, "metrics": {}}
        self.store.commit(
            folder, kind="examples", key="k", stage="prepare", code_version="c", seconds=0, **about
        )

    @property
    def store(self) -> Store:
        return open_store(self.store_uri, self.root / "cache")

    @property
    def bills(self) -> list[str]:
        """What was billed, in order: the digest of each request."""
        path = self.root / "bills"
        return path.read_text().split() if path.exists() else []

    def num_bills(self) -> int:
        """How many requests were billed; cheap."""
        path = self.root / "bills"
        return path.stat().st_size // BILL_BYTES if path.exists() else 0

    def arguments(self, home: Path, **distill: Any) -> list[str]:
        """Of `chainsight`."""
        settings = {
            "run.home": str(home), "run.store": self.store_uri, "run.tracking_uri": "none",
            "distill.teacher": self.teacher,
            **{f"distill.{name}": value for name, value in distill.items()},
        }  # fmt: skip
        flags = [f"--set={name}={json.dumps(value)}" for name, value in settings.items()]
        examples = self.store.artifact_uri("examples", "k")
        return ["distill", "configs/smoke.yaml", "--json", f"--examples={examples}", *flags]

    def start(self, home: Path, **distill: Any) -> "subprocess.Popen[str]":
        """`chainsight distill`, as a user starts it."""
        return self._process([sys.executable, "-m", "chainsight", *self.arguments(home, **distill)])

    @contextmanager
    def stem(self) -> Iterator["Stem"]:
        """A process that has imported everything, from which `chainsight distill` is forked."""
        with self._process([sys.executable, "-c", STEM]) as process:
            yield Stem(process)
            assert process.stdin
            process.stdin.close()

    def _process(self, command: list[str]) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **self.environment},
        )

    def recorded(self, home: Path | None = None) -> list[dict[str, Any]]:
        """The entries of a home's ledger, or of the store's; whole lines only."""
        if home is None:
            found = [self.store.read(name) or b"" for name in self.store.names("ledger")]
        else:
            found = [path.read_bytes() for path in home.glob("work/ledger/*/*.jsonl")]
        lines = [line for data in found for line in data.split(b"\n")]
        return [entry for line in lines if (entry := parse_line(line)) is not None]


def finished(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """What a process prints that ends well."""
    output, shown = process.communicate(timeout=600)
    assert process.returncode == 0, shown
    return dict(json.loads(output))


STEM = """
import json, os, sys
import boto3, openai
from chainsight import shards
from chainsight.cli import app
from chainsight.stages import distill
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        app(json.loads(line))
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Stem:
    """Processes of a stage, one after the other, without two seconds of imports for each."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdin
        assert process.stdout
        self._in, self._out = process.stdin, process.stdout

    def start(self, arguments: list[str]) -> int:
        """Start one; gives its process id."""
        print(json.dumps(arguments), file=self._in, flush=True)
        return int(self._out.readline())

    def kill_when(self, pid: int, reached: Callable[[], bool]) -> bool:
        """kill -9 as soon as something is so; False when the process had ended before."""
        while not reached() and not select.select([self._out], [], [], 0.001)[0]:
            pass
        if not select.select([self._out], [], [], 0)[0]:
            os.kill(pid, signal.SIGKILL)
        return self.code() == -signal.SIGKILL

    def code(self) -> int:
        """Wait for the end of the one that was started; gives its exit code."""
        return int(self._out.readline())


def billed_for(entry: dict[str, Any]) -> str:
    """The digest of the request that an entry answers."""
    return str(entry["response"]["id"]).removeprefix("chatcmpl-")
