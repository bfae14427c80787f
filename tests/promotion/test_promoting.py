"""promote and rollback: what becomes champion, what is refused, what is logged."""

import json
from pathlib import Path

import pytest
from bench import Bench, judge

from chainsight.errors import ArtifactError, ConfigError, PromotionError, StoreError, TrackingError
from chainsight.gate import Decision
from chainsight.promotion import promote, rollback
from chainsight.store import LocalStore
from chainsight.tracking import (
    ALIGNED_URI,
    CHALLENGER,
    CONTENT_DIGEST,
    GATE,
    OVERRIDE,
    PROMOTER,
    Version,
)


def test_a_version_that_passed_becomes_champion_and_the_log_says_how(bench: Bench) -> None:
    first, second = bench.version(0.5), bench.version(0.6)
    promote(bench.place(), version=first.number, who="ann")
    outcome = promote(bench.place(), version=second.number, who="bob", why="better at bars")
    assert outcome.done
    assert (bench.champion, bench.previous) == (second.number, first.number)
    one, two = bench.log()
    assert (one.who, one.from_version, one.to_version) == ("ann", None, first.number)
    assert (two.who, two.action, two.by) == ("bob", "promoted", "command")
    assert (two.from_version, two.to_version) == (first.number, second.number)
    assert two.content_digest == second.tags[CONTENT_DIGEST]
    assert two.why == "better at bars; passed: 0.6 against 0.5"
    assert two.decision is not None
    assert two.decision["champion_value"] == 0.5
    assert two.before == one.sha256
    assert bench.open() == ()


def test_the_challenger_is_promoted_where_no_version_is_named(bench: Bench) -> None:
    bench.version(0.4)
    challenger = bench.version(0.5)
    bench.move(challenger, CHALLENGER)
    promote(bench.place())
    assert bench.champion == challenger.number


def test_without_a_challenger_it_is_said_which_aliases_there_are(bench: Bench) -> None:
    bench.version(0.4)
    with pytest.raises(TrackingError, match="has no alias 'challenger'; its aliases: none"):
        promote(bench.place())


def test_a_worse_one_is_refused_logged_and_changes_nothing(bench: Bench) -> None:
    good, bad = bench.version(0.6), bench.version(0.5)
    promote(bench.place(), version=good.number)
    outcome = promote(bench.place(), version=bad.number)
    assert not outcome.done
    assert "refused: 0.5 against 0.6" in outcome.text
    assert (bench.champion, bench.actions()) == (good.number, ["promoted", "refused"])
    assert bench.log()[-1].champion == good.number
    assert bench.open() == ()


@pytest.mark.parametrize("gate", ["refused", None])
def test_without_a_passed_gate_nothing_is_promoted(bench: Bench, gate: str | None) -> None:
    version = bench.version(0.9, gate=gate)
    assert not promote(bench.place(), version=version.number).done
    assert bench.champion is None
    assert bench.actions() == ["refused"]


def test_an_override_lets_it_past_the_gate_and_the_reason_stays(bench: Bench) -> None:
    version = bench.version(0.1, gate="refused", **{OVERRIDE: "the benchmark is wrong"})
    assert promote(bench.place(), version=version.number).done
    assert bench.log()[0].why == "override: the benchmark is wrong"


def test_an_override_without_a_reason_is_none(bench: Bench) -> None:
    version = bench.version(0.1, gate="refused", **{OVERRIDE: "  "})
    assert not promote(bench.place(), version=version.number).done


def test_force_needs_a_reason_and_sets_the_override(bench: Bench) -> None:
    good, bad = bench.version(0.6), bench.version(0.5, gate="refused")
    promote(bench.place(), version=good.number)
    with pytest.raises(ConfigError, match="--force needs --why"):
        promote(bench.place(), version=bad.number, force=True, why=" ")
    assert promote(bench.place(), version=bad.number, force=True, why="a fix for users").done
    assert bench.champion == bad.number
    tags = bench.registry.version(bench.model, bad.number).tags
    assert tags[OVERRIDE] == "a fix for users"


@pytest.mark.parametrize("how", ["deleted", "truncated", "changed"])
@pytest.mark.parametrize("force", [False, True])
def test_damaged_files_are_refused_by_name_and_nothing_changes(
    bench: Bench, how: str, force: bool
) -> None:
    good, bad = bench.version(0.5), bench.version(0.6)
    promote(bench.place(), version=good.number)
    path = bench.damage(bad, how)
    with pytest.raises(ArtifactError, match=path.name):
        promote(bench.place(), version=bad.number, force=force, why="x")
    assert (bench.champion, bench.actions()) == (good.number, ["promoted"])


def test_damage_after_an_earlier_look_is_seen_too(bench: Bench) -> None:
    version = bench.version(0.6)
    place = bench.place()
    place.store.fetch(version.tags[ALIGNED_URI])  # verified once, and remembered
    bench.damage(version, "changed")
    with pytest.raises(ArtifactError, match="expected sha256"):
        promote(place, version=version.number)


def test_a_version_whose_files_are_elsewhere_is_refused(bench: Bench) -> None:
    good = bench.version(0.6)
    evil = bench.registry.create(
        bench.model, "file:///elsewhere", run_id=None, tags=good.tags, description=""
    )
    with pytest.raises(PromotionError, match="its files are at file:///elsewhere"):
        promote(bench.place(), version=evil.number)


def test_a_version_with_another_digest_than_its_files_is_refused(bench: Bench) -> None:
    version = bench.version(0.6, **{CONTENT_DIGEST: "0" * 64})
    with pytest.raises(PromotionError, match="was registered with the content 000"):
        promote(bench.place(), version=version.number)


def test_a_version_of_another_store_is_refused(bench: Bench, tmp_path: Path) -> None:
    version = bench.version(0.6)
    other = LocalStore(tmp_path / "other")
    with pytest.raises(StoreError, match="not an artifact of this store"):
        promote(bench.place(store=other), version=version.number)


def test_promoting_the_champion_again_says_so_and_logs_nothing(bench: Bench) -> None:
    version = bench.version(0.6)
    promote(bench.place(), version=version.number)
    outcome = promote(bench.place(), version=version.number)
    assert outcome.done
    assert "champion already" in outcome.text
    assert bench.actions() == ["promoted"]


def test_a_dry_run_writes_nothing(bench: Bench) -> None:
    first, second = bench.version(0.6), bench.version(0.5)
    assert promote(bench.place(), version=first.number, dry_run=True).done
    assert bench.log() == []
    bench.move(first)
    assert not promote(bench.place(), version=second.number, dry_run=True).done
    assert "already" in promote(bench.place(), version=first.number, dry_run=True).text
    assert bench.log() == []


def test_the_first_champion_of_a_registration_is_adopted_before_the_next(bench: Bench) -> None:
    first, second = bench.version(0.5), bench.version(0.6)
    bench.move(first)
    promote(bench.place(), version=second.number)
    assert bench.actions() == ["adopted", "promoted"]
    assert bench.log()[0].why.startswith("first champion, as registered")
    assert (bench.champion, bench.previous) == (second.number, first.number)


def test_what_the_gate_said_against_this_very_champion_holds(bench: Bench) -> None:
    first = bench.version(0.5)
    promote(bench.place(), version=first.number)
    said = {"champion_digest": first.tags[CONTENT_DIGEST], "reason": "passed: then"}
    second = bench.version(0.6, **{"chainsight.decision": json.dumps({"decision": said})})

    def nobody(candidate: Version, champion: Version | None) -> Decision:
        raise AssertionError("asked again")

    promote(bench.place(judge=nobody), version=second.number)
    assert bench.log()[-1].why == "passed: then"


def test_rollbacks_lead_down_the_line_and_never_to_what_was_taken_back(bench: Bench) -> None:
    numbers = [bench.version(score).number for score in (0.1, 0.2, 0.3)]
    for number in numbers:
        promote(bench.place(), version=number)
    outcome = rollback(bench.place(), why="slow", who="ann")
    assert outcome.done
    assert (bench.champion, bench.previous) == (numbers[1], numbers[0])
    rollback(bench.place(), why="still slow")
    assert (bench.champion, bench.previous) == (numbers[0], None)
    with pytest.raises(PromotionError, match=f"no champion before version {numbers[0]}"):
        rollback(bench.place(), why="?")
    rollback(bench.place(), to=numbers[2], why="it was the network")
    assert (bench.champion, bench.previous) == (numbers[2], numbers[0])
    assert [e.why for e in bench.log()[3:]] == ["slow", "still slow", "it was the network"]


def test_a_rollback_needs_a_reason_and_a_former_champion(bench: Bench) -> None:
    first, never = bench.version(0.1), bench.version(0.2)
    promote(bench.place(), version=first.number)
    with pytest.raises(ConfigError, match="--why"):
        rollback(bench.place())
    with pytest.raises(PromotionError, match="never was champion"):
        rollback(bench.place(), to=never.number, why="x")


def test_a_rollback_to_damaged_or_deleted_files_is_refused(bench: Bench) -> None:
    first, second, third = (bench.version(score) for score in (0.1, 0.2, 0.3))
    for version in (first, second, third):
        promote(bench.place(), version=version.number)
    bench.damage(second, "deleted")
    with pytest.raises(ArtifactError, match="it is missing"):
        rollback(bench.place(), why="x")
    bench.registry.delete(first)
    with pytest.raises(PromotionError, match="was deleted in MLflow"):
        rollback(bench.place(), to=first.number, why="x")
    assert bench.champion == third.number


def test_a_rollback_does_not_undo_what_another_did_meanwhile(bench: Bench) -> None:
    numbers = [bench.version(score).number for score in (0.1, 0.2, 0.3)]
    for number in numbers:
        promote(bench.place(), version=number)
    first = [True]

    def overtake(step: str) -> None:
        if step == "decided" and first:
            first.clear()
            rollback(bench.place(), why="I was first", who="ann")

    place = bench.place(overtake)
    with pytest.raises(PromotionError, match="ann has meanwhile made version"):
        rollback(place, why="me too")
    assert bench.champion == numbers[1]


class TestTwoModels:
    """Candidates in a model that trainers may edit, production in one of its own."""

    def test_a_candidate_is_copied_by_reference_with_all_that_is_known_of_it(
        self, bench: Bench
    ) -> None:
        candidates = f"{bench.model}-candidates"
        one, two = bench.version(0.5, name=candidates), bench.version(0.6, name=candidates)
        for version in (one, two):
            outcome = promote(bench.place(candidates=candidates), version=version.number)
            assert outcome.done
        copy = bench.registry.version(bench.model, 2)
        assert copy.source == two.uri
        assert {**copy.tags} == {**two.tags, PROMOTER: copy.tags[PROMOTER]}
        assert bench.registry.files_uri(copy) == two.source
        assert (bench.champion, bench.previous) == (2, 1)
        assert bench.log()[-1].reference == two.uri
        assert CHALLENGER not in bench.registry.aliases(bench.model)

    def test_one_content_has_one_production_version(self, bench: Bench) -> None:
        candidates = f"{bench.model}-candidates"
        one, two = bench.version(0.5, name=candidates), bench.version(0.6, name=candidates)
        place = bench.place(candidates=candidates)
        promote(place, version=one.number)
        promote(place, version=two.number)
        rollback(place, why="x")
        promote(place, version=two.number)
        assert [v.number for v in bench.registry.versions(bench.model)] == [1, 2]
        assert bench.champion == 2

    def test_the_files_that_production_refers_to_are_the_ones_that_are_read(
        self, bench: Bench
    ) -> None:
        candidates = f"{bench.model}-candidates"
        place = bench.place(candidates=candidates)
        one, two = bench.version(0.5, name=candidates), bench.version(0.6, name=candidates)
        for version in (one, two):
            promote(place, version=version.number)
        rollback(place, why="x")
        again = bench.registry.create(
            candidates, two.source, run_id=None, tags=dict(two.tags), description=""
        )
        bench.registry.tag(bench.registry.version(bench.model, 2), ALIGNED_URI, "/gone")
        with pytest.raises(ArtifactError, match="/gone: not an artifact of this store"):
            promote(place, version=again.number)
        assert bench.champion == 1

    def test_a_refused_candidate_is_not_copied(self, bench: Bench) -> None:
        candidates = f"{bench.model}-candidates"
        bad = bench.version(0.5, name=candidates, gate="refused")
        assert not promote(bench.place(candidates=candidates), version=bad.number).done
        assert bench.registry.versions(bench.model) == []
        assert bench.log()[0].to_version is None

    def test_trainers_cannot_override_the_gate_or_forge_its_word(self, bench: Bench) -> None:
        candidates = f"{bench.model}-candidates"
        good = bench.version(0.6, name=candidates)
        forged = json.dumps({"decision": {"champion_digest": good.tags[CONTENT_DIGEST]}})
        tags = {OVERRIDE: "trust me", "chainsight.decision": forged}
        bad = bench.version(0.5, name=candidates, **tags)
        worse = bench.version(0.4, name=candidates, gate="refused", **{OVERRIDE: "trust me"})
        place = bench.place(candidates=candidates)
        assert promote(place, version=good.number).done
        assert not promote(place, version=bad.number).done
        assert not promote(place, version=worse.number).done
        assert promote(place, version=bad.number, force=True, why="I am a promoter").done
        assert bench.registry.version(bench.model, 2).tags[OVERRIDE] == "I am a promoter"
        assert bench.registry.version(candidates, bad.number).tags[OVERRIDE] == "trust me"


def test_the_stand_in_judge_is_one(bench: Bench) -> None:
    low, high = bench.version(0.1), bench.version(0.2)
    assert judge(high, low).passed
    assert not judge(low, high).passed
    assert low.tags[GATE] == "passed"
