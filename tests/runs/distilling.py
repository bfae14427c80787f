"""Many processes of `chainsight distill` beside one teacher that counts what it bills."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chainsight import records
from chainsight.demo import bars
from chainsight.records import Example
from chainsight.store import Store, open_store
from chainsight.teacher.segments import parse_line

ROOT = Path(__file__).parents[2]


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

    def start(self, home: Path, **distill: Any) -> "subprocess.Popen[str]":
        """`chainsight distill`, as a user starts it."""
        settings = {
            "run.home": str(home), "run.store": self.store_uri, "run.tracking_uri": "none",
            "distill.teacher": self.teacher,
            **{f"distill.{name}": value for name, value in distill.items()},
        }  # fmt: skip
        flags = [f"--set={name}={json.dumps(value)}" for name, value in settings.items()]
        examples = self.store.artifact_uri("examples", "k")
        command = [sys.executable, "-m", "chainsight", "distill", "configs/smoke.yaml", "--json"]
        return subprocess.Popen(
            [*command, f"--examples={examples}", *flags],
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


def killed_when(process: "subprocess.Popen[str]", reached: Callable[[], bool]) -> bool:
    """kill -9 as soon as something is so; False when the process had ended before."""
    while process.poll() is None and not reached():
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def billed_for(entry: dict[str, Any]) -> str:
    """The digest of the request that an entry answers."""
    return str(entry["response"]["id"]).removeprefix("chatcmpl-")
