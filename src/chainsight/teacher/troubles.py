"""Why there is no answer, and what that says of the request that got none."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from chainsight.teacher.reply import CONTENT_CODES

PASSING_STATUS = frozenset({408, 409, 425})
OVERLOADED_STATUS = frozenset({503, 529})
OWN_CODES = frozenset(
    {
        *CONTENT_CODES, "context_length_exceeded", "string_above_max_length", "invalid_prompt",
        "invalid_image", "invalid_image_format", "invalid_base64_image", "invalid_image_mode",
        "image_parse_error", "image_too_large", "image_too_small", "image_file_too_large",
        "empty_image_file", "unsupported_image_media_type",
    }
)  # fmt: skip
"""What is wrong with one request and not with how all are asked (codes of OpenAI and Azure)."""

Kind = Literal[
    "limited", "overloaded", "failed", "silent", "broken", "garbled", "unreachable", "own",
    "refused", "closed",
]  # fmt: skip


@dataclass(frozen=True)
class Meaning:
    """What a kind of trouble says."""

    is_try: bool = True
    """Whether it counts as one of `distill.max_retries`."""
    is_counted: bool = True
    """Whether it took something out of the account's limits per minute."""
    maybe_paid: bool = False
    """Whether the teacher may have worked, and charge for it."""
    final: bool = False
    """Whether another try would end the same way."""


MEANINGS: dict[Kind, Meaning] = {
    "limited": Meaning(is_try=False, is_counted=False),  # HTTP 429
    "overloaded": Meaning(),  # 503, 529
    "failed": Meaning(),  # another 5xx, or a status that passes
    "silent": Meaning(maybe_paid=True),  # cut, as nothing came for too long
    "broken": Meaning(maybe_paid=True),  # the connection broke after the request was sent
    "garbled": Meaning(maybe_paid=True),  # what came is no chat completion
    "unreachable": Meaning(is_counted=False),  # no connection
    "own": Meaning(final=True),  # never taken, for a reason of this request's own
    "refused": Meaning(final=True),  # any other 4xx
    "closed": Meaning(is_try=False),  # nobody gets an answer there: no key, no money, no model
}


@dataclass(frozen=True)
class Trouble:
    """Why a try gave no answer, and how long the teacher wants to rest."""

    kind: Kind
    message: str
    code: str = ""
    """The teacher's, for kind `own`."""
    pause_seconds: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def means(self) -> Meaning:
        return MEANINGS[self.kind]


def kind_of(status: int, code: str | None) -> Kind:
    """What an HTTP error means for the request that got it."""
    if status == 429:
        return "limited"
    if status in OVERLOADED_STATUS:
        return "overloaded"
    if status in PASSING_STATUS or status >= 500:
        return "failed"
    return "own" if code in OWN_CODES else "refused"
