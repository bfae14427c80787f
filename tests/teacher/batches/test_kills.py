"""Batch mode in processes of their own, which die or race: no batch twice, no answer paid twice."""

import multiprocessing
import os
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from calling import ask, ask_or_die, keys_of
from killing import POINTS, Gate, gate_to

from chainsight.records import Example

IN_OTHERS = multiprocessing.get_context("forkserver")
IN_OTHERS.set_forkserver_preload(["calling"])
CUT = {"max_requests": 8, "poll_seconds": 0.1}


def start(url: str, charts: list[Example], home: Path, store: Path | None) -> Any:
    """One run in a process of its own."""
    process = IN_OTHERS.Process(
        target=ask_or_die, args=(url, charts, home, store), kwargs={"batch": CUT}
    )
    process.start()
    return process


def run_until_killed(
    gate: Gate, point: str, number: int, charts: list[Example], home: Path, store: Path | None
) -> None:
    gate.killed.clear()
    gate.point, gate.countdown = "", number
    process = start(gate.url, charts, home, store)
    gate.process, gate.point = process.pid, point
    process.join(60)
    assert process.exitcode == -9


def check_one_batch_for_each_run_key(here: Any, num_questions: int) -> None:
    keys = Counter(batch["metadata"]["run_key"] for batch in here.batches())
    assert set(keys.values()) == {1}
    assert len(here.bill.rows) == num_questions
    assert set(here.bill.rows.values()) == {1}
    assert here.files() == []


def die_once_and_resume(
    place: Any, charts: list[Example], point: str, seed: int, *, loses_home: bool, store: bool
) -> None:
    draw = random.Random(f"{point}/{seed}")
    lag = 0.15 * (seed % 2)  # longer than a resumed run takes to its first look
    with (
        place(store=store, batch={"seconds": 0.1, "list_lag_seconds": lag}) as here,
        gate_to(here.server.url) as gate,
    ):
        number = draw.randrange(5)
        run_until_killed(gate, point, number, charts, here.home, here.store)
        if loses_home:
            shutil.rmtree(here.home)
        gate.point = ""
        done = ask(gate.url, charts, here.home, here.store, batch=CUT)
        assert done.error == ""
        assert set(keys_of(gate.url, charts)) <= set(done.answers)
        check_one_batch_for_each_run_key(here, len(charts))


@pytest.mark.parametrize("point", POINTS)
def test_a_run_that_dies_at_any_point_pays_no_answer_twice(
    place: Any, charts: list[Example], point: str
) -> None:
    die_once_and_resume(place, charts, point, 0, loses_home=False, store=False)


@pytest.mark.parametrize("point", POINTS)
def test_a_pod_that_is_lost_with_its_folder_pays_no_answer_twice(
    place: Any, charts: list[Example], point: str
) -> None:
    die_once_and_resume(place, charts, point, 1, loses_home=True, store=True)


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("seed", range(20 if os.environ.get("CHAINSIGHT_PROVE_ALL") else 4))
def test_many_deaths_at_each_point_make_one_batch_for_each_run_key(
    place: Any, charts: list[Example], point: str, seed: int
) -> None:
    loses_home = seed % 2 == 1
    die_once_and_resume(
        place, charts, point, seed + 2, loses_home=loses_home, store=loses_home or seed % 4 == 0
    )


@pytest.mark.parametrize("num_processes", [2])
def test_processes_that_ask_the_same_at_once_create_each_batch_once(
    place: Any, charts: list[Example], num_processes: int
) -> None:
    race(place, charts, num_processes, homes=1)


@pytest.mark.slow
@pytest.mark.parametrize("homes", [1, 4])
def test_eight_processes_in_one_home_or_many_create_each_batch_once(
    place: Any, charts: list[Example], homes: int
) -> None:
    race(place, charts, 8, homes=homes)


def race(place: Any, charts: list[Example], num_processes: int, *, homes: int) -> None:
    with place(batch={"seconds": 0.2, "list_lag_seconds": 0.05}) as here:
        runs = [
            start(here.server.url, charts[n % 3 :], here.home / f"{n % homes}", here.store)
            for n in range(num_processes)
        ]
        for run in runs:
            run.join(120)
        assert [run.exitcode for run in runs] == [0] * num_processes
        check_one_batch_for_each_run_key(here, len(charts))
        done = ask(here.server.url, charts, here.home / "0", here.store)
        assert (len(done.answers), done.asked and done.asked.num_asked) == (len(charts), 0)
