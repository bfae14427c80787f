"""kill -9 at random moments, each followed by the same command: as if nothing had happened."""

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from workplace import Workplace, contents

from chainsight.demo.teacher import serve

CONFIG = "configs/demo.yaml"
KILLS = 20 if os.environ.get("CHAINSIGHT_PROVE_ALL") else 8
SMALLER: dict[str, object] = {
    "prepare__examples": [{"dataset": "bars", "limit": 200}],
    "prepare__benchmarks": [{"dataset": "bars", "split": "test", "limit": 40}],
    "sft__max_steps": 24,
    "sft__save_every_steps": 6,
    "sample__limit": 64,
    "pair__min_accuracy": 0.0,
    "pair__max_accuracy": 1.0,
    "pair__teacher_as_chosen": True,  # so short a training rarely gets one right
    "dpo__max_steps": 8,
    "dpo__save_every_steps": 2,
}
"""The demo in about two minutes; set CHAINSIGHT_PROVE_ALL to strike the whole of it, 20 times."""


@contextmanager
def teacher(bills: Path) -> Iterator[str]:
    """A scripted teacher that outlives the runs and counts what it is asked."""
    with serve("127.0.0.1", 0, error_rate=0.1, seed=0, bills=bills) as server:
        yield server.url


def manifests(place: Workplace) -> dict[str, bytes]:
    """Every committed artifact, by the bytes of its manifest."""
    store = place.home / "store"
    return {str(p.relative_to(store)): p.read_bytes() for p in store.glob("*/*/manifest.json")}


def recorded(place: Workplace) -> Counter[str]:
    """How often each request stands in the ledger, whole lines only."""
    lines = [
        line
        for path in (place.home / "work" / "ledger").glob("*/*.jsonl")
        for line in path.read_text().split("\n")[:-1]
    ]
    return Counter(json.loads(line.partition(" ")[2])["key"] for line in lines if line)


def billed(folder: Path, doctors: Iterable[str] = ()) -> Counter[str]:
    """How often the teacher was asked each question, once requests under way have arrived.

    `doctors` are the questions of one token that the first task of every run asks; no example.
    """
    time.sleep(0.5)
    path = folder / "bills"
    asked = Counter(path.read_text().splitlines() if path.exists() else [])
    return Counter({question: n for question, n in asked.items() if question not in doctors})


def kill_after(place: Workplace, seconds: float, settings: dict[str, object]) -> bool:
    """Start the run and kill all of it; False when it had finished before."""
    process = place.start(CONFIG, **settings)
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return True
    return False


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_run_killed_at_random_moments_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    rng = random.Random(20)
    calm = Workplace(tmp_path / "calm", {"MLFLOW_TRACKING_URI": ""})
    struck = Workplace(tmp_path / "struck", {"MLFLOW_TRACKING_URI": ""})
    with teacher(tmp_path / "bills") as url:
        smaller = {} if os.environ.get("CHAINSIGHT_PROVE_ALL") else SMALLER
        settings = smaller | {"distill__teacher": url}
        calm.examine(CONFIG, **settings)
        doctors = set(billed(tmp_path))
        assert len(doctors) == 1
        (tmp_path / "bills").unlink()
        start = time.monotonic()
        expected, _ = calm.run(CONFIG, **settings)
        duration = time.monotonic() - start
        asked = billed(tmp_path, doctors).total()
        (tmp_path / "bills").unlink()

        committed: dict[str, bytes] = {}
        kills = unrecorded = 0
        while kills < KILLS:
            if kill_after(struck, rng.uniform(0.5, 2 * duration / KILLS), settings):
                kills += 1
                unrecorded += len(billed(tmp_path, doctors)) - len(recorded(struck))
            now = manifests(struck)
            assert {name: now[name] for name in committed} == committed, "an artifact changed"
            committed = now
            assert max(recorded(struck).values(), default=1) == 1, "an answer stands there twice"
        summary, _ = struck.run(CONFIG, **settings)
    twice = billed(tmp_path, doctors).total() - asked
    concurrency = calm.config(CONFIG).distill.concurrency
    print(f"{kills} kills of a run of {duration:.0f} s; {asked} requests")
    print(f"{twice} paid twice, of {unrecorded} without a record at a kill")
    assert summary["models"] == expected["models"]
    assert contents_but_decision(struck, settings) == contents_but_decision(calm, settings)
    assert len(recorded(struck)) == asked
    assert twice <= unrecorded <= kills * concurrency  # so none of the recorded was paid twice


def contents_but_decision(place: Workplace, settings: dict[str, object]) -> dict[str, str]:
    """Digests of all artifacts; the decision names the registry's version and so its store."""
    found = contents(place.resolve(CONFIG, **settings))
    del found["decision"]
    return found
