"""One question to the teacher, at any OpenAI-compatible endpoint, until there is an answer.

The only module that imports openai. It asks with the key, and keeps the key out of everything
that it says, raises or returns.
"""

import asyncio
import itertools
import json
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import openai

from chainsight.config import DistillSection
from chainsight.errors import RecordError, TeacherError
from chainsight.teacher.connection import connect
from chainsight.teacher.endpoint import Endpoint
from chainsight.teacher.request import Question, body

log = logging.getLogger(__name__)

BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 600.0
"""A teacher that wants a longer rest than this is asked again by a later run."""
CONNECT_RETRIES = 3
LONGEST_QUOTE = 300
RETRIED_STATUS = frozenset({408, 409, 425, 429})


class NoAnswerError(Exception):
    """This question got no answer; others may."""


@dataclass(frozen=True)
class Trouble:
    """Why a try gave no answer, and how long the teacher wants to rest."""

    message: str
    pause_seconds: float | None = None
    unreachable: bool = False
    final: bool = False
    """Another try would end the same way."""


class Teacher:
    """Asks, retries and gives up. One instance serves all questions of a stage."""

    def __init__(
        self,
        config: DistillSection,
        endpoint: Endpoint,
        *,
        backoff_seconds: float = BACKOFF_SECONDS,
    ) -> None:
        self._config, self._endpoint, self._backoff = config, endpoint, backoff_seconds
        self._model = endpoint.model or config.teacher_model
        self._client = connect(endpoint, config)
        self.address = str(self._client.base_url).rstrip("/")
        self._reached = False
        self._rest_until = 0.0
        self._random = random.Random()  # noqa: S311 - jitter

    async def __aenter__(self) -> "Teacher":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def ask(
        self, question: Question, keep_trying: Callable[[], bool] = lambda: True
    ) -> dict[str, Any]:
        """The teacher's response to `question`, as it sent it.

        `keep_trying` is asked before each retry.

        Raises:
            NoAnswerError: this question got none in `max_retries` + 1 tries, or never will.
            TeacherError: no question will get one: refused, unknown or unreachable.
        """
        asked = await asyncio.to_thread(self._body, question)
        for attempt in itertools.count():
            await self._rest()
            answer = await self._try(asked)
            if not isinstance(answer, Trouble):
                return answer
            self._give_up(answer, attempt, keep_trying)
            log.debug("%s: %s; trying again", question.example.id, answer.message)
            await self._back_off(answer, attempt)
        raise AssertionError("unreachable")

    def _body(self, question: Question) -> dict[str, Any]:
        try:
            return body(self._config, question, self._model)
        except RecordError as error:
            raise NoAnswerError(str(error)) from None

    async def _try(self, asked: dict[str, Any]) -> dict[str, Any] | Trouble:
        seconds = self._config.timeout_seconds
        try:
            # The client's own limit counts silence; this one also cuts an answer that drips.
            async with asyncio.timeout(seconds):
                raw = await self._client.chat.completions.with_raw_response.create(**asked)
        except (openai.APITimeoutError, TimeoutError):
            return Trouble(f"no answer within {seconds:g} s (distill.timeout_seconds)")
        except openai.APIStatusError as error:
            self._reached = True
            return self._refused(error)
        except openai.APIConnectionError as error:
            return self._disconnected(error)
        self._reached = True
        return _read(raw.text, self._endpoint)

    def _refused(self, error: openai.APIStatusError) -> Trouble:
        status, said = error.status_code, self._endpoint.hide(error.message)[:LONGEST_QUOTE]
        config = self._config
        place = self._endpoint.key_place or f"the environment variable {config.api_key_env}"
        if status in (401, 403):
            raise TeacherError(
                f"{self.address}: the teacher refuses the key in {place} ({said}); set a valid key "
                "there, or name another variable in distill.api_key_env"
            )
        if status == 404:
            raise TeacherError(
                f"{self.address}: no model {config.teacher_model!r} there, or no such address "
                f"({said}); correct distill.teacher_model, or distill.teacher, which ends in /v1"
            )
        if status == 402 or error.code == "insufficient_quota":
            raise TeacherError(
                f"{self.address}: the account of the key in {place} is used up "
                f"({said}); top it up and run again"
            )
        pause = retry_after(error.response.headers, datetime.now(UTC))
        if pause is not None and pause > LONGEST_PAUSE_SECONDS:
            raise TeacherError(
                f"{self.address}: the teacher wants {pause:.0f} s of rest ({said}), more than "
                f"{LONGEST_PAUSE_SECONDS:.0f} s; run again then, or lower distill.concurrency"
            )
        retried = status in RETRIED_STATUS or status >= 500
        return Trouble(f"HTTP {status} ({said})", pause, final=not retried)

    def _disconnected(self, error: openai.APIConnectionError) -> Trouble:
        cause = error.__cause__
        # By name: the HTTP library under openai is openai's own affair.
        unreachable = type(cause).__name__ == "ConnectError"
        said = self._endpoint.hide(str(cause) or type(cause).__name__)
        return Trouble(f"broken connection ({said})", unreachable=unreachable)

    def _give_up(self, trouble: Trouble, attempt: int, keep_trying: Callable[[], bool]) -> None:
        most = self._config.max_retries
        if trouble.unreachable and not self._reached:
            most = min(most, CONNECT_RETRIES)
        if attempt < most and not trouble.final and keep_trying():
            return
        if trouble.unreachable:
            raise TeacherError(
                f"{self.address}: the teacher cannot be reached: {trouble.message}, "
                f"{attempt + 1} tries; start it or correct distill.teacher, then run again"
            )
        raise NoAnswerError(f"{trouble.message}, {attempt + 1} tries")

    async def _rest(self) -> None:
        now = asyncio.get_running_loop().time
        while (left := self._rest_until - now()) > 0:
            await asyncio.sleep(left)

    async def _back_off(self, trouble: Trouble, attempt: int) -> None:
        """Full jitter; a rest that the teacher asks for is kept by every request."""
        if trouble.pause_seconds is not None:
            until = asyncio.get_running_loop().time() + trouble.pause_seconds
            self._rest_until = max(self._rest_until, until)
        quick = trouble.unreachable and not self._reached
        ceiling = self._backoff if quick else self._backoff * 2 ** min(attempt, 16)
        await asyncio.sleep(self._random.uniform(0, min(LONGEST_BACKOFF_SECONDS, ceiling)))


def _read(body: str, endpoint: Endpoint) -> dict[str, Any] | Trouble:
    """A response that has a message, whatever the message says."""
    try:
        response = json.loads(body)
        message = response["choices"][0]["message"]
    except (ValueError, LookupError, TypeError):
        message = None
    if not isinstance(message, dict):
        return Trouble(f"not a chat completion: {endpoint.hide(body)[:80]!r}")
    return dict(endpoint.clean(response))


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds of rest that the teacher asks for: `retry-after-ms`, seconds, or an HTTP date."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[name]) * scale)
        except (KeyError, ValueError):
            continue
    try:
        until = parsedate_to_datetime(headers["retry-after"])
    except (KeyError, ValueError):
        return None
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - now).total_seconds())
