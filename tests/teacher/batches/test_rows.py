import json
from typing import Any

import pytest

from chainsight.teacher.batches import rows

GOOD = {"choices": [{"message": {"content": "4"}}]}


def row(status: int, body: Any, error: Any = None) -> rows.Row:
    response = {"status_code": status, "request_id": "r", "body": body} if status else None
    return rows.read(json.dumps({"custom_id": "k", "response": response, "error": error}).encode())


def refusal(code: str | None, message: str = "no") -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "type": "invalid_request_error"}}


def test_an_answer_is_kept_as_it_came() -> None:
    assert row(200, GOOD) == rows.Row("k", GOOD)


@pytest.mark.parametrize("code", ["content_policy_violation", "content_filter", "invalid_image"])
def test_what_the_teacher_will_never_take_is_an_answer_with_its_reason(code: str) -> None:
    assert row(400, refusal(code, "policy")).response == {
        "error": {"code": code, "message": "policy"},
        "choices": [],
    }


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (500, refusal("server_error"), None),
        (429, refusal("rate_limit_exceeded"), None),
        (408, None, None),
        (200, {"choices": []}, None),
        (200, None, None),
        (0, None, {"code": "batch_expired", "message": "too late"}),
        (0, None, {"code": "batch_cancelled", "message": "stopped"}),
        (0, None, None),
    ],
)
def test_what_went_wrong_at_the_server_is_asked_again(status: int, body: Any, error: Any) -> None:
    found = row(status, body, error)
    assert (found.response, found.is_final, found.is_unpaid) == (None, False, False)


@pytest.mark.parametrize(("status", "code"), [(400, "unsupported_parameter"), (404, None)])
def test_what_all_would_get_is_neither_kept_nor_asked_again(status: int, code: str | None) -> None:
    found = row(status, refusal(code))
    assert (found.response, found.is_final, found.is_unpaid) == (None, True, False)


@pytest.mark.parametrize(
    ("status", "code"), [(400, "billing_hard_limit_reached"), (429, "insufficient_quota")]
)
def test_an_account_without_money_is_told_apart(status: int, code: str) -> None:
    found = row(status, refusal(code))
    assert (found.response, found.is_final, found.is_unpaid) == (None, False, True)
