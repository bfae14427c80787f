"""One version per content, however often it is tried, raced or killed. Processes of their own.

They are forked, as starting Python with mlflow takes seconds; the parent never opens their
database, since a connection does not survive a fork.
"""

import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from registering import BETTER, GOOD, World

from chainsight.config import GateSection
from chainsight.stages import register
from chainsight.stages.register import PASSED, REFUSED
from chainsight.tracking import CONTENT_DIGEST, DECISION, GATE, PREDICTIONS_URI, Registry

FORK = multiprocessing.get_context("fork")
CHANGES = (
    "create_registered_model",
    "create_model_version",
    "set_model_version_tag",
    "update_model_version",
    "set_registered_model_alias",
    "delete_model_version",
)
"""What of MLflow's client changes the registry: a step each."""


class Dying:
    """MLflow's client, whose process is killed right after its `at`-th change (0: before any)."""

    def __init__(self, client: Any, at: int) -> None:
        self._client, self._left = client, at

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)
        if name not in CHANGES:
            return call

        def changing(*arguments: Any, **named: Any) -> Any:
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self._left -= 1
            done = call(*arguments, **named)
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        return changing


class DyingRegistry(Registry):
    def __init__(self, uri: str, at: int) -> None:
        super().__init__(uri)
        self._client = Dying(self._client, at)


def in_child(call: Callable[[], Any]) -> Any:
    """The JSON-able result of `call` in a process of its own; None if that was killed."""
    here, there = FORK.Pipe(duplex=False)

    def work() -> None:
        there.send(call())

    child = FORK.Process(target=work)
    child.start()
    there.close()
    try:
        result = here.recv()
    except EOFError:
        result = None
    child.join()
    assert child.exitcode == (0 if result is not None else -signal.SIGKILL)
    return result


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables: making them takes a second, copying them does not."""
    folder = tmp_path_factory.mktemp("empty")
    Registry(f"sqlite:///{folder}/own.db")  # imports what the children will need
    path = folder / "mlflow.db"
    assert in_child(lambda: Registry(f"sqlite:///{path}").versions("x") == [])
    return path


@pytest.fixture
def world(tmp_path: Path, empty_database: Path) -> World:
    shutil.copyfile(empty_database, tmp_path / "mlflow.db")
    return World(tmp_path, f"sqlite:///{tmp_path}/mlflow.db", "m")


def killed(world: World, inputs: dict[str, str], at: int, gate: GateSection | None = None) -> bool:
    """Register and die after the `at`-th change; whether there were so many."""

    def call() -> bool:
        context = world.context(inputs)
        folders = {kind: world.store.fetch(uri) for kind, uri in inputs.items()}
        section = world.section(gate)
        evidence = register._evidence(section, folders["predictions"], folders["scores"], context)
        register.register(section, evidence, DyingRegistry(world.uri, at), context)
        return True

    return in_child(call) is None


def state(world: World) -> dict[str, Any]:
    """The registry as it is: versions with their tags, and aliases."""

    def call() -> dict[str, Any]:
        registry = world.registry
        versions = registry.versions(world.model_name)
        return {
            "tags": {version.number: dict(version.tags) for version in versions},
            "descriptions": {version.number: version.description for version in versions},
            "aliases": registry.aliases(world.model_name),
        }

    return dict(in_child(call))


def each_kill(
    world: World, inputs: dict[str, str], gate: GateSection | None = None
) -> Iterator[int]:
    """The registry as a registration leaves it that dies after its first change, its second..."""
    database = world.root / "mlflow.db"
    before = database.read_bytes()
    for at in range(60):
        database.with_name("mlflow.db-journal").unlink(missing_ok=True)
        database.write_bytes(before)
        if not killed(world, inputs, at, gate):
            return
        yield at
    raise AssertionError("a registration of sixty changes")


def test_sixteen_racers_make_one_version(world: World) -> None:
    """Of equal content, but of two evaluations: both are found in the one version."""
    first, second = world.candidate(b"one", GOOD), world.candidate(b"one", GOOD)
    start = FORK.Barrier(16)
    results = FORK.SimpleQueue()

    def race(number: int) -> None:
        start.wait()
        inputs = (first, second)[number % 2]
        results.put(world.register(inputs, folder=f"raced-{number}")["version"])

    racers = [FORK.Process(target=race, args=(number,)) for number in range(16)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert [racer.exitcode for racer in racers] == [0] * 16
    assert [results.get() for _ in racers] == [1] * 16
    found = state(world)
    assert list(found["tags"]) == [1]
    assert found["aliases"] == {"challenger": 1, "champion": 1}


def test_racing_models_are_compared_one_after_the_other(world: World) -> None:
    """Without a champion to begin with: the second is judged against the first, whoever that is."""
    candidates = [world.candidate(bytes([n]), [1.0] * n + [0.0] * (20 - n)) for n in (4, 8, 12, 16)]
    racers = [
        FORK.Process(target=world.register, args=(inputs,), kwargs={"folder": f"raced-{n}"})
        for n, inputs in enumerate(candidates)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert [racer.exitcode for racer in racers] == [0] * 4
    found = state(world)
    decisions = {n: json.loads(tags[DECISION])["decision"] for n, tags in found["tags"].items()}
    assert sorted(decisions) == [1, 2, 3, 4]
    assert [n for n, one in decisions.items() if one["champion_value"] is None] == [1]
    assert found["aliases"]["champion"] == 1
    champion = decisions[1]["candidate_value"]
    assert {one["champion_value"] for n, one in decisions.items() if n != 1} == {champion}


def test_a_kill_after_any_step_heals(world: World) -> None:
    """Model, version, two aliases: dead after each, one version in the end, as if undisturbed."""
    inputs = world.candidate(b"one", GOOD)
    healed = []
    for _ in each_kill(world, inputs):
        decision = in_child(lambda: world.register(inputs))
        assert decision["aliases"] == ["challenger", "champion"]
        healed.append((decision, state(world)))
    assert len(healed) == 5  # before the first change, and after each of the four
    assert all(one == (in_child(lambda: world.register(inputs)), state(world)) for one in healed)
    assert list(state(world)["tags"]) == [1]


def test_a_version_is_never_there_without_its_tags(world: World) -> None:
    """A kill between the version and anything else: all that lineage needs is there."""
    inputs = world.candidate(b"one", GOOD)
    assert killed(world, inputs, 2)
    tags = state(world)["tags"][1]
    assert tags[CONTENT_DIGEST] == world.store.load(inputs["aligned"]).content_digest
    assert tags[PREDICTIONS_URI] == inputs["predictions"]
    assert tags["chainsight.teacher"] == "gpt-4o-2024-05-13"


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(GOOD, BETTER), (BETTER, GOOD)])
def test_a_kill_while_a_version_is_described_anew_heals(
    world: World, before: list[float], after: list[float]
) -> None:
    """By another evaluation, from refused to passed and back: open only where the rest stands."""
    first, second = world.candidate(b"one", GOOD), world.candidate(b"two", before)
    again = {**world.candidate(b"two", after), "aligned": second["aligned"]}
    assert in_child(lambda: world.register(first)["passed"])
    assert in_child(lambda: world.register(second)["passed"]) == (before == BETTER)
    old = state(world)["tags"][2]
    between, healed = [], []
    for _ in each_kill(world, again):
        between.append(state(world)["tags"][2])
        assert in_child(lambda: world.register(again)["passed"]) == (after == BETTER)
        healed.append(state(world))
    new = state(world)  # undisturbed
    assert len(healed) > 6
    assert all(one == new for one in healed)
    assert all(tags in (old, new["tags"][2]) for tags in between if tags[GATE] == PASSED)
    assert list(new["tags"]) == [1, 2]
    assert new["tags"][2][GATE] == (PASSED if after == BETTER else REFUSED)
    assert new["aliases"] == {"challenger": 2, "champion": 1}
    assert f"{100 * sum(after) / 20:.2f} %" in new["descriptions"][2]


def test_without_the_lease_the_oldest_stays(world: World) -> None:
    """Holders that were frozen for longer than their time: each looks, afterwards, for others."""
    inputs = world.candidate(b"one", GOOD)
    start = FORK.Barrier(4)

    def race(number: int) -> None:
        start.wait()
        context = replace(world.context(inputs), claim=alone)
        assert world.register(inputs, context=context, folder=f"raced-{number}")["version"] > 0

    racers = [FORK.Process(target=race, args=(number,)) for number in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert [racer.exitcode for racer in racers] == [0] * 4
    assert len(state(world)["tags"]) == 1


def alone(name: str) -> AbstractContextManager[None]:
    return nullcontext()


def test_a_twin_that_a_kill_left_is_deleted_by_the_next_try(world: World) -> None:
    inputs = world.candidate(b"one", GOOD)

    def twin() -> int:
        first = world.registry.version(world.model_name, world.register(inputs)["version"])
        made = world.registry.create(
            world.model_name, first.source, run_id=None, tags=first.tags, description=""
        )
        return made.number

    assert in_child(twin) == 2
    assert in_child(lambda: world.register(inputs)["version"]) == 1
    assert list(state(world)["tags"]) == [1]
