"""The Batch API: files, batches that take their time, some that expire or fail.

    POST /v1/files    GET /v1/files[/ID[/content]]    DELETE /v1/files/ID
    POST /v1/batches    GET /v1/batches[/ID]    POST /v1/batches/ID/cancel

Each account sees its own. All of it is in memory, and goes on when the caller is killed.
"""

import asyncio
import itertools
import json
import random
import re
import time
from dataclasses import dataclass, field
from typing import Any

from chainsight.demo.teacher import rows
from chainsight.demo.teacher.desk import Desk
from chainsight.demo.teacher.rows import InvalidError, Row
from chainsight.demo.teacher.uploads import Upload, Uploads, read_form
from chainsight.demo.teacher.wire import Answer, Problem, Request, Route, reply

DAY_SECONDS = 24 * 3600
ENDED = ("completed", "failed", "expired", "cancelled")
STEPS = 20
"""How often the rows of a batch in progress come on: so finely its counts grow."""


@dataclass
class Batch:
    """One batch."""

    id: str
    owner: str
    input_file_id: str
    metadata: dict[str, str] | None
    created: float
    """By the monotonic clock."""
    status: str = "validating"
    total: int = 0
    queued_tokens: int = 0
    lines: dict[bool, list[dict[str, Any]]] = field(default_factory=lambda: {True: [], False: []})
    """Of the output file and of the error file."""
    files: dict[bool, str] = field(default_factory=dict)
    errors: dict[str, Any] | None = None
    at: dict[str, int] = field(default_factory=dict)
    """When it came into each status."""

    def enter(self, status: str) -> None:
        """Change status."""
        self.status = status
        self.at[f"{status}_at"] = int(time.time())

    def shown(self) -> dict[str, Any]:
        """As the API describes it."""
        created = self.at["validating_at"]
        names = ("in_progress", "finalizing", *ENDED, "cancelling")
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": rows.ENDPOINT,
            "errors": self.errors,
            "input_file_id": self.input_file_id,
            "completion_window": "24h",
            "status": self.status,
            "output_file_id": self.files.get(True),
            "error_file_id": self.files.get(False),
            "created_at": created,
            "expires_at": created + DAY_SECONDS,
            **{f"{name}_at": self.at.get(f"{name}_at") for name in names},
            "request_counts": {
                "total": self.total,
                "completed": len(self.lines[True]),
                "failed": len(self.lines[False]),
            },
            "metadata": self.metadata,
        }


class Batches:
    """All batches of a server, and the files."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._uploads = Uploads()
        self._batches: dict[str, Batch] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._calls = itertools.count()

    def routes(self) -> list[Route]:
        """OpenAI's addresses, and Azure's, which begin with /openai."""
        found = {
            ("POST", "files"): self._upload,
            ("GET", "files"): self._list_files,
            ("GET", "files/([^/]+)"): self._show_file,
            ("GET", "files/([^/]+)/content"): self._content,
            ("DELETE", "files/([^/]+)"): self._delete,
            ("POST", "batches"): self._create,
            ("GET", "batches"): self._list,
            ("GET", "batches/([^/]+)"): self._show,
            ("POST", "batches/([^/]+)/cancel"): self._cancel,
        }
        return [
            (method, re.compile(f"/(?:v1|openai(?:/v1)?)/{path}"), route)
            for (method, path), route in found.items()
        ]

    def _owner(self, request: Request) -> str:
        """The caller's account; some calls fail before they are heard."""
        owner = self._desk.key_of(request)
        behaviour = self._desk.behaviour
        draw = random.Random(f"{behaviour.seed}/call/{next(self._calls)}").random()
        if draw < behaviour.batch.http_500:
            raise Problem(500, "the server had an error", code="server_error")
        return owner

    # --- files -------------------------------------------------------------------------------

    async def _upload(self, request: Request, part: str) -> Answer:  # noqa: ARG002
        owner = self._owner(request)
        form = await asyncio.to_thread(read_form, request)
        if "file" not in form or form.get("purpose", ("", b""))[1] != b"batch":
            raise Problem(400, "expected the fields file and purpose=batch")
        name, content = form["file"]
        return reply(self._uploads.add(owner, name, "batch", content).shown())

    async def _list_files(self, request: Request, part: str) -> Answer:  # noqa: ARG002
        files = self._uploads.of(self._owner(request))
        return reply(_page([file.shown() for file in files], request, default=10_000))

    async def _show_file(self, request: Request, part: str) -> Answer:
        return reply(self._uploads.get(self._owner(request), part).shown())

    async def _content(self, request: Request, part: str) -> Answer:
        file = self._uploads.get(self._owner(request), part)
        return Answer(200, file.content, kind="application/octet-stream")

    async def _delete(self, request: Request, part: str) -> Answer:
        self._uploads.drop(self._owner(request), part)
        return reply({"id": part, "object": "file", "deleted": True})

    # --- batches -----------------------------------------------------------------------------

    async def _create(self, request: Request, part: str) -> Answer:  # noqa: ARG002
        owner = self._owner(request)
        try:
            wanted = json.loads(request.body)
            file = self._uploads.get(owner, str(wanted["input_file_id"]))
            endpoint, metadata = wanted["endpoint"], wanted.get("metadata")
        except (ValueError, LookupError, TypeError) as error:
            raise Problem(400, f"not a batch: {error!r}") from None
        if endpoint != rows.ENDPOINT or wanted.get("completion_window") != "24h":
            raise Problem(400, f"expected endpoint {rows.ENDPOINT} and completion_window 24h")
        name = f"batch_{len(self._batches) + 1:06d}"
        batch = Batch(name, owner, file.id, metadata, time.monotonic())
        batch.enter("validating")
        self._batches[name] = batch
        task = asyncio.create_task(self._live(batch, file))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        lost = len(self._batches) <= self._desk.behaviour.batch.lost_creates
        answer = reply(batch.shown())
        return Answer(answer.status, answer.body, fault="reset" if lost else "")

    async def _list(self, request: Request, part: str) -> Answer:  # noqa: ARG002
        owner, lag = self._owner(request), self._desk.behaviour.batch.list_lag_seconds
        listed = [
            batch.shown()
            for batch in reversed(self._batches.values())
            if batch.owner == owner and time.monotonic() - batch.created >= lag
        ]
        return reply(_page(listed, request, default=20))

    async def _show(self, request: Request, part: str) -> Answer:
        return reply(self._find(request, part).shown())

    async def _cancel(self, request: Request, part: str) -> Answer:
        batch = self._find(request, part)
        if batch.status in ENDED:
            raise Problem(400, f"Cannot cancel a batch with status '{batch.status}'.")
        batch.enter("cancelling")
        return reply(batch.shown())

    def _find(self, request: Request, name: str) -> Batch:
        batch = self._batches.get(name)
        if batch is None or batch.owner != self._owner(request):
            raise Problem(404, f"No batch found with id '{name}'.", kind="invalid_request_error")
        return batch

    # --- a batch's life ----------------------------------------------------------------------

    async def _live(self, batch: Batch, file: Upload) -> None:
        behaviour = self._desk.behaviour.batch
        seed = f"{self._desk.behaviour.seed}/{batch.id}"
        try:
            wanted = await asyncio.to_thread(self._validate, batch, file)
        except InvalidError as error:
            batch.errors = error.shown()
            batch.enter("failed")
            return
        await asyncio.sleep(behaviour.seconds * 0.1)
        if batch.status == "validating":
            batch.enter("in_progress")
        random.Random(seed).shuffle(wanted)
        expires = random.Random(f"{seed}/expire").random() < behaviour.expire_rate
        num_done = round(len(wanted) * (1 - behaviour.expired_rows)) if expires else len(wanted)
        num_done = await self._work(batch, wanted[:num_done], seed, behaviour.seconds * 0.8)
        ended = "expired" if expires else "completed"
        if batch.status == "cancelling":
            ended = "cancelled"
        else:
            batch.enter("finalizing")
        code = "batch_cancelled" if ended == "cancelled" else "batch_expired"
        batch.lines[False] += [rows.undone(row, seed, code) for row in wanted[num_done:]]
        await asyncio.sleep(behaviour.seconds * 0.1)
        self._close(batch, ended)

    def _validate(self, batch: Batch, file: Upload) -> list[Row]:
        behaviour = self._desk.behaviour
        if len(file.content) > behaviour.batch.max_bytes:
            message = f"The input file is larger than {behaviour.batch.max_bytes} bytes."
            raise InvalidError("file_too_large", message)
        if random.Random(f"{behaviour.seed}/{batch.id}/fail").random() < behaviour.batch.fail_rate:
            raise InvalidError("server_error", "The batch could not be validated.")
        wanted = rows.read(file.content, behaviour.batch.max_requests)
        others = (other for other in self._batches.values() if other.status not in ENDED)
        queued = sum(other.queued_tokens for other in others if other.owner == batch.owner)
        rows.check_queue(wanted, queued, self._desk.account_of(batch.owner).limits)
        batch.total = len(wanted)
        batch.queued_tokens = sum(row.prompt_tokens for row in wanted)
        return wanted

    async def _work(self, batch: Batch, wanted: list[Row], seed: str, seconds: float) -> int:
        """Answer rows until all are or the batch is cancelled; how many were."""
        step = max(1, len(wanted) // STEPS)
        for number, row in enumerate(wanted):
            if batch.status == "cancelling":
                return number
            done, line = rows.answer(row, self._desk, seed)
            batch.lines[done].append(line)
            await asyncio.sleep(seconds * step / len(wanted) if number % step == 0 else 0)
        return len(wanted)

    def _close(self, batch: Batch, status: str) -> None:
        """Write both files and end."""
        for good, name in ((True, "output"), (False, "error")):
            if batch.lines[good]:
                text = "".join(json.dumps(line) + "\n" for line in batch.lines[good])
                file = self._uploads.add(
                    batch.owner, f"{batch.id}_{name}.jsonl", "batch_output", text.encode()
                )
                batch.files[good] = file.id
        batch.queued_tokens = 0
        batch.enter(status)


def _page(found: list[dict[str, Any]], request: Request, default: int) -> dict[str, Any]:
    """The part of a list that `after` and `limit` ask for."""
    names = [one["id"] for one in found]
    after = request.query.get("after")
    start = names.index(after) + 1 if after in names else 0
    page = found[start : start + int(request.query.get("limit", default))]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": start + len(page) < len(found),
    }
