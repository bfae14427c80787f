"""The reconciler: moves by people, deletions, services that are away."""

import threading
from pathlib import Path

import pytest
from bench import Bench, Gate

from chainsight.errors import ChainsightError, PromotionError, StoreError
from chainsight.promotion import Reconciler, promote
from chainsight.promotion.entry import NOBODY_KNOWN
from chainsight.promotion.reconcile import metrics
from chainsight.store import LocalStore
from chainsight.tracking import CHAMPION, OVERRIDE, PREVIOUS


class AwayStore(LocalStore):
    """A store that does not answer."""

    away = True

    def names(self, prefix: str) -> tuple[str, ...]:
        if self.away:
            raise StoreError("the store is away")
        return super().names(prefix)


@pytest.fixture
def champion(bench: Bench) -> int:
    """Versions 1 and 2 became champion."""
    for score in (0.1, 0.2):
        promote(bench.place(), version=bench.version(score).number)
    return 2


def look(bench: Bench) -> None:
    Reconciler(bench.place()).look()


def test_a_move_to_a_version_that_passed_is_adopted(bench: Bench, champion: int) -> None:
    bench.move(bench.version(0.05))  # people may choose a worse one, if it once passed
    look(bench)
    assert (bench.champion, bench.previous) == (3, champion)
    entry = bench.log()[-1]
    assert (entry.action, entry.by, entry.who) == ("adopted", "reconciler", NOBODY_KNOWN)
    assert (entry.from_version, entry.to_version) == (champion, 3)


@pytest.mark.parametrize("gate", ["refused", None])
def test_a_move_to_one_that_did_not_is_reverted_with_the_reason(
    bench: Bench, champion: int, gate: str | None
) -> None:
    bench.move(bench.version(0.9, gate=gate))
    look(bench)
    assert (bench.champion, bench.previous) == (champion, 1)
    entry = bench.log()[-1]
    assert (entry.action, entry.from_version, entry.to_version) == ("reverted", 3, champion)
    assert ("refused: 0.9" if gate else "has not been through the gate") in entry.why
    assert entry.why.endswith("back to version 2")


def test_a_move_to_one_with_an_override_is_adopted(bench: Bench, champion: int) -> None:
    bench.move(bench.version(0.0, gate="refused", **{OVERRIDE: "for the trial in May"}))
    look(bench)
    assert bench.champion == 3
    assert bench.log()[-1].why == "override: for the trial in May"


@pytest.mark.parametrize("how", ["deleted", "truncated", "changed"])
def test_a_move_to_damaged_files_is_reverted_even_with_an_override(
    bench: Bench, champion: int, how: str
) -> None:
    version = bench.version(0.9, **{OVERRIDE: "x"})
    bench.damage(version, how)
    bench.move(version)
    look(bench)
    assert bench.champion == champion
    assert "model.safetensors" in bench.log()[-1].why


def test_without_a_champion_a_bad_move_is_undone_by_deleting_the_alias(bench: Bench) -> None:
    bench.move(bench.version(0.9, gate="refused"))
    look(bench)
    assert (bench.champion, bench.actions()) == (None, ["reverted"])
    look(bench)
    assert bench.actions() == ["reverted"]


def test_a_deleted_alias_is_restored(bench: Bench, champion: int) -> None:
    bench.registry.delete_alias(bench.model, CHAMPION)
    look(bench)
    assert (bench.champion, bench.actions()[-1]) == (champion, "repaired")
    assert "deleted in MLflow" in bench.log()[-1].why


def test_a_moved_or_deleted_previous_is_put_right_without_an_entry(
    bench: Bench, champion: int
) -> None:
    bench.move(champion, PREVIOUS)
    look(bench)
    assert bench.previous == 1
    bench.registry.delete_alias(bench.model, PREVIOUS)
    look(bench)
    assert (bench.previous, len(bench.log())) == (1, 2)


def test_a_deleted_champion_falls_back_to_the_newest_that_verifies(
    bench: Bench, champion: int
) -> None:
    third, fourth = bench.version(0.3), bench.version(0.4)
    promote(bench.place(), version=third.number)
    promote(bench.place(), version=fourth.number)
    bench.damage(third, "changed")
    bench.registry.delete(fourth)
    look(bench)
    assert (bench.champion, bench.previous) == (champion, 1)
    entry = bench.log()[-1]
    assert (entry.action, entry.from_version, entry.to_version) == ("fell_back", 4, champion)


def test_a_deleted_only_champion_leaves_none(bench: Bench) -> None:
    version = bench.version(0.3)
    promote(bench.place(), version=version.number)
    bench.registry.delete(version)
    look(bench)
    look(bench)
    assert (bench.champion, bench.actions()) == (None, ["promoted", "fell_back"])
    assert bench.log()[-1].why.endswith("none is left")
    promote(bench.place(), version=bench.version(0.1).number)
    assert bench.champion == 2


def test_a_deleted_previous_leads_to_the_one_before(bench: Bench, champion: int) -> None:
    promote(bench.place(), version=bench.version(0.3).number)
    bench.registry.delete(bench.registry.version(bench.model, champion))
    look(bench)
    assert (bench.champion, bench.previous) == (3, 1)


def test_a_move_and_the_champions_deletion_at_once(bench: Bench, champion: int) -> None:
    bench.move(bench.version(0.9, gate="refused"))
    bench.registry.delete(bench.registry.version(bench.model, champion))
    look(bench)
    assert (bench.champion, bench.actions()[-1]) == (1, "fell_back")


def test_a_second_look_finds_nothing_to_do(bench: Bench, champion: int) -> None:
    bench.move(bench.version(0.9))
    look(bench)
    look(bench)
    assert bench.actions() == ["promoted", "promoted", "adopted"]


def test_with_the_store_away_nothing_changes_and_it_goes_on_later(
    bench: Bench, champion: int, tmp_path: Path
) -> None:
    store = AwayStore(tmp_path / "store")
    reconciler = Reconciler(bench.place(store=store))
    bench.move(bench.version(0.9, gate="refused"))
    assert not reconciler.attempt()
    assert reconciler.health.trouble == "the store is away"
    assert bench.champion == 3
    store.away = False
    assert reconciler.attempt()
    assert (bench.champion, reconciler.health.trouble) == (champion, "")


def test_files_that_cannot_be_read_just_now_are_no_reason_to_revert(
    bench: Bench, champion: int, tmp_path: Path
) -> None:
    class Unreadable(LocalStore):
        def verify(self, artifact: object) -> object:  # type: ignore[override]
            raise StoreError("access denied")

    bench.move(bench.version(0.9))
    assert not Reconciler(bench.place(store=Unreadable(tmp_path / "store"))).attempt()
    assert (bench.champion, len(bench.log())) == (3, 2)


@pytest.mark.parametrize("how", ["changed", "deleted"])
def test_a_tampered_log_stops_promotions_and_is_said(
    bench: Bench, champion: int, how: str, tmp_path: Path
) -> None:
    path = tmp_path / "store/promotions" / bench.model / "000000000001.json"
    text = path.read_text()
    if how == "deleted":
        path.unlink()
    else:
        path.write_text(text.replace('"line": [\n  1\n ]', '"line": [\n  2\n ]'))
        assert path.read_text() != text
    reconciler = Reconciler(bench.place())
    assert not reconciler.attempt()
    assert reconciler.health.broken
    assert ("is gone" if how == "deleted" else "was changed") in reconciler.health.trouble
    if how == "deleted":
        with pytest.raises(PromotionError, match="entry 1 is gone"):
            promote(bench.place(), version=bench.version(0.9).number)
    assert bench.champion == champion
    path.write_text(text)
    assert reconciler.attempt()
    assert not reconciler.health.broken


def test_an_exchanged_last_entry_is_found_by_its_seal(
    bench: Bench, champion: int, tmp_path: Path
) -> None:
    folder = tmp_path / "store/promotions" / bench.model
    other = promote(bench.place(), version=bench.version(0.9).number).entry
    assert other is not None
    (folder / "000000000003.json").unlink()
    forged = other.__class__(**{**other.__dict__, "why": "by my own grace"})
    (folder / "000000000003.json").write_text(forged.to_json())
    _, problems = bench.place().log.audit()
    where = f"{tmp_path}/store/promotions/{bench.model}"
    assert problems == [f"{where}: entry 3 is not the one that was applied"]


def test_it_says_what_has_come_since_it_started_and_counts_all(
    bench: Bench, champion: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "chainsight.promotion")
    reconciler = Reconciler(bench.place())
    reconciler.look()
    assert caplog.messages == []
    bench.move(bench.version(0.9, gate="refused"))
    reconciler.look()
    (line,) = caplog.messages
    assert line.startswith("event=reverted entry=3 ")
    assert 'from_version=3 to_version=2 who="unknown (moved in MLflow)"' in line
    assert reconciler.health.actions == {"promoted": 2, "reverted": 1}


def test_a_hint_makes_it_look_at_once(bench: Bench, champion: int) -> None:
    reconciler = Reconciler(bench.place(), poll_seconds=60)
    thread = threading.Thread(target=reconciler.run, daemon=True)
    thread.start()
    while reconciler.health.looked is None:
        thread.join(0.02)
    bench.move(bench.version(0.9))
    reconciler.wake()
    for _ in range(500):
        if bench.actions()[-1] == "adopted" and not bench.open():
            break
        thread.join(0.02)
    reconciler.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert bench.actions()[-1] == "adopted"


def test_the_figures_are_prometheus_text(bench: Bench, champion: int) -> None:
    reconciler = Reconciler(bench.place(), clock=lambda: 100.0)
    bench.move(bench.version(0.9, gate="refused"))
    reconciler.attempt()
    text = metrics(reconciler.health, "m", 107.0)
    for line in (
        'chainsight_promotions_total{model="m"} 2',
        'chainsight_reverts_total{model="m"} 1',
        'chainsight_champion_version{model="m"} 2',
        'chainsight_last_look_seconds{model="m"} 7',
        "# TYPE chainsight_champion_version gauge",
    ):
        assert line in text.splitlines()


def test_a_promotion_during_a_look_is_left_to_its_writer(bench: Bench, champion: int) -> None:
    gate = Gate("appended")
    version = bench.version(0.9).number
    thread = threading.Thread(target=lambda: promote(bench.place(gate), version=version))
    thread.start()
    assert gate.reached.wait(30)
    Reconciler(bench.place(settle_seconds=60)).look()
    gate.open.set()
    thread.join(30)
    assert bench.actions() == ["promoted"] * 3
    assert bench.champion == version


def test_every_error_of_a_look_is_one_for_people() -> None:
    assert issubclass(PromotionError, ChainsightError)
