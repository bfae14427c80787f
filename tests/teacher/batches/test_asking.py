import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from calling import KEY, POLL, ask, keys_of

from chainsight.demo.teacher import Limits, Oddities
from chainsight.records import Example
from chainsight.store import LocalStore

QUICK = {"seconds": 0.1}


def is_billed_once(here: Any, num: int) -> bool:
    return len(here.bill.rows) == num and set(here.bill.rows.values()) == {1}


def test_every_question_is_in_one_batch_and_answered_at_half_the_price(
    place: Any, charts: list[Example]
) -> None:
    with place(batch=QUICK, usd_per_million=(5.0, 15.0)) as here:
        done = here.ask(charts, batch={"max_requests": 15})
        assert set(done.answers) == set(keys_of(here.server.url, charts))
        assert (done.asked.num_asked, done.asked.num_batches, done.asked.num_adopted) == (40, 3, 0)
        assert done.num_advanced == 40
        assert is_billed_once(here, 40)
        assert done.spent_usd == pytest.approx(here.bill.usd)


def test_the_progress_says_how_far_the_batches_are(place: Any, charts: list[Example]) -> None:
    with place(batch={"seconds": 0.5}) as here:
        notes = here.ask(charts).notes
    assert "0 batches under way, 0 of 0 answered, 0:00 h waited" in notes
    counts = [
        int(note.split(" of 40 answered")[0].split()[-1]) for note in notes if "of 40" in note
    ]
    assert counts == sorted(counts)
    assert 0 < counts[len(counts) // 2] < 40
    assert any("24:00 h left for the first" in note for note in notes)


def test_a_second_call_asks_nothing(place: Any, charts: list[Example]) -> None:
    with place(batch=QUICK) as here:
        here.ask(charts)
        again = here.ask(charts)
        assert (again.asked.num_asked, len(again.answers), len(here.batches())) == (0, 40, 1)


def test_files_are_deleted_when_their_answers_are_safe(place: Any, charts: list[Example]) -> None:
    with place(batch=QUICK | {"expire_rate": 0.5}, seed=3) as here:
        assert len(here.ask(charts, batch={"max_requests": 15}).answers) == 40
        assert here.files() == []


def test_what_an_expired_batch_left_is_in_the_next_round(place: Any, charts: list[Example]) -> None:
    with place(batch=QUICK | {"expire_rate": 0.5}, seed=3) as here:
        done = here.ask(charts, batch={"max_requests": 10, "max_rounds": 20})
        states = Counter(batch["status"] for batch in here.batches())
        assert states["expired"] >= 1
        assert done.asked.num_retried > 0
        assert len(done.answers) == done.num_advanced == 40
        assert is_billed_once(here, 40)


def test_what_a_cancelled_batch_has_answered_is_taken(place: Any, charts: list[Example]) -> None:
    with place(batch={"seconds": 1.0}) as here:
        calls = here.during(lambda: here.ask(charts), here.cancel_when_half_done)
        assert here.batches()[-1]["status"] == "cancelled"
        assert here.batches()[-1]["request_counts"]["completed"] > 0
        assert len(calls.answers) == 40
        assert is_billed_once(here, 40)


def test_rows_that_failed_at_the_server_are_asked_again(place: Any, charts: list[Example]) -> None:
    with place(batch=QUICK | {"row_error_rate": 0.3}) as here:
        done = here.ask(charts, batch={"max_rounds": 20})
        assert len(done.answers) == 40
        assert is_billed_once(here, 40)
        assert done.asked.num_retried >= 5


def test_after_the_last_round_a_question_counts_as_failed(
    place: Any, charts: list[Example]
) -> None:
    with place(batch=QUICK | {"row_error_rate": 1.0}) as here:
        done = here.ask(charts, batch={"max_rounds": 3})
        assert (done.asked.num_asked, done.asked.num_failed, len(here.batches())) == (0, 40, 3)
        assert done.num_advanced == 40


def test_a_later_run_asks_the_failed_ones_in_new_batches(place: Any, charts: list[Example]) -> None:
    with place(batch=QUICK | {"row_error_rate": 1.0}) as here:
        here.ask(charts, batch={"max_rounds": 2})
        here.change_batch(row_error_rate=0.0)
        assert len(here.ask(charts, batch={"max_rounds": 2}).answers) == 40
        keys = [batch["metadata"]["run_key"] for batch in here.batches()]
        assert len(keys) == len(set(keys)) == 3


def test_a_request_that_the_teacher_will_never_take_is_kept_with_its_reason(
    place: Any, charts: list[Example]
) -> None:
    with place(batch=QUICK, oddities=Oddities(policy=0.3)) as here:
        done = here.ask(charts)
        refused = [reply for reply in done.answers.values() if reply.error]
        assert (len(done.answers), len(here.batches())) == (40, 1)
        assert 5 < len(refused) < 20
        assert {reply.finish_reason for reply in refused} == {"content_filter"}
        assert here.bill.num_billed == 40 - len(refused)


def test_the_first_refusal_of_the_queue_ends_the_pushing(place: Any, charts: list[Example]) -> None:
    with place(batch={"seconds": 0.2}, limits=Limits(queued_tokens=10_000)) as here:
        done = here.ask(charts, batch={"max_requests": 5})
        states = Counter(batch["status"] for batch in here.batches())
        assert len(done.answers) == 40
        assert is_billed_once(here, 40)
        assert (states["completed"], states["failed"] <= 8) == (8, True)


def test_a_known_queue_is_never_overfilled(place: Any, charts: list[Example]) -> None:
    with place(batch={"seconds": 0.2}, limits=Limits(queued_tokens=10_000)) as here:
        done = here.ask(charts, batch={"max_requests": 5, "queued_tokens": 9_000})
        assert len(done.answers) == 40
        assert {batch["status"] for batch in here.batches()} == {"completed"}
        assert len(here.batches()) <= 12


def test_a_queue_that_has_never_room_ends_in_the_way_out(place: Any, charts: list[Example]) -> None:
    with place(batch=QUICK, limits=Limits(queued_tokens=1_000)) as here:
        done = here.ask(charts, batch={"poll_seconds": 0.01})
        assert "distill.batch.queued_tokens" in done.error
        assert "Limit: 1,000 enqueued tokens" in done.error
        assert len(here.batches()) == 7


def test_a_creation_whose_answer_was_lost_is_found_and_not_repeated(
    place: Any, charts: list[Example]
) -> None:
    with place(batch=QUICK | {"lost_creates": 2, "list_lag_seconds": POLL}) as here:
        done = here.ask(charts, batch={"max_requests": 20})
        assert (len(done.answers), len(here.batches())) == (40, 2)
        assert is_billed_once(here, 40)


def test_an_api_that_stumbles_at_every_third_call_is_asked_again(
    place: Any, charts: list[Example]
) -> None:
    with place(batch=QUICK | {"http_500": 0.33}) as here:
        done = here.ask(charts, batch={"max_requests": 20})
        assert len(done.answers) == 40
        assert is_billed_once(here, 40)


def test_a_file_that_the_api_does_not_take_ends_in_the_way_out(
    place: Any, charts: list[Example]
) -> None:
    with place(batch=QUICK | {"max_bytes": 1000}) as here:
        done = here.ask(charts)
        assert "file_too_large" in done.error
        assert "lower distill.batch.max_mb" in done.error
        assert "0 answers are in" in done.error
        assert is_billed_once(here, 0) or not here.bill.rows


def test_a_failure_that_passes_is_tried_again(place: Any, charts: list[Example]) -> None:
    with place(batch=QUICK | {"fail_rate": 0.5}, seed=1) as here:
        done = here.ask(charts, batch={"max_requests": 10, "max_rounds": 20})
        assert len(done.answers) == 40
        assert Counter(batch["status"] for batch in here.batches())["failed"] >= 1


def test_a_server_without_batches_ends_in_the_way_out(
    canned: Any, charts: list[Example], tmp_path: Path
) -> None:
    server = canned(lambda number, call: (404, {}, {"detail": "Not Found"}))
    done = ask(server.url, charts, tmp_path / "home", tmp_path / "store")
    assert "has no Batch API" in done.error
    assert "distill.mode: sync" in done.error
    assert not list((tmp_path / "store").rglob("*.json"))


def test_a_refused_key_is_told_and_stands_nowhere(
    place: Any, charts: list[Example], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with place(batch=QUICK, required_key="another") as here:
        done = here.ask(charts)
    assert "refuses the key" in done.error
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY not in done.error + caplog.text + written.decode()


def test_the_key_stands_in_no_intent_and_no_answer(
    place: Any, charts: list[Example], tmp_path: Path
) -> None:
    with place(batch=QUICK, required_key=KEY) as here:
        assert len(here.ask(charts).answers) == 40
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY.encode() not in written


def test_the_budget_is_never_passed_and_goes_on_when_raised(
    place: Any, charts: list[Example]
) -> None:
    with place(batch=QUICK, usd_per_million=(5.0, 15.0)) as here:
        stopped = here.ask(charts, budget_usd=0.03, batch={"max_requests": 10})
        assert "distill.budget_usd" in stopped.error
        assert 0 < len(stopped.answers) < 40
        assert here.bill.usd <= 0.03
        done = here.ask(charts, budget_usd=0.3)
        assert len(done.answers) == 40
        assert is_billed_once(here, 40)


def test_what_another_set_of_questions_has_in_flight_is_waited_for(
    place: Any, charts: list[Example]
) -> None:
    with place(batch={"seconds": 0.5}) as here:
        done = here.during(
            lambda: here.ask(charts[:30], batch={"max_requests": 7}),
            lambda: here.ask(charts[10:], batch={"max_requests": 9}),
        )
        assert len(done.answers) >= 30
        assert len(here.ask(charts).answers) == 40
        assert is_billed_once(here, 40)


class Watched(LocalStore):
    """A store that notes what else is in it when a batch is announced or ended."""

    num_safe: list[int]
    turns: list[tuple[str, ...]]

    def create(self, name: str, data: bytes) -> bool:
        if name.endswith(".json"):
            self.turns.append(self.names("batches/teacher/cutting")[-1:])
        if name.endswith(".ended"):
            segments = [name for name in self.names("ledger") if name.endswith(".jsonl")]
            self.num_safe.append(sum((self.read(name) or b"").count(b"\n") for name in segments))
        return super().create(name, data)


def watch(place: Any, charts: list[Example], folder: Path) -> Watched:
    watched = Watched(folder / "watched")
    watched.num_safe, watched.turns = [], []
    with place(batch=QUICK) as here:
        ask(here.server.url, charts, here.home, watched, batch={"max_requests": 15})
    return watched


def test_a_batch_is_ended_when_its_answers_are_in_the_store_and_not_before(
    place: Any, charts: list[Example], tmp_path: Path
) -> None:
    watched = watch(place, charts, tmp_path)
    assert watched.num_safe[0] >= 10
    assert watched.num_safe[-1] == 40


def test_a_batch_is_announced_while_nobody_else_cuts(
    place: Any, charts: list[Example], tmp_path: Path
) -> None:
    assert watch(place, charts, tmp_path).turns == [
        (f"batches/teacher/cutting/{number:06d}",) for number in (1, 2, 3)
    ]


@pytest.mark.parametrize("store", [True, False])
def test_the_intents_lie_in_the_store_or_else_in_the_ledgers_folder(
    place: Any, charts: list[Example], store: bool, tmp_path: Path
) -> None:
    with place(batch=QUICK, store=store) as here:
        here.ask(charts[:5])
    where = tmp_path / ("store" if store else "home/teacher")
    (intent,) = where.glob("batches/teacher/*.json")
    told = json.loads(intent.read_text())
    assert len(told["keys"]) == 5
    assert sorted(path.suffix for path in intent.parent.glob(f"{intent.stem}.*")) == [
        ".batch", ".ended", ".json",
    ]  # fmt: skip
