"""A hundred promotions at once, from threads of several processes: one order, the best wins."""

import time

import audit
import candidates
import promoters
import pytest
import quick
from desk import Desk

from chainsight.promotion import Log
from chainsight.promotion.history import disagreements
from chainsight.tracking import ALIGNED_URI, CHAMPION, CONTENT_DIGEST, PREDICTIONS_URI, Version

pytestmark = [pytest.mark.slow, pytest.mark.registry]
NUM_PROMOTERS, NUM_PROCESSES = 100, 4


def versions_that_passed(desk: Desk) -> dict[int, int]:
    """Number of each version and of the questions that it answers right, each another one."""
    inputs = desk.candidate(0, 5, small=True)
    assert desk.register(inputs).code == 0
    (first,) = desk.versions()
    found = {}
    for rank in range(NUM_PROMOTERS):
        num_right = 10 + (37 * rank) % NUM_PROMOTERS  # in no order
        found[same_but(desk, first, 1 + rank, num_right).number] = num_right
    return found


def same_but(desk: Desk, first: Version, number: int, num_right: int) -> Version:
    """A version as `first`, with other files and answers; its gate compared it with nobody."""
    inputs = desk.candidate(number, num_right, small=True)
    store = desk.store
    tags = dict(first.tags) | {
        ALIGNED_URI: inputs["aligned"],
        PREDICTIONS_URI: inputs["predictions"],
        CONTENT_DIGEST: candidates.digest(store, inputs),
    }
    source = f"{inputs['aligned']}/{store.load(inputs['aligned']).attempt}"
    return desk.registry.create(desk.name, source, run_id=None, tags=tags, description="")


@pytest.mark.timeout(600)
def test_of_a_hundred_promotions_at_once_the_best_wins(desk: Desk) -> None:
    desk.write_config(register={"gate": {"confidence": 0.5}})  # one question more is a gain
    rights = versions_that_passed(desk)
    audit.install(desk.stack.postgres)
    context, numbers, start = quick.context(), list(rights), time.monotonic()
    begin = context.Barrier(NUM_PROMOTERS)
    environment = desk.stack.environment("promoter")
    logs = [desk.folder / f"promoters-{n}.log" for n in range(NUM_PROCESSES)]
    processes = [
        context.Process(
            target=promoters.promote_all,
            args=(desk.config, environment, numbers[n::NUM_PROCESSES], begin, log),
        )
        for n, log in enumerate(logs)
    ]
    for process in processes:
        process.start()
    for process, log in zip(processes, logs, strict=True):
        process.join()
        assert process.exitcode == 0, log.read_text()
    seconds = time.monotonic() - start
    entries, problems = Log(desk.store, desk.name).audit()
    assert problems == []
    first, *rows = entries
    assert (first.action, first.to_version) == ("adopted", 1)
    assert sorted(row.who for row in rows) == sorted(f"promoter-{n}" for n in numbers)
    champion = 1
    rights[1] = 5
    for row in rows:  # each was judged against the champion of its moment
        assert row.from_version == champion
        assert row.to_version is not None
        better = rights[row.to_version] > rights[champion]
        assert row.action == ("promoted" if better else "refused")
        champion = row.to_version if better else champion
    best = max(rights, key=rights.__getitem__)
    assert champion == entries[-1].champion == best
    assert desk.registry.aliases(desk.name)[CHAMPION] == best
    assert disagreements(desk.place()) == []
    seen = {one.version for one in audit.seen(desk.stack.postgres, desk.name, CHAMPION)}
    assert seen <= {entry.champion for entry in entries}
    promoted = sum(row.action == "promoted" for row in rows)
    print(f"{len(rows)} promotions, {promoted} promoted one after the other, {seconds:.0f} s")
