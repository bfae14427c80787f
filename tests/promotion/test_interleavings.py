"""Writers are stopped at each of their steps, and others come between: all end in agreement."""

import threading
from collections.abc import Callable

import pytest
from bench import Bench, Gate, KilledError, kill_at

from chainsight.promotion import Reconciler, promote, rollback
from chainsight.tracking import OVERRIDE

STEPS = ["appended", "champion set", "previous set", "checked"]
NEVER = 1e9  # seconds: an entry that is left to its writer for ever


def in_agreement(bench: Bench) -> None:
    """The log is whole, both aliases are as it says, and in the long run nothing is open."""
    log = bench.log()
    assert (bench.champion, bench.previous) == (log[-1].champion, log[-1].previous)
    place = bench.place()
    place.now = lambda: 1e12  # no writer of then can still be alive
    Reconciler(place).look()
    assert bench.open() == ()
    assert bench.log() == log


@pytest.fixture
def two(bench: Bench) -> tuple[int, int, int]:
    """Versions 1 and 2 became champion; 3 is a better one."""
    numbers = [bench.version(score).number for score in (0.1, 0.2, 0.3)]
    for number in numbers[:2]:
        promote(bench.place(), version=number)
    return numbers[0], numbers[1], numbers[2]


def test_killed_before_it_appends_nothing_has_happened(
    bench: Bench, two: tuple[int, int, int]
) -> None:
    with pytest.raises(KilledError):
        promote(bench.place(kill_at("decided")), version=two[2])
    in_agreement(bench)
    assert bench.champion == two[1]


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_promotion_is_finished_by_the_reconciler(
    bench: Bench, two: tuple[int, int, int], step: str
) -> None:
    with pytest.raises(KilledError):
        promote(bench.place(kill_at(step)), version=two[2])
    Reconciler(bench.place()).look()
    in_agreement(bench)
    assert (bench.champion, bench.previous) == (two[2], two[1])
    repaired = ["repaired"] if step == "appended" else []
    assert bench.actions() == ["promoted", "promoted", "promoted", *repaired]


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_promotion_is_finished_by_making_it_again(
    bench: Bench, two: tuple[int, int, int], step: str
) -> None:
    with pytest.raises(KilledError):
        promote(bench.place(kill_at(step)), version=two[2])
    assert "already" in promote(bench.place(), version=two[2]).text
    in_agreement(bench)
    assert bench.champion == two[2]
    assert bench.actions().count("promoted") == 3


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("settle", [0.0, NEVER])
def test_after_a_killed_promotion_the_next_one_leaves_all_in_order(
    bench: Bench, two: tuple[int, int, int], step: str, settle: float
) -> None:
    with pytest.raises(KilledError):
        promote(bench.place(kill_at(step)), version=two[2])
    best = bench.version(0.9)
    promote(bench.place(settle_seconds=settle), version=best.number)
    assert (bench.champion, bench.previous) == (best.number, two[2])
    in_agreement(bench)


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_rollback_is_finished_too(
    bench: Bench, two: tuple[int, int, int], step: str
) -> None:
    with pytest.raises(KilledError):
        rollback(bench.place(kill_at(step)), why="slow")
    Reconciler(bench.place()).look()
    in_agreement(bench)
    assert (bench.champion, bench.previous) == (two[0], None)


def test_a_writer_at_work_is_left_alone(bench: Bench, two: tuple[int, int, int]) -> None:
    with pytest.raises(KilledError):
        promote(bench.place(kill_at("appended")), version=two[2])
    Reconciler(bench.place(settle_seconds=NEVER)).look()
    assert bench.champion == two[1]
    assert bench.actions() == ["promoted"] * 3


def overtaken(
    bench: Bench, held_at: str, slow: int, fast: int, then: Callable[[str], None]
) -> None:
    """`slow` is promoted, but held at a step until `fast` has been; `then` is its next steps."""
    gate = Gate(held_at)

    def step(at: str) -> None:
        gate(at)
        if gate.open.is_set():
            then(at)

    def writer() -> None:
        try:
            promote(bench.place(step), version=slow)
        except KilledError:
            return

    thread = threading.Thread(target=writer)
    thread.start()
    assert gate.reached.wait(30)
    promote(bench.place(settle_seconds=NEVER), version=fast)
    gate.open.set()
    thread.join(30)
    assert not thread.is_alive()


@pytest.mark.parametrize("held_at", ["decided", *STEPS])
def test_a_slow_writer_that_is_overtaken_ends_at_the_newest_entry(
    bench: Bench, two: tuple[int, int, int], held_at: str
) -> None:
    best = bench.version(0.9).number
    overtaken(bench, held_at, two[2], best, lambda _: None)
    in_agreement(bench)
    assert bench.champion == best
    last = "refused" if held_at == "decided" else "promoted"
    assert bench.actions() == ["promoted", "promoted", "promoted", last]


@pytest.mark.parametrize("killed_at", ["champion set", "previous set"])
def test_a_late_write_of_a_killed_writer_is_told_from_a_persons_move(
    bench: Bench, two: tuple[int, int, int], killed_at: str
) -> None:
    best = bench.version(0.9).number
    overtaken(bench, "appended", two[2], best, kill_at(killed_at))
    assert bench.champion == two[2]  # written after the other's
    Reconciler(bench.place()).look()
    assert bench.champion == best
    assert bench.actions()[-1] == "repaired"
    assert "adopted" not in bench.actions()
    in_agreement(bench)


def test_a_person_who_moves_the_alias_back_is_believed_once_the_writers_are_done(
    bench: Bench, two: tuple[int, int, int]
) -> None:
    promote(bench.place(), version=two[2])
    bench.move(two[1])
    Reconciler(bench.place(settle_seconds=NEVER)).look()
    assert bench.actions()[-1] == "adopted"
    assert bench.open() == ()
    in_agreement(bench)
    assert (bench.champion, bench.previous) == (two[1], two[0])


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("gate", ["passed", "refused"])
def test_a_reconciler_killed_while_it_answers_a_move_goes_on(
    bench: Bench, two: tuple[int, int, int], step: str, gate: str
) -> None:
    moved_to = bench.version(0.9, gate=gate).number
    bench.move(moved_to)
    with pytest.raises(KilledError):
        Reconciler(bench.place(kill_at(step))).look()
    Reconciler(bench.place()).look()
    Reconciler(bench.place()).look()
    in_agreement(bench)
    assert bench.champion == (moved_to if gate == "passed" else two[1])
    answer = "adopted" if gate == "passed" else "reverted"
    assert bench.actions().count(answer) == 1


def test_a_move_between_the_steps_of_a_promotion_is_not_lost(
    bench: Bench, two: tuple[int, int, int]
) -> None:
    """The person was later than the promotion: the alias is theirs."""
    other = bench.version(0.8, gate="refused", **{OVERRIDE: "a trial"}).number

    def meddle(step: str) -> None:
        if step == "checked":
            bench.move(other)

    promote(bench.place(meddle), version=two[2])
    Reconciler(bench.place()).look()
    in_agreement(bench)
    assert bench.champion == other
    assert bench.log()[-1].why == "override: a trial"


def test_two_reconcilers_answer_one_move_once(bench: Bench, two: tuple[int, int, int]) -> None:
    bench.move(two[2])
    barrier = threading.Barrier(2)

    def meet(step: str) -> None:
        if step == "decided":
            barrier.wait(30)

    places = [bench.place(meet), bench.place(meet)]
    threads = [threading.Thread(target=Reconciler(place).look) for place in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert bench.actions() == ["promoted", "promoted", "adopted"]
    in_agreement(bench)


def test_a_move_while_it_is_looked_at_does_not_confuse(
    bench: Bench, two: tuple[int, int, int]
) -> None:
    """The log is read, then a whole promotion passes, then the alias is read."""
    left = [True]

    def meanwhile(step: str) -> None:
        if step == "log read" and left:
            left.clear()
            promote(bench.place(), version=two[2])

    Reconciler(bench.place(meanwhile)).look()
    assert bench.actions() == ["promoted"] * 3
    in_agreement(bench)
