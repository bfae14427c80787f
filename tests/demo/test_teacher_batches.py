import json
import random
import time
from collections.abc import Callable
from typing import Any

import openai
import pytest

from chainsight.demo import teacher
from chainsight.demo.teacher import rows

Make = Callable[..., Any]
ENDED = ("completed", "expired", "failed", "cancelled")
URL = "/v1/chat/completions"


def lines(question: Make, number: int = 4) -> list[dict[str, Any]]:
    return [
        {"custom_id": f"row {n}", "method": "POST", "url": URL, "body": question(n)}
        for n in range(number)
    ]


def encoded(wanted: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(line) + "\n" for line in wanted).encode()


def create(caller: openai.OpenAI, wanted: list[dict[str, Any]], **metadata: str) -> Any:
    file = caller.files.create(file=("rows.jsonl", encoded(wanted)), purpose="batch")
    return caller.batches.create(
        input_file_id=file.id, endpoint=URL, completion_window="24h", metadata=metadata
    )


def end(caller: openai.OpenAI, batch: Any) -> Any:
    while batch.status not in ENDED:
        time.sleep(0.01)
        batch = caller.batches.retrieve(batch.id)
    return batch


def read(caller: openai.OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    text = caller.files.content(file_id).text if file_id else ""
    return [json.loads(line) for line in text.splitlines()]


def test_a_batch_answers_as_one_by_one_at_half_the_price(question: Make, client: Make) -> None:
    with teacher.serve() as handle:
        caller, wanted = client(handle), lines(question, 12)
        single = {
            line["custom_id"]: caller.chat.completions.create(**line["body"]).model_dump()
            for line in wanted
        }
        usd = handle.bill.usd
        created = create(caller, wanted, run="a")
        assert (created.status, created.metadata) == ("validating", {"run": "a"})
        batch = end(caller, created)
        counts = batch.request_counts
        assert (batch.status, counts.total, counts.completed, counts.failed) == (
            "completed", 12, 12, 0,
        )  # fmt: skip
        found = read(caller, batch.output_file_id)
        assert batch.error_file_id is None
        assert [line["custom_id"] for line in found] != [line["custom_id"] for line in wanted]
        for line in found:
            alone = single[line["custom_id"]]
            assert (
                line["response"]["body"]["choices"][0]["message"]["content"]
                == (alone["choices"][0]["message"]["content"])
            )
            assert line["response"]["body"]["id"] == alone["id"]
    assert handle.bill.usd == pytest.approx(1.5 * usd)
    assert set(handle.bill.times.values()) == {2}
    assert set(handle.bill.rows.values()) == {1}


def test_a_batch_takes_its_time_and_its_statuses_in_order(question: Make, client: Make) -> None:
    with teacher.serve(batch=teacher.Batching(seconds=1.0)) as handle:
        caller = client(handle)
        batch, seen = create(caller, lines(question)), ["validating"]
        while batch.status not in ENDED:
            time.sleep(0.02)
            batch = caller.batches.retrieve(batch.id)
            seen += [batch.status] if batch.status != seen[-1] else []
    assert seen == ["validating", "in_progress", "finalizing", "completed"]
    assert batch.created_at <= batch.in_progress_at <= batch.finalizing_at <= batch.completed_at


def test_what_an_expired_batch_has_done_is_kept_and_billed(question: Make, client: Make) -> None:
    expiring = teacher.Batching(expire_rate=1.0, expired_rows=0.75)
    with teacher.serve(batch=expiring) as handle:
        caller = client(handle)
        batch = end(caller, create(caller, lines(question, 8)))
        assert batch.status == "expired"
        assert len(read(caller, batch.output_file_id)) == handle.bill.num_billed == 2
        codes = [line["error"]["code"] for line in read(caller, batch.error_file_id)]
    assert codes == ["batch_expired"] * 6


def test_rows_can_fail_alone_and_are_not_billed(question: Make, client: Make) -> None:
    with teacher.serve(batch=teacher.Batching(row_error_rate=1.0)) as handle:
        caller = client(handle)
        batch = end(caller, create(caller, lines(question)))
        failed = read(caller, batch.error_file_id)
        assert (batch.status, batch.output_file_id, len(failed)) == ("completed", None, 4)
        assert failed[0]["response"]["status_code"] == 500
    assert handle.bill.num_billed == 0


def test_a_full_queue_fails_the_batch_in_openais_words(question: Make, client: Make) -> None:
    limits = teacher.Limits(queued_tokens=4 * 500)
    with teacher.serve(limits=limits, batch=teacher.Batching(seconds=60.0)) as handle:
        caller = client(handle)
        running = create(caller, lines(question))
        while caller.batches.retrieve(running.id).request_counts.total == 0:
            time.sleep(0.01)
        batch = end(caller, create(caller, lines(question)))
        (error,) = batch.errors.data
        assert (batch.status, error.code) == ("failed", "token_limit_exceeded")
        assert "Limit: 2,000 enqueued tokens" in error.message


def twice(wanted: list[dict[str, Any]]) -> None:
    wanted[3]["custom_id"] = wanted[1]["custom_id"]


def other_model(wanted: list[dict[str, Any]]) -> None:
    wanted[2]["body"]["model"] = "other"


def no_image(wanted: list[dict[str, Any]]) -> None:
    wanted[2]["body"]["messages"] = []


def elsewhere(wanted: list[dict[str, Any]]) -> None:
    wanted[0]["url"] = "/v1/embeddings"


@pytest.mark.parametrize(
    ("harm", "code", "line"),
    [
        (twice, "duplicate_custom_id", 4),
        (other_model, "mismatched_model", 3),
        (no_image, "invalid_request", 3),
        (elsewhere, "invalid_url", 1),
        (list.clear, "empty_file", None),
        (lambda wanted: wanted.append(wanted[0]), "max_requests_exceeded", None),
    ],
)
def test_what_is_wrong_with_a_file_is_found_at_validation(
    harm: Callable[[Any], None], code: str, line: int | None, question: Make
) -> None:
    wanted = lines(question)
    harm(wanted)
    with pytest.raises(rows.InvalidError) as caught:
        rows.read(encoded(wanted), max_requests=4)
    assert (caught.value.code, caught.value.line) == (code, line)


def test_a_batch_can_fail_for_no_reason_or_be_too_large(question: Make, client: Make) -> None:
    with teacher.serve(batch=teacher.Batching(fail_rate=1.0)) as handle:
        batch = end(client(handle), create(client(handle), lines(question)))
        assert batch.errors.data[0].code == "server_error"
        handle.change(batch=teacher.Batching(max_bytes=100))
        batch = end(client(handle), create(client(handle), lines(question)))
        assert batch.errors.data[0].code == "file_too_large"


def test_a_cancelled_batch_keeps_what_is_done(question: Make, client: Make) -> None:
    with teacher.serve(batch=teacher.Batching(seconds=4.0)) as handle:
        caller = client(handle)
        batch = create(caller, lines(question, 8))
        while caller.batches.retrieve(batch.id).request_counts.completed == 0:
            time.sleep(0.02)
        assert caller.batches.cancel(batch.id).status == "cancelling"
        batch = end(caller, batch)
        done, undone = read(caller, batch.output_file_id), read(caller, batch.error_file_id)
        assert batch.status == "cancelled"
        assert (len(done) + len(undone), len(done)) == (8, handle.bill.num_billed)
        assert undone[0]["error"]["code"] == "batch_cancelled"
        with pytest.raises(openai.BadRequestError, match="Cannot cancel"):
            caller.batches.cancel(batch.id)


def test_the_list_is_paged_newest_first_and_may_lag(question: Make, client: Make) -> None:
    with teacher.serve() as handle:
        caller = client(handle)
        ids = [create(caller, lines(question, 1), number=f"{n}").id for n in range(5)]
        page = caller.batches.list(limit=2)
        assert ([batch.id for batch in page.data], page.has_more) == (ids[:2:-1], True)
        assert [batch.id for batch in caller.batches.list(limit=2)] == ids[::-1]
        handle.change(batch=teacher.Batching(list_lag_seconds=300.0))
        hidden = create(caller, lines(question, 1))
        assert caller.batches.list(limit=100).data == []
        assert caller.batches.retrieve(hidden.id).id == hidden.id


def test_an_answer_that_is_lost_leaves_a_batch(question: Make, client: Make) -> None:
    with teacher.serve(batch=teacher.Batching(lost_creates=1)) as handle:
        caller = client(handle)
        with pytest.raises(openai.APIConnectionError):
            create(caller, lines(question), run="a")
        (batch,) = caller.batches.list()
        assert batch.metadata == {"run": "a"}


def test_files_are_listed_deleted_and_seen_by_their_account_alone(client: Make) -> None:
    accounts = {"sk-a": teacher.Limits(), "sk-b": teacher.Limits()}
    with teacher.serve(accounts=accounts) as handle:
        mine, other = client(handle, "sk-a"), client(handle, "sk-b")
        content = random.Random(0).randbytes(100_000) + b"\r\n"
        file = mine.files.create(file=("f.jsonl", content), purpose="batch")
        assert (file.bytes, file.filename) == (len(content), "f.jsonl")
        assert mine.files.content(file.id).read() == content
        assert [one.id for one in mine.files.list()] == [file.id]
        assert list(other.files.list()) == []
        with pytest.raises(openai.NotFoundError):
            other.files.content(file.id)
        assert mine.files.delete(file.id).deleted
        with pytest.raises(openai.NotFoundError):
            mine.files.retrieve(file.id)


def test_calls_about_batches_can_fail_before_they_are_heard(client: Make) -> None:
    with (
        teacher.serve(batch=teacher.Batching(http_500=1.0)) as handle,
        pytest.raises(openai.InternalServerError),
    ):
        client(handle).batches.list()
