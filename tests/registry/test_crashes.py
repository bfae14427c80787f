"""kill -9 at 50 moments, with MLflow and PostgreSQL restarted meanwhile: as if nothing had been.

Each strike hits one real process: before or after one of the requests that matter, or at a random
moment. The same is then called again, until it is done, as people and pods do.
"""

import itertools
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import audit
import pytest
import quick
from desk import Desk
from processes import until
from stack import STORE, Stack
from striking import Moment, Service, strikers

from chainsight.promotion import Log
from chainsight.promotion.history import disagreements
from chainsight.tracking import CHAMPION, CONTENT_DIGEST, GATE

pytestmark = [pytest.mark.slow, pytest.mark.registry]
NUM_CRASHES, NUM_RESTARTS, NUM_MODELS = 50, 10, 10
GAIN = 6
"""Questions by which a candidate beats the one before: more than chance, by the gate."""
TRIES, STRIKES = 60, 10

POINTS: list[tuple[str, Service, str, str, int]] = [
    ("register", "s3", "PUT", r"/aligned/\w{64}/attempt-\w{32}/model\.safetensors$", 1),
    ("register", "s3", "PUT", r"/aligned/\w{64}/manifest\.json$", 1),
    ("register", "s3", "GET", r"/predictions/\w{64}/.*\.parquet$", 1),
    ("register", "s3", "PUT", r"/registrations/", 1),
    ("register", "mlflow", "POST", r"/registered-models/create$", 1),
    ("register", "mlflow", "POST", r"/model-versions/create$", 1),
    ("register", "mlflow", "POST", r"/registered-models/alias$", 1),
    ("register", "s3", "PUT", r"/artifacts/model_card\.md$", 1),
    ("evaluate anew", "mlflow", "POST", r"/model-versions/set-tag$", 1),
    ("evaluate anew", "mlflow", "POST", r"/model-versions/set-tag$", 3),
    ("evaluate anew", "mlflow", "PATCH", r"/model-versions/update$", 1),
    ("promote", "s3", "GET", r"/aligned/\w{64}/attempt-\w{32}/model\.safetensors$", 1),
    ("promote", "mlflow", "POST", r"/model-versions/set-tag$", 1),
    ("promote", "s3", "PUT", r"/promotions/.*\.json$", 1),
    ("promote", "mlflow", "POST", r"/registered-models/alias$", 1),
    ("promote", "mlflow", "POST", r"/registered-models/alias$", 2),
    ("promote", "s3", "PUT", r"/promotions/.*\.applied$", 1),
    ("roll back", "s3", "PUT", r"/promotions/.*\.json$", 1),
    ("roll back", "mlflow", "POST", r"/registered-models/alias$", 1),
    ("reconcile", "s3", "PUT", r"/promotions/.*\.json$", 1),
    ("reconcile", "mlflow", "POST", r"/registered-models/alias$", 2),
    ("reconcile", "s3", "PUT", r"/promotions/.*\.applied$", 1),
]

Candidate = tuple[str, Path, int, int, int]


def strikes() -> list[tuple[str, Moment | None]]:
    """What is done and when it is struck; None: at a random moment."""
    found: list[tuple[str, Moment | None]] = [
        (kind, Moment(service, method, path, nth, when))
        for kind, service, method, path, nth in POINTS
        for when in ("before", "after")
    ]
    kinds = itertools.cycle(("register", "promote", "reconcile"))
    found += [(next(kinds), None) for _ in range(NUM_CRASHES - len(found))]
    random.Random(4).shuffle(found)
    return found


@dataclass
class Team:
    """Who works on one model: candidates come, are promoted, rolled back, moved by hand."""

    desk: Desk
    rng: random.Random
    first: int
    """Its candidates are numbered from here on."""
    crashes: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    registered: set[int] = field(default_factory=set)
    number: int = 0
    num_right: int = 4

    def play(self, script: list[tuple[str, Moment | None]]) -> None:
        self.done("register", self.better())
        for kind, moment in script:
            {
                "register": self.struck_register,
                "evaluate anew": self.struck_again,
                "promote": self.struck_promote,
                "roll back": self.struck_rollback,
                "reconcile": self.struck_reconcile,
            }[kind](moment)

    def struck_register(self, moment: Moment | None) -> None:
        self.done("register", self.struck("register", moment, self.better))

    def struck_again(self, moment: Moment | None) -> None:
        def prepare() -> Candidate:
            candidate = self.better()
            self.done("register", candidate)
            return (*candidate[:4], candidate[4] + 1)

        self.done("register", self.struck("register", moment, prepare))

    def struck_promote(self, moment: Moment | None) -> None:
        def prepare() -> None:
            self.done("register", self.better())

        self.struck("promote", moment, prepare)
        self.done("promote")

    def struck_rollback(self, moment: Moment | None) -> None:
        def prepare() -> None:
            self.done("register", self.better())
            self.done("promote")

        self.struck("rollback", moment, prepare, "--why=crash")
        self.done("watch-registry", None, "--once")

    def struck_reconcile(self, moment: Moment | None) -> None:
        def prepare() -> None:
            self.done("register", self.better())
            self.done("watch-registry", None, "--once")
            self.move_by_hand()

        self.struck("watch-registry", moment, prepare, "--once")
        self.done("watch-registry", None, "--once")

    def better(self) -> Candidate:
        """A candidate that beats all before it, with files that no other team has."""
        self.number, self.num_right = self.number + 1, self.num_right + GAIN
        return STORE, self.desk.folder, self.first + self.number, self.num_right, 12

    def move_by_hand(self) -> None:
        """Somebody moves the alias to the challenger, in MLflow's pages."""

        def moved() -> bool:
            try:
                number = self.desk.registry.aliases(self.desk.name)["challenger"]
                body = {"name": self.desk.name, "alias": "champion", "version": str(number)}
                path = "2.0/mlflow/registered-models/alias"
                self.desk.stack.mlflow.call("POST", path, body, "promoter")
            except (OSError, ValueError):
                return False
            return True

        until("a move by hand", moved, 120, poll=1)

    def struck(
        self, command: str, moment: Moment | None, prepare: Callable[[], Any], *flags: str
    ) -> Any:
        """Prepare and start a process until the strike has hit it; what was prepared."""
        for _ in range(STRIKES):
            candidate = prepare()
            if self.hit(command, moment, candidate, *flags):
                where = "at random" if moment is None else f"{moment.when} {moment.path}"
                self.crashes[f"{command}: {where}"] += 1
                return candidate
            time.sleep(0.5)  # a service was away, or it was done before the strike came
        raise AssertionError(f"{command} was never struck {moment}")  # it makes no such request?

    def hit(self, command: str, moment: Moment | None, candidate: Any, *flags: str) -> bool:
        stack = self.desk.stack
        with strikers(stack.mlflow.url, stack.s3.url, moment) as (mlflow, s3):
            more = {"MLFLOW_TRACKING_URI": mlflow.url, "AWS_ENDPOINT_URL": s3.url}
            process = self.start(command, candidate, *flags, **more)
            mlflow.victim = s3.victim = process.pid
            if moment is None:
                process.join(self.rng.uniform(0.05, 0.8))
                process.kill()
            process.join(240)
            hit = process.exitcode == -signal.SIGKILL
            assert moment is None or hit == (mlflow.struck or s3.struck)
            return hit

    def done(self, command: str, candidate: Any = None, *flags: str) -> None:
        """Call a command until it succeeds, whatever is away meanwhile."""
        for _ in range(TRIES):
            self.attempts += 1
            process = self.start(command, candidate, *flags)
            process.join(240)
            if process.exitcode == 0:
                self.registered |= {candidate[2]} if candidate else set()
                return
            time.sleep(0.5)
        raise AssertionError(f"{command} never succeeded:\n{self.log.read_text()[-3000:]}")

    def start(self, command: str, candidate: Any, *flags: str, **more: str) -> Any:
        user = "trainer" if command == "register" else "promoter"
        environment = self.desk.stack.environment(user) | more
        if "AWS_ENDPOINT_URL" in more:
            environment["MLFLOW_S3_ENDPOINT_URL"] = more["AWS_ENDPOINT_URL"]
        arguments = [command, str(self.desk.config), *flags]
        return quick.start(arguments, environment, self.log, candidate)

    @property
    def log(self) -> Path:
        return self.desk.folder / "processes.log"


@contextmanager
def restarts(stack: Stack, teams: list[Team]) -> Iterator[list[float]]:
    """MLflow and PostgreSQL go down in turns, gently and not, after every few crashes."""
    took: list[float] = []
    ended = threading.Event()

    def go_on() -> None:
        every = NUM_CRASHES / (NUM_RESTARTS + 1)
        while not ended.wait(0.2) and len(took) < NUM_RESTARTS:
            if sum(team.crashes.total() for team in teams) >= every * (len(took) + 1):
                server = (stack.mlflow, stack.postgres)[len(took) % 2]
                took.append(server.restart(kill=len(took) % 4 < 2))

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield took
    finally:
        ended.set()
        thread.join(300)


@pytest.mark.timeout(900)
def test_fifty_crashes_leave_no_trace(desk: Desk) -> None:
    stack, start = desk.stack, time.monotonic()
    audit.install(stack.postgres)
    teams = [
        Team(Desk(stack, desk.folder / str(n), f"crashes-{n}"), random.Random(n), 1000 * (n + 1))
        for n in range(NUM_MODELS)
    ]
    script = strikes()
    with restarts(stack, teams) as took, ThreadPoolExecutor(NUM_MODELS) as pool:
        shares = [script[n::NUM_MODELS] for n in range(NUM_MODELS)]
        list(pool.map(lambda team, share: team.play(share), teams, shares))
    crashes = sum((team.crashes for team in teams), Counter())
    entries = sum(check(team, stack) for team in teams)
    print(
        f"{crashes.total()} crashes at {len(crashes)} moments, {len(took)} restarts, "
        f"{sum(team.attempts for team in teams)} calls that came after, {entries} log entries, "
        f"{sum(len(team.desk.versions()) for team in teams)} versions, "
        f"{time.monotonic() - start:.0f} s"
    )
    assert crashes.total() == NUM_CRASHES
    assert len(took) == NUM_RESTARTS


def check(team: Team, stack: Stack) -> int:
    """What must be so at the end; the number of log entries."""
    desk = team.desk
    agreed(team)
    versions = {version.number: version for version in desk.versions()}
    digests = Counter(version.tags[CONTENT_DIGEST] for version in versions.values())
    assert len(team.registered) <= len(digests) <= team.number  # others were never registered
    assert set(digests.values()) == {1}
    log = Log(desk.store, desk.name)
    entries, problems = log.audit()
    assert problems == []
    assert [entry.number for entry in entries] == list(range(1, len(entries) + 1))
    seen = audit.seen(stack.postgres, desk.name, CHAMPION)
    assert {one.gate for one in seen} == {"passed"}
    assert {one.version for one in seen} <= {entry.champion for entry in entries}
    for number in {one.version for one in seen}:
        desk.store.verify(versions[number].tags["chainsight.aligned_uri"])
        assert versions[number].tags[GATE] == "passed"
    assert desk.registry.aliases(desk.name)[CHAMPION] == entries[-1].champion
    return len(entries)


def agreed(team: Team) -> None:
    """The reconciler goes on looking until log and aliases agree."""

    def agree() -> bool:
        team.done("watch-registry", None, "--once")
        # An entry whose writer died stays open for ten minutes: that alone is no disagreement.
        return [note for note in disagreements(team.desk.place()) if "alias" in note] == []

    until(f"the agreement of {team.desk.name}", agree, 90, poll=1)
