"""kill -9 of one rank at random steps: restarted, the training ends in the same weights."""

import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from trainings import Place, Trained, largest_difference

from chainsight.config import PlatformSection
from chainsight.errors import ChainsightError, LaunchError
from chainsight.launch import ranks
from chainsight.launch.worker import FAILURES_VARIABLE
from chainsight.progress import EVENTS_VARIABLE

STEPS, KILLS = 60, 10
SETTINGS: dict[str, Any] = {"epochs": 40, "max_steps": STEPS, "batch_size": 4}


def workers(home: Path) -> dict[int, int]:
    """The process id of each rank that works in `home`."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            lines = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has ended, or is another user's
            continue
        variables = dict(line.partition("=")[::2] for line in lines)
        if "RANK" in variables and str(home) in variables.get(FAILURES_VARIABLE, ""):
            found[int(variables["RANK"])] = int(folder.name)
    return found


class Killer:
    """Follows the leader's events and kills a rank at each of some random steps."""

    def __init__(self, home: Path, events: Path, stage: str, rng: random.Random) -> None:
        self.home, self.events, self.stage, self.rng = home, events, stage, rng
        self.killed: list[tuple[int, int]] = []
        self.signal = signal.SIGKILL

    def follow(self, ended: threading.Event) -> None:
        target, seen = 0, 0
        while not ended.is_set() and len(self.killed) < KILLS:
            time.sleep(0.02)
            lines = self.events.read_text().splitlines() if self.events.exists() else []
            for line in lines[seen:]:
                event = json.loads(line)
                if event["event"] == "task":
                    begun = event["done"] if event["title"] == self.stage else STEPS
                    target = begun + self.rng.randint(1, 8)
                elif event["event"] == "at" and target <= event["done"] < STEPS:
                    self.strike(event["done"])
                    target = STEPS
            seen = len(lines)

    def strike(self, step: int) -> None:
        found = workers(self.home)
        if len(found) == 2:
            rank = self.rng.randint(0, 1)
            os.kill(found[rank], self.signal)
            self.killed.append((step, rank))


@contextmanager
def following(killer: Killer) -> Iterator[None]:
    ended = threading.Event()
    thread = threading.Thread(target=killer.follow, args=(ended,))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("stage", "parallel"), [("sft", "fsdp"), ("dpo", "ddp")])
def test_a_training_whose_ranks_are_killed_ends_in_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, parallel: Any
) -> None:
    calm = Place(tmp_path / "calm", num_questions=15).train(stage, 2, parallel, **SETTINGS)
    place = Place(tmp_path / "struck", num_questions=15)
    monkeypatch.setenv(EVENTS_VARIABLE, str(tmp_path / "events"))
    killer = Killer(place.home, tmp_path / "events", stage, random.Random(3))
    platform = PlatformSection(processes=2, parallel=parallel, retries=1)
    deaths: list[str] = []
    with following(killer):
        for _ in range(KILLS + 1):  # each try has one restart by torchrun in it
            try:
                done = ranks.execute(place.job(stage, **SETTINGS), platform)
                break
            except LaunchError as error:
                deaths.append(str(error))
    assert len(killer.killed) == KILLS, killer.killed
    assert len(deaths) == KILLS // 2
    assert all("was killed by signal 9" in message for message in deaths)
    struck = Trained(place, done)
    difference = largest_difference(calm, struck)
    print(f"{stage} {parallel}: killed (step, rank) {killer.killed}; weights {difference:.1e}")
    assert difference <= 1e-6
    assert struck.curve == calm.curve


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_terminated_training_keeps_a_checkpoint_and_another_number_of_processes_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SETTINGS | {"max_steps": 12, "save_every_steps": 100}
    calm = Place(tmp_path / "calm", num_questions=15).train("sft", 1, **settings)
    place = Place(tmp_path / "struck", num_questions=15)
    monkeypatch.setenv(EVENTS_VARIABLE, str(tmp_path / "events"))
    killer = Killer(place.home, tmp_path / "events", "sft", random.Random(1))
    killer.signal = signal.SIGTERM  # to one rank alone, as when one machine is taken away
    with (
        following(killer),
        pytest.raises(ChainsightError, match=r"told to stop \(SIGTERM\).*checkpoint is kept"),
    ):
        place.train("sft", 2, "fsdp", **settings)
    checkpoints = list((place.home / "work").glob("sft-*/checkpoints/checkpoint-*"))
    assert len(checkpoints) == 1
    resumed = place.train("sft", 1, **settings)
    assert largest_difference(calm, resumed) < 1e-5
