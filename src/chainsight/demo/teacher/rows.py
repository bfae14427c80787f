"""The rows of a batch: read and checked as the Batch API does, answered one by one."""

import hashlib
import json
import random
from collections import Counter
from dataclasses import dataclass
from typing import Any

from chainsight.demo.teacher.answering import respond
from chainsight.demo.teacher.behaviour import Limits
from chainsight.demo.teacher.desk import Desk
from chainsight.demo.teacher.reading import Asked, parse
from chainsight.demo.teacher.wire import Problem

ENDPOINT = "/v1/chat/completions"
SAID = {
    "batch_expired": "This request could not be executed before the completion window expired.",
    "batch_cancelled": "This request was not executed, as the batch was cancelled.",
}


@dataclass(frozen=True)
class Row:
    """One request of a batch."""

    custom_id: str
    body: bytes
    """As the openai client would send it."""
    model: str
    prompt_tokens: int


class InvalidError(Exception):
    """Why a whole batch fails at validation."""

    def __init__(self, code: str, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.code, self.line = code, line

    def shown(self) -> dict[str, Any]:
        """As the API's list of errors."""
        error = {"code": self.code, "message": str(self), "param": None, "line": self.line}
        return {"object": "list", "data": [error]}


def read(content: bytes, max_requests: int) -> list[Row]:
    """Parse an input file.

    Raises:
        InvalidError: what is wrong with it, and on which line.
    """
    lines = content.splitlines()
    if not lines:
        raise InvalidError("empty_file", "The input file has no requests.")
    if len(lines) > max_requests:
        message = f"The input file has {len(lines)} requests; at most {max_requests} are allowed."
        raise InvalidError("max_requests_exceeded", message)
    rows = [_row(line, number) for number, line in enumerate(lines, 1)]
    _check_unity(rows)
    return rows


def _row(line: bytes, number: int) -> Row:
    try:
        row = json.loads(line)
        custom_id, url, sent = row["custom_id"], row["url"], row["body"]
    except (ValueError, LookupError, TypeError) as error:
        raise InvalidError("invalid_json_line", f"No request: {error!r}", number) from None
    if url != ENDPOINT or row.get("method") != "POST":
        raise InvalidError("invalid_url", f"Expected POST {ENDPOINT}, found {url}", number)
    body = json.dumps(sent, ensure_ascii=False, separators=(",", ":")).encode()
    try:
        asked: Asked = parse(body)
    except Problem as problem:
        raise InvalidError("invalid_request", str(problem), number) from None
    return Row(str(custom_id), body, asked.model, asked.prompt_tokens)


def _check_unity(rows: list[Row]) -> None:
    """One model, and every custom_id once."""
    seen: Counter[str] = Counter()
    for number, row in enumerate(rows, 1):
        seen[row.custom_id] += 1
        if seen[row.custom_id] > 1:
            message = f"The custom_id {row.custom_id} is not unique."
            raise InvalidError("duplicate_custom_id", message, number)
        if row.model != rows[0].model:
            message = f"The models {rows[0].model} and {row.model} are in one file."
            raise InvalidError("mismatched_model", message, number)


def check_queue(rows: list[Row], queued: int, limits: Limits) -> None:
    """Refuse what the account's queue has no room for.

    Raises:
        InvalidError: OpenAI's `token_limit_exceeded`.
    """
    limit = limits.queued_tokens
    if limit is not None and queued + sum(row.prompt_tokens for row in rows) > limit:
        raise InvalidError(
            "token_limit_exceeded",
            f"Enqueued token limit reached for {rows[0].model} in organization org-scripted. "
            f"Limit: {limit:,} enqueued tokens. Please try again once some in_progress batches "
            "have been completed.",
        )


def answer(row: Row, desk: Desk, seed: str) -> tuple[bool, dict[str, Any]]:
    """Whether a row succeeds, and its line in the output or the error file; it is billed."""
    behaviour = desk.behaviour
    digest = hashlib.sha256(row.body).hexdigest()
    try:
        if random.Random(f"{seed}/{digest}").random() < behaviour.batch.row_error_rate:
            raise Problem(500, "the server had an error", code="server_error")
        response = respond(parse(row.body), behaviour, digest, desk.bill.times[digest])
    except Problem as problem:
        return False, _line(row, seed, problem.status, problem.body)
    desk.bill.charge(
        digest, response.prompt_tokens, response.completion_tokens, behaviour.batch.price
    )
    desk.bill.rows[row.custom_id] += 1
    return True, _line(row, seed, 200, response.body)


def _line(row: Row, seed: str, status: int, body: dict[str, Any]) -> dict[str, Any]:
    name = hashlib.sha256(f"{seed}/{row.custom_id}".encode()).hexdigest()[:24]
    response = {"status_code": status, "request_id": name, "body": body}
    return {
        "id": f"batch_req_{name}",
        "custom_id": row.custom_id,
        "response": response,
        "error": None,
    }


def undone(row: Row, seed: str, code: str) -> dict[str, Any]:
    """The line in the error file of a row that was never tried."""
    return _line(row, seed, 0, {}) | {
        "response": None,
        "error": {"code": code, "message": SAID[code]},
    }
