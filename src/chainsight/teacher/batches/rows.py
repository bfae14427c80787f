"""The lines of a batch's output and error files."""

import json
from dataclasses import dataclass
from typing import Any

from chainsight.teacher.reply import unanswerable

OUT_OF_MONEY = ("billing_hard_limit_reached", "insufficient_quota", "billing_not_active")
"""Codes by which OpenAI says that the account pays no more."""
NOT_THE_QUESTION = (401, 402, 403, 404, 408, 409, 425, 429)
"""Status of a row that has to do with the account, the model or the moment; those below 500 that
are not here would come again."""


@dataclass(frozen=True)
class Row:
    """What became of one request."""

    key: str
    response: dict[str, Any] | None
    """The ledger's; none: it is to be asked again."""
    trouble: str = ""
    """Why there is none."""
    is_unpaid: bool = False
    """Whether the account pays no more."""


def read(line: bytes) -> Row:
    """Parse one line of either file."""
    row = json.loads(line)
    said = row.get("response") or {}
    status, body = said.get("status_code", 0), said.get("body")
    if status == 200 and _is_completion(body):
        return Row(row["custom_id"], body)
    error = row.get("error") or (body.get("error") if isinstance(body, dict) else None) or {}
    code = str(error.get("code") or error.get("type") or status)
    message = str(error.get("message") or "no message")
    if code in OUT_OF_MONEY:
        return Row(row["custom_id"], None, f"{code}: {message}", is_unpaid=True)
    if 400 <= status < 500 and status not in NOT_THE_QUESTION:
        return Row(row["custom_id"], unanswerable(code, message))
    return Row(row["custom_id"], None, f"HTTP {status}, {code}: {message}")


def _is_completion(body: Any) -> bool:
    try:
        return isinstance(body["choices"][0]["message"], dict)
    except (LookupError, TypeError):
        return False
