"""The lines of a batch's output and error files."""

import json
from dataclasses import dataclass
from typing import Any

from chainsight.teacher.batches.failures import OUT_OF_MONEY
from chainsight.teacher.reply import unanswerable
from chainsight.teacher.troubles import MEANINGS, Kind, kind_of


@dataclass(frozen=True)
class Row:
    """What became of one request."""

    key: str
    response: dict[str, Any] | None
    """The ledger's; none: there is no answer."""
    trouble: str = ""
    """Why there is none."""
    is_unpaid: bool = False
    """Whether the account pays no more."""
    is_final: bool = False
    """Whether asking again would end the same way."""


def read(line: bytes) -> Row:
    """Parse one line of either file."""
    row = json.loads(line)
    said = row.get("response") or {}
    status, body = said.get("status_code", 0), said.get("body")
    if status == 200 and _is_completion(body):
        return Row(row["custom_id"], body)
    error = row.get("error") or (body.get("error") if isinstance(body, dict) else None) or {}
    code = str(error.get("code") or error.get("type") or "")
    return _without_answer(row["custom_id"], status, code, str(error.get("message") or ""))


def _without_answer(key: str, status: int, code: str, message: str) -> Row:
    said = f"HTTP {status}, {code}: {message}"
    if code in OUT_OF_MONEY:
        return Row(key, None, said, is_unpaid=True)
    # A row that was never tried, as its batch expired, has no status.
    kind: Kind = kind_of(status, code) if status >= 400 else "failed"
    if kind == "own":
        return Row(key, unanswerable(code, message))
    return Row(key, None, said, is_final=MEANINGS[kind].final)


def _is_completion(body: Any) -> bool:
    try:
        return isinstance(body["choices"][0]["message"], dict)
    except (LookupError, TypeError):
        return False
