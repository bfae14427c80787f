"""What a teacher's raw response says: the ledger keeps the response, the filter reads this.

A request that the teacher will never take (a content filter, an image that it cannot read) has an
answer too, so that it is not sent again. The ledger keeps it as

    {"error": {"code": "<the teacher's>", "message": "<the teacher's>"}, "choices": []}

and here it has no text and no tokens, `error` says "code: message", and `finish_reason` is
`content_filter` or, for what is not a matter of content, `unanswerable`.
"""

from dataclasses import dataclass
from typing import Any

from chainsight.config import Price
from chainsight.inventory.prices import cost_usd

MOST_TOKENS = 2**31
CONTENT_CODES = ("content_filter", "content_policy_violation", "image_content_policy_violation")
"""Of refusals by a filter in front of the model (OpenAI, Azure OpenAI)."""


def unanswerable(code: str, message: str) -> dict[str, Any]:
    """The ledger's response for a request that the teacher will never take."""
    return {"error": {"code": code, "message": message}, "choices": []}


@dataclass(frozen=True)
class Reply:
    """The text of a chat completion, how it ended, and the tokens that were billed."""

    text: str
    finish_reason: str
    refusal: str
    prompt_tokens: int
    completion_tokens: int
    error: str = ""
    """Why the teacher will never take the request; "" if it answered."""

    @classmethod
    def of(cls, response: dict[str, Any]) -> "Reply":
        """Read a response that has a message or an error; what is absent or odd is empty or 0.

        Never fails: the answer has been paid and stays in the ledger.
        """
        return cls.all(response)[0]

    @classmethod
    def all(cls, response: dict[str, Any]) -> "tuple[Reply, ...]":
        """As `of`, of every sample; each has the tokens of the whole response."""
        if not response["choices"]:
            return (cls._of_error(response["error"]),)
        choices = [one for one in response["choices"] if isinstance(one.get("message"), dict)]
        return tuple(cls._of_choice(choice, response) for choice in choices)

    @classmethod
    def _of_choice(cls, choice: dict[str, Any], response: dict[str, Any]) -> "Reply":
        message = choice["message"]
        usage = response.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        return cls(
            text=_text(message.get("content")),
            finish_reason=_text(choice.get("finish_reason")),
            refusal=_text(message.get("refusal")),
            prompt_tokens=_count(usage.get("prompt_tokens")),
            completion_tokens=_count(usage.get("completion_tokens")),
        )

    @classmethod
    def _of_error(cls, error: dict[str, Any]) -> "Reply":
        code, message = _text(error.get("code")), _text(error.get("message"))
        filtered = code in CONTENT_CODES
        return cls(
            text="",
            finish_reason="content_filter" if filtered else "unanswerable",
            refusal=message if filtered else "",
            prompt_tokens=0,
            completion_tokens=0,
            error=f"{code}: {message}",
        )

    def cost_usd(self, price: Price, *, batch: bool = False) -> float:
        """What this answer was billed; a batch's is cheaper."""
        return cost_usd(self.prompt_tokens, self.completion_tokens, price, batch=batch)


def _text(content: Any) -> str:
    """A string, or the list of parts that some servers send; half characters are replaced."""
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    text = "".join(text for text in texts if isinstance(text, str))
    return text.encode("utf-8", "replace").decode("utf-8")  # Parquet takes no lone surrogates


def _count(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < MOST_TOKENS else 0
