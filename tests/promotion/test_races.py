"""Many promote at once: one order, one champion, and it is the best."""

import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bench import Bench

from chainsight.promotion import Reconciler, promote
from chainsight.store import LocalStore


class CountedStore(LocalStore):
    """Counts the requests of all its users."""

    def __init__(self, root: Path, counts: Counter[str]) -> None:
        super().__init__(root)
        self._counts = counts

    def create(self, name: str, data: bytes) -> bool:
        self._counts["create"] += 1
        return super().create(name, data)

    def read(self, name: str) -> bytes | None:
        self._counts["read"] += 1
        return super().read(name)

    def names(self, prefix: str) -> tuple[str, ...]:
        self._counts["names"] += 1
        return super().names(prefix)


def at_once(calls: list[Callable[[], object]]) -> list[object]:
    """Run all of them, begun together; what they gave."""
    barrier = threading.Barrier(len(calls))

    def begin(call: Callable[[], object]) -> object:
        barrier.wait(60)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [done.result() for done in [pool.submit(begin, call) for call in calls]]


def promotions(
    bench: Bench, numbers: list[int], counts: Counter[str]
) -> list[Callable[[], object]]:
    def call(number: int) -> Callable[[], object]:
        store = CountedStore(bench.root / "store", counts)
        place = bench.place(settle_seconds=60, store=store)
        return lambda: promote(place, version=number, who=f"promoter-{number}")

    return [call(number) for number in numbers]


def best_won(bench: Bench, numbers: list[int], best: int) -> None:
    """One row each, in an order in which each was judged against the champion of its moment."""
    log = bench.log()
    assert sorted(entry.who for entry in log) == sorted(f"promoter-{n}" for n in numbers)
    assert (bench.champion, bench.previous) == (log[-1].champion, log[-1].previous)
    assert bench.champion == best
    champion = None
    for entry in log:
        assert entry.from_version == champion
        score = float(bench.registry.version(bench.model, entry.to_version or 0).tags["score"])
        before = champion and float(bench.registry.version(bench.model, champion).tags["score"])
        assert (entry.action == "promoted") == (before is None or score > before)
        champion = entry.champion
    assert bench.open() == ()


def test_two_promoters_at_once_one_wins_and_the_log_shows_both(bench: Bench) -> None:
    low, high = bench.version(0.1).number, bench.version(0.2).number
    at_once(promotions(bench, [low, high], Counter()))
    best_won(bench, [low, high], high)


def test_two_promoters_of_one_version_make_one_entry(bench: Bench) -> None:
    number = bench.version(0.1).number
    at_once(promotions(bench, [number, number], Counter()))
    assert bench.actions() == ["promoted"]
    assert bench.champion == number
    assert bench.open() == ()


def test_twelve_promoters_and_a_reconciler_at_once(bench: Bench) -> None:
    scores = [n / 100 for n in range(1, 13)]
    random.Random(3).shuffle(scores)
    numbers = [bench.version(score).number for score in scores]
    counts: Counter[str] = Counter()
    look = Reconciler(bench.place(settle_seconds=60)).look
    at_once([*promotions(bench, numbers, counts), look, look])
    best_won(bench, numbers, numbers[scores.index(max(scores))])


def test_copies_into_production_that_are_raced_are_one(bench: Bench) -> None:
    version = bench.version(0.5, name=f"{bench.model}-candidates")
    copied = at_once([lambda: bench.registry.copy(version, bench.model).number] * 6)
    assert len(set(copied)) == 1
    assert [v.number for v in bench.registry.versions(bench.model)] == [copied[0]]


@pytest.mark.slow
def test_a_hundred_promoters_at_once(bench: Bench) -> None:
    scores = [n / 1000 for n in range(1, 101)]
    random.Random(5).shuffle(scores)
    numbers = [bench.version(score).number for score in scores]
    counts: Counter[str] = Counter()
    at_once(promotions(bench, numbers, counts))
    print(dict(counts), Counter(bench.actions()))
    best_won(bench, numbers, numbers[scores.index(max(scores))])
    assert sum(counts.values()) < 100 * 40  # not 100 * 100 for each kind of request
