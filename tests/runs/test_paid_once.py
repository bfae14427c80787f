"""No answer that is recorded is paid again: after kills, lost pods, and many processes at once.

Small here, larger with `make prove`; CHAINSIGHT_PROVE_ALL strikes as often as the figures in
docs/ledger.md say (half an hour).
"""

import os
import random
import shutil
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from paying import Distilling, billed_for, finished

from chainsight.teacher.ledger import SHELVED_ROWS

LATENCY_SECONDS = 0.02
ALL = bool(os.environ.get("CHAINSIGHT_PROVE_ALL"))
LARGE = [pytest.mark.slow, pytest.mark.timeout(3600)]


@contextmanager
def teacher(root: Path, latency_seconds: float = LATENCY_SECONDS) -> Iterator[str]:
    """The scripted teacher in a process of its own, which bills a request when it arrives."""
    script = (
        "import sys; from chainsight.demo.teacher import run; from pathlib import Path; "
        "run('127.0.0.1', 0, lambda url: print(url, flush=True), "
        f"bills=Path(sys.argv[1]), latency_seconds={latency_seconds})"
    )
    command = [sys.executable, "-c", script, str(root / "bills")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def own_prefix() -> str:
    """A store of the test's own: all of moto's servers in a process have the same objects."""
    return f"s3://chainsight/{uuid.uuid4().hex}"


@dataclass
class Strikes:
    """What killing a stage again and again led to."""

    kills: int = 0
    sent_again: int = 0
    """Requests for what was recorded at an earlier kill."""

    def line(self, about: str, place: Distilling) -> str:
        rows = Counter(entry["key"] for entry in place.recorded())
        extra = len(place.bills) - place.number
        return (
            f"| {about} | {self.kills} | {len(rows)} | {place.number - len(rows)} "
            f"| {rows.total() - len(rows)} | {self.sent_again} | {len(place.bills)} | {extra} |"
        )


def strike(place: Distilling, kills: int, concurrency: int, *, lose_home: bool = False) -> Strikes:
    """Kill the stage at random moments of its asking, then let it end."""
    rng, done, home = random.Random(kills * concurrency), Strikes(), place.root / "home"
    arguments = place.arguments(home, concurrency=concurrency)
    safe: list[tuple[int, set[str]]] = []
    with place.stem() as stem:
        for _ in range(kills):
            goal = place.num_bills() + rng.randint(1, 2 * place.number // (kills + 5))
            moment = moment_after(place.num_bills, goal, rng.uniform(0, LATENCY_SECONDS))
            done.kills += stem.kill_when(stem.start(arguments), moment)
            time.sleep(3 * LATENCY_SECONDS)  # what was sent has arrived
            known = place.recorded(None if lose_home else home)
            safe.append((len(place.bills), {billed_for(entry) for entry in known}))
            if lose_home:
                shutil.rmtree(home, ignore_errors=True)
        stem.start(arguments)
        assert stem.code() == 0
    bills = place.bills
    done.sent_again = sum(len(set(bills[start:]) & known) for start, known in safe)
    rows = Counter(entry["key"] for entry in place.recorded())
    assert (len(rows), rows.total(), done.sent_again) == (place.number, place.number, 0)
    return done


def moment_after(count: Callable[[], int], goal: int, seconds: float) -> Callable[[], bool]:
    """Whether it is so many seconds since a count has reached its goal."""
    since: list[float] = []

    def is_over() -> bool:
        if not since and count() >= goal:
            since.append(time.monotonic())
        return bool(since) and time.monotonic() >= since[0] + seconds

    return is_over


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("concurrency", [1, 8, 32])
def test_a_kill_costs_at_most_the_requests_in_flight(tmp_path: Path, concurrency: int) -> None:
    number = 2000
    with teacher(tmp_path) as url:
        place = Distilling(tmp_path, number, url, str(tmp_path / "store"))
        done = strike(place, 50 if ALL else 12, concurrency)
        print(done.line(f"{concurrency} in flight", place))
        assert len(place.bills) - number <= done.kills * concurrency


@pytest.mark.parametrize(
    ("where", "number", "kills", "concurrency"),
    [
        ("folder", 200, 2, 8),
        *(
            pytest.param(where, 2000, 20 if ALL else 5, concurrency, marks=LARGE)
            for where in ("folder", "s3")
            for concurrency in (8, 32)
        ),
    ],
)
def test_a_lost_pod_costs_the_requests_in_flight_and_what_was_not_shelved_yet(
    tmp_path: Path, s3: dict[str, str], where: str, number: int, kills: int, concurrency: int
) -> None:
    uri = str(tmp_path / "store") if where == "folder" else own_prefix()
    with teacher(tmp_path) as url:
        place = Distilling(tmp_path, number, url, uri, s3)
        done = strike(place, kills, concurrency, lose_home=True)
        print(done.line(f"{concurrency} in flight, home lost, {where}", place))
        assert len(place.bills) - number <= done.kills * (concurrency + SHELVED_ROWS)


@pytest.mark.parametrize(
    ("homes", "number", "processes", "reruns"),
    [
        ("a home each, s3", 60, 3, 1),
        *(
            pytest.param(homes, 400, 16, 20 if ALL else 4, marks=LARGE)
            for homes in ("one home", "a home each", "a home each, s3")
        ),
    ],
)
def test_many_processes_at_once_pay_each_question_once_and_make_one_artifact(
    tmp_path: Path, s3: dict[str, str], homes: str, number: int, processes: int, reruns: int
) -> None:
    def home(process: int) -> Path:
        return tmp_path / ("home" if homes == "one home" else f"home{process}")

    uri = own_prefix() if homes.endswith("s3") else str(tmp_path / "store")
    with teacher(tmp_path) as url:
        place = Distilling(tmp_path, number, url, uri, s3)
        started = [place.start(home(process)) for process in range(processes)]
        shown = [finished(process)["artifacts"] for process in started]
        again = [finished(place.start(home(rerun % processes))) for rerun in range(reruns)]
        assert Counter(place.bills) == Counter(set(place.bills))
        assert len(place.bills) == number
        assert {summary["artifacts"]["rationales"] for summary in again} | {
            artifacts["rationales"] for artifacts in shown
        } == {again[0]["artifacts"]["rationales"]}
        assert all(summary["reused"] for summary in again)
        assert len(list(place.store.list("rationales"))) == 1
        rows = Counter(entry["key"] for entry in place.recorded())
        assert (len(rows), rows.total()) == (number, number)
        print(f"| {processes} at once, {homes} | {len(place.bills)} | {number} | 1 |")


def test_who_waits_says_for_whom_and_takes_over_from_the_dead(tmp_path: Path) -> None:
    with teacher(tmp_path, latency_seconds=0.1) as url:
        place = Distilling(tmp_path, 150, url, str(tmp_path / "store"))
        first = place.start(tmp_path / "one", concurrency=1)
        while not place.bills:
            time.sleep(0.01)
        second = place.start(tmp_path / "two", concurrency=16)
        assert second.stderr
        said = second.stderr.readline() + second.stderr.readline()  # the estimate comes first
        first.kill()
        first.communicate()
        shelved = len(place.recorded())
        metrics = finished(second)["metrics"]
        assert f"process {first.pid} on " in said
        assert "is at the same work; waiting for it" in said
        assert (metrics["num_from_ledger"], metrics["num_asked"]) == (shelved, 150 - shelved)
        assert 150 <= len(place.bills) <= 150 + 1 + 10 / 0.1  # in flight, and of the last 10 s
