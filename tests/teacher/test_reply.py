from pathlib import Path
from typing import Any

import pytest

from chainsight import records
from chainsight.config import Price
from chainsight.records import Rationale
from chainsight.teacher.reply import Reply, unanswerable


def response(message: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"choices": [{"message": message, "finish_reason": "stop"}], **rest}


def test_a_completion_is_read_in_full() -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 100}
    reply = Reply.of(response({"content": "So.", "refusal": None}, usage=usage))
    assert reply == Reply("So.", "stop", "", 1000, 100)
    assert reply.cost_usd(Price(prompt=1.0, completion=2.0)) == pytest.approx(0.0012)


def test_a_refusal_has_no_text() -> None:
    reply = Reply.of(response({"content": None, "refusal": "I must decline."}))
    assert (reply.text, reply.refusal) == ("", "I must decline.")


def test_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "So."}, {"type": "other"}, "\n", {"text": "### Answer: 4"}]
    assert Reply.of(response({"content": parts})).text == "So.\n### Answer: 4"


@pytest.mark.parametrize(
    "usage",
    [None, [], "many", {}, {"prompt_tokens": "9"}, {"prompt_tokens": -1}, {"prompt_tokens": 2**63}],
)
def test_odd_token_counts_are_no_counts(usage: Any) -> None:
    reply = Reply.of(response({"content": 5}, usage=usage))
    assert (reply.text, reply.prompt_tokens, reply.completion_tokens) == ("", 0, 0)


def test_half_a_character_does_not_break_the_parquet_file(tmp_path: Path) -> None:
    text = Reply.of(response({"content": "a \ud83d b \x00 \U0001f600"})).text
    row = Rationale("x", text, "", "marker", "t", 0, 0, 0.0)
    records.write(tmp_path / "rows.parquet", [row], Rationale)
    assert [r.text for r in records.read(tmp_path / "rows.parquet", Rationale)] == [text]
    assert text == "a ? b \x00 \U0001f600"


def test_a_filtered_request_reads_as_a_refusal() -> None:
    reply = Reply.of(unanswerable("content_filter", "the prompt was filtered"))
    assert (reply.text, reply.finish_reason) == ("", "content_filter")
    assert reply.refusal == "the prompt was filtered"
    assert reply.error == "content_filter: the prompt was filtered"
    assert reply.cost_usd(Price(prompt=1.0, completion=1.0)) == 0.0


def test_a_request_that_is_never_taken_says_why_and_is_no_refusal() -> None:
    reply = Reply.of(unanswerable("invalid_image", "not an image"))
    assert (reply.finish_reason, reply.refusal) == ("unanswerable", "")
    assert reply.error == "invalid_image: not an image"
    assert Reply.of(response({"content": "So."})).error == ""
