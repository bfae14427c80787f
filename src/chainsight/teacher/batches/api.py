"""The Batch API's calls, each repeated until it is answered, but the one that costs money.

Creating a batch is never repeated on a guess: an answer that got lost leaves it open whether there
is one now (`UnsureError`), and only looking for its run key tells.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from typing import IO, Any, NoReturn, TypeVar

import openai

from chainsight.config import DistillSection
from chainsight.errors import TeacherError
from chainsight.teacher.batches.failures import OUT_OF_MONEY, unpaid
from chainsight.teacher.client import LONGEST_QUOTE
from chainsight.teacher.connection import chat_path, connect
from chainsight.teacher.endpoint import Endpoint
from chainsight.teacher.headers import retry_after
from chainsight.teacher.troubles import MEANINGS, kind_of

log = logging.getLogger(__name__)

T = TypeVar("T")
_BROKEN = import_module(type(openai.DEFAULT_CONNECTION_LIMITS).__module__).HTTPError
"""What a stream raises that breaks: the HTTP library's own error, which openai does not wrap."""
LONGEST_OUTAGE_SECONDS = 3600.0
"""The API may be away for this long; the batches go on meanwhile."""
FIRST_TRIES = 4
"""At an address that never answered."""
ENDED = ("completed", "expired", "cancelled", "failed")
NO_BATCHES = (404, 405, 501)
PAGE = 100
"""Batches listed by one call, the most that the API gives."""


class UnsureError(Exception):
    """Whether the batch was created is not known."""


class GoneError(TeacherError):
    """There is no such file or batch (any more), or no such address."""


@dataclass(frozen=True)
class State:
    """A batch as the API shows it."""

    id: str
    status: str
    run_key: str
    num_completed: int
    input_file: str
    files: tuple[str, ...]
    """Of results: the output file and the error file, where there are such."""
    expires_at: int | None
    code: str = ""
    """Why it failed, as a word."""
    message: str = ""

    @classmethod
    def of(cls, batch: Any) -> "State":
        """Read what the API sent."""
        counts, errors = batch.request_counts, batch.errors and batch.errors.data
        error = errors[0] if errors else None
        line = f" (line {error.line})" if error and error.line else ""
        return cls(
            id=batch.id,
            status=batch.status,
            run_key=(batch.metadata or {}).get("run_key", ""),
            num_completed=counts.completed if counts else 0,
            input_file=batch.input_file_id,
            files=tuple(filter(None, (batch.output_file_id, batch.error_file_id))),
            expires_at=batch.expires_at,
            code=(error and error.code) or "",
            message=f"{error.message}{line}" if error else "",
        )

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED


class Api:
    """Files and batches at one place."""

    def __init__(self, config: DistillSection, endpoint: Endpoint) -> None:
        self._config, self._endpoint = config, endpoint
        self._client = connect(endpoint, config)
        self.address = str(self._client.base_url).rstrip("/")
        self.path = chat_path(endpoint)
        self._pause = config.batch.poll_seconds
        self._reached = False
        self._random = random.Random()  # noqa: S311 - jitter

    async def __aenter__(self) -> "Api":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def check(self) -> None:
        """Look whether there is a Batch API, before anything is announced.

        Raises:
            TeacherError: there is none (vLLM's server), or it does not let us in.
        """
        try:
            await self._steadily(lambda: self._client.batches.list(limit=1))
        except GoneError:
            raise TeacherError(
                f"{self.address}: has no Batch API (OpenAI and Azure OpenAI have one, vLLM's "
                "server has none); write distill.mode: sync"
            ) from None

    # --- files -------------------------------------------------------------------------------

    async def upload(self, file: IO[bytes], name: str) -> str:
        """Send a batch's input file, and give its id."""

        sent = await self._steadily(
            lambda: self._client.files.create(file=(name, file), purpose="batch")
        )
        show = partial(self._client.files.retrieve, sent.id)
        while sent.status in ("pending", "running"):  # Azure looks at it first
            await asyncio.sleep(self._pause)
            sent = await self._steadily(show)
        return str(sent.id)

    async def find_file(self, name: str, num_bytes: int) -> str | None:
        """The id of an uploaded file."""

        async def find() -> str | None:
            async for file in self._client.files.list(purpose="batch"):
                if file.filename == name and file.bytes == num_bytes:
                    return str(file.id)
            return None

        return await self._steadily(find)

    async def _lines(self, file_id: str) -> AsyncIterator[bytes]:
        """The lines of a result file, as they come."""
        # Not the client's own lines: those end at U+2028 too, which an answer may have in it.
        rest = b""
        content = self._client.files.with_streaming_response.content(file_id)
        async with content as response:
            async for data in response.iter_bytes(2**16):
                *whole, rest = (rest + data).split(b"\n")
                for line in whole:
                    yield line
        if rest:
            yield rest

    async def read(self, file_id: str, take: Callable[[bytes], None]) -> None:
        """Hand each line of a result file to `take`; from the start again if the stream breaks.

        Raises:
            GoneError: it was deleted.
        """

        async def read() -> None:
            async for line in self._lines(file_id):
                if line.strip():
                    take(line)

        await self._steadily(read)

    async def delete(self, file_id: str) -> None:
        """Remove a file, if it can be removed: what stays is no harm."""
        try:
            await self._client.files.delete(file_id)
        except (openai.APIError, _BROKEN) as error:
            log.debug("%s: not deleted: %s", file_id, self._said(error))

    # --- batches -----------------------------------------------------------------------------

    async def create(self, file_id: str, run_key: str) -> State:
        """Create the batch of an uploaded file: from here on it costs.

        Raises:
            UnsureError: it may be there or not.
        """

        async def create() -> Any:
            try:
                return await self._client.batches.create(
                    input_file_id=file_id,
                    endpoint=self.path,  # type: ignore[arg-type]  # Azure's has no /v1
                    completion_window="24h",
                    metadata={"run_key": run_key},
                )
            except openai.RateLimitError:
                raise  # refused, so it is not there
            except (openai.APIConnectionError, openai.InternalServerError) as error:
                raise UnsureError(self._said(error)) from None

        return State.of(await self._steadily(create))

    async def find(self, run_key: str) -> State | None:
        """The batch of a run key, as far as the list shows it already."""

        async def find() -> State | None:
            async for batch in self._client.batches.list(limit=PAGE):
                state = State.of(batch)
                if state.run_key == run_key:
                    return state
            return None

        return await self._steadily(find)

    async def look(self, batch_id: str) -> State:
        """How far a batch is.

        Raises:
            GoneError: there is none of this id.
        """
        return State.of(await self._steadily(lambda: self._client.batches.retrieve(batch_id)))

    async def cancel(self, batch_id: str) -> None:
        """End a batch before it costs more."""
        await self._steadily(lambda: self._client.batches.cancel(batch_id))

    # --- troubles ----------------------------------------------------------------------------

    async def _steadily(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat a call until it is answered.

        Raises:
            GoneError: HTTP 404.
            TeacherError: refused for good, or no answer for `LONGEST_OUTAGE_SECONDS`.
        """
        started, attempt = time.monotonic(), 0
        while True:
            try:
                result = await call()
            except (openai.APIError, _BROKEN) as error:
                pause = self._pause_after(error, attempt)
                away = time.monotonic() - started
                unknown = not self._reached and attempt + 1 >= FIRST_TRIES
                if unknown or away + pause > LONGEST_OUTAGE_SECONDS:
                    self._give_up(error, away)
                log.info("%s: %s; trying again", self.address, self._said(error))
                await asyncio.sleep(pause)
                attempt += 1
            else:
                self._reached = True
                return result

    def _pause_after(self, error: Exception, attempt: int) -> float:
        """Seconds to wait before the next try; raises if there is to be none."""
        longest = min(60.0, 0.5 * 2.0 ** min(attempt, 8), self._pause)
        jitter = self._random.uniform(0.5, 1) * longest
        if not isinstance(error, openai.APIStatusError):
            return jitter
        self._reached = True
        is_final = MEANINGS[kind_of(error.status_code, error.code)].final
        if is_final or error.status_code in NO_BATCHES or error.code in OUT_OF_MONEY:
            self._refuse(error)
        return retry_after(error.response.headers, datetime.now(UTC)) or jitter

    def _refuse(self, error: openai.APIStatusError) -> NoReturn:
        status, said = error.status_code, self._said(error)
        if status in NO_BATCHES:
            raise GoneError(f"{self.address}: {said}") from None
        place = self._endpoint.key_place or "distill.api_key_env"
        if status in (401, 403):
            raise TeacherError(
                f"{self.address}: the Batch API refuses the key in {place} ({said}); set a key "
                "there that may use files and batches"
            ) from None
        if status == 402 or error.code in OUT_OF_MONEY:
            raise TeacherError(unpaid(self.address, said)) from None
        raise TeacherError(
            f"{self.address}: the Batch API answers HTTP {status}: {said}; mend what it names, or "
            "write distill.mode: sync"
        ) from None

    def _give_up(self, error: Exception, away: float) -> NoReturn:
        raise TeacherError(
            f"{self.address}: the Batch API cannot be reached since {away:.0f} s: "
            f"{self._said(error)}; correct distill.teacher if the address is wrong"
        ) from None

    def _said(self, error: Exception) -> str:
        cause = error.__cause__
        said = f"{error}" if cause is None else f"{error} ({cause})"
        return self._endpoint.hide(said)[:LONGEST_QUOTE]
