"""What a teacher's raw response says: the ledger keeps the response, the filter reads this."""

from dataclasses import dataclass
from typing import Any

from chainsight.config import Price
from chainsight.inventory.prices import cost_usd

MOST_TOKENS = 2**31


@dataclass(frozen=True)
class Reply:
    """The text of a chat completion, how it ended, and the tokens that were billed."""

    text: str
    finish_reason: str
    refusal: str
    prompt_tokens: int
    completion_tokens: int

    @classmethod
    def of(cls, response: dict[str, Any]) -> "Reply":
        """Read a response that has a message; what else is absent or odd reads as empty or 0.

        Never fails: the answer has been paid and stays in the ledger.
        """
        return cls.all(response)[0]

    @classmethod
    def all(cls, response: dict[str, Any]) -> "tuple[Reply, ...]":
        """As `of`, of every sample; each has the tokens of the whole response."""
        choices = [one for one in response["choices"] if isinstance(one.get("message"), dict)]
        return tuple(cls._of(choice, response) for choice in choices)

    @classmethod
    def _of(cls, choice: dict[str, Any], response: dict[str, Any]) -> "Reply":
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

    def cost_usd(self, price: Price, *, batch: bool = False) -> float:
        """What this answer was billed; a batch's is cheaper."""
        whole = cost_usd(self.prompt_tokens, self.completion_tokens, price)
        return whole * price.batch if batch else whole


def _text(content: Any) -> str:
    """A string, or the list of parts that some servers send; half characters are replaced."""
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    text = "".join(text for text in texts if isinstance(text, str))
    return text.encode("utf-8", "replace").decode("utf-8")  # Parquet takes no lone surrogates


def _count(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < MOST_TOKENS else 0
