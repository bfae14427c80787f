"""One try to get one answer, at any OpenAI-compatible endpoint.

It asks with the key, and keeps the key out of everything that it says, raises or returns. Retries,
limits and budget are the caller's (`asking`).
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import quote

import openai

from chainsight.config import DistillSection
from chainsight.teacher.connection import connect
from chainsight.teacher.endpoint import Endpoint
from chainsight.teacher.headers import retry_after
from chainsight.teacher.troubles import Trouble, kind_of

LONGEST_PAUSE_SECONDS = 600.0
"""A teacher that wants a longer rest than this is asked again by a later run."""
LONGEST_QUOTE = 300
RAW = {"Content-Type": "application/json", "X-Stainless-Raw-Response": "true"}
"""The body is encoded already, and the answer is wanted as it came."""


@dataclass(frozen=True)
class Answer:
    """A chat completion as the teacher sent it."""

    response: dict[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


class Line(Protocol):
    """The way to one place: a seam for tests, which have no network."""

    address: str

    async def send(self, body: bytes, seconds: float) -> Answer | Trouble:
        """Ask once, and give up after `seconds`."""
        ...

    async def close(self) -> None: ...


class Teacher:
    """The line to a real place."""

    def __init__(self, config: DistillSection, endpoint: Endpoint) -> None:
        self._config, self._endpoint = config, endpoint
        self._client = connect(endpoint, config)
        self.address = str(self._client.base_url).rstrip("/")
        self._path = "/chat/completions"
        if endpoint.api_version is not None:  # Azure's, which the client writes by the body alone
            self._path = f"/deployments/{quote(endpoint.model, safe='')}{self._path}"

    async def close(self) -> None:
        await self._client.close()

    async def send(self, body: bytes, seconds: float) -> Answer | Trouble:
        """See `Line`."""
        try:
            # The client's own limit counts silence; this one also cuts an answer that drips.
            # Cancelled so, it closes the connection: a hung one does not go back to the pool.
            async with asyncio.timeout(seconds):
                raw: Any = await self._client.post(
                    self._path, cast_to=Any, content=body, options={"headers": RAW}
                )
        except (openai.APITimeoutError, TimeoutError):
            return Trouble("silent", f"no answer within {seconds:.3g} s (distill.timeout_seconds)")
        except openai.APIStatusError as error:
            return self._refused(error)
        except openai.APIConnectionError as error:
            return self._disconnected(error)
        return self._read(raw.text, raw.headers)

    def _read(self, body: str, headers: Mapping[str, str]) -> Answer | Trouble:
        """A response that has a message, whatever the message says."""
        try:
            response = json.loads(body)
            message = response["choices"][0]["message"]
        except (ValueError, LookupError, TypeError):
            message = None
        if not isinstance(message, dict):
            said = self._endpoint.hide(body)[:80]
            return Trouble("garbled", f"not a chat completion: {said!r}", headers=headers)
        return Answer(dict(self._endpoint.clean(response)), headers)

    def _disconnected(self, error: openai.APIConnectionError) -> Trouble:
        cause = error.__cause__
        # By name: the HTTP library under openai is openai's own affair.
        unreachable = type(cause).__name__ == "ConnectError"
        said = self._endpoint.hide(str(cause) or type(cause).__name__)
        return Trouble("unreachable" if unreachable else "broken", f"broken connection ({said})")

    def _refused(self, error: openai.APIStatusError) -> Trouble:
        said = self._endpoint.hide(error.message)[:LONGEST_QUOTE]
        if closed := self._closed(error, said):
            return Trouble("closed", f"{self.address}: {closed}")
        kind, code = kind_of(error.status_code, error.code), str(error.code or "")
        if kind == "own":
            said = self._endpoint.hide(_said(error))[:LONGEST_QUOTE]
            return Trouble(kind, said, code)
        headers = error.response.headers
        pause = retry_after(headers, datetime.now(UTC))
        return Trouble(kind, f"HTTP {error.status_code} ({said})", code, pause, headers)

    def _closed(self, error: openai.APIStatusError, said: str) -> str:
        """Why nobody gets an answer here, and the way out; "" if others may."""
        config, status = self._config, error.status_code
        place = self._endpoint.key_place or f"the environment variable {config.api_key_env}"
        if status in (401, 403):
            return (
                f"the teacher refuses the key in {place} ({said}); set a valid key there, or name "
                "another variable in distill.api_key_env"
            )
        if status == 404:
            return (
                f"no model {config.teacher_model!r} there, or no such address ({said}); correct "
                "distill.teacher_model, or distill.teacher, which ends in /v1"
            )
        if status == 402 or error.code == "insufficient_quota":
            return f"the account of the key in {place} is used up ({said}); top it up and run again"
        pause = retry_after(error.response.headers, datetime.now(UTC))
        if pause is not None and pause > LONGEST_PAUSE_SECONDS:
            return (
                f"the teacher wants {pause:.0f} s of rest ({said}), more than "
                f"{LONGEST_PAUSE_SECONDS:.0f} s; run again then, or lower distill.concurrency"
            )
        return ""


def _said(error: openai.APIStatusError) -> str:
    """The teacher's words, without what the client puts around them."""
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return message if isinstance(message, str) else error.message
