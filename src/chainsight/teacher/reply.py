"""What a teacher's raw response says: the ledger keeps the response, the filter reads this."""

from dataclasses import dataclass
from typing import Any

from chainsight.config import Price
from chainsight.teacher.cost import cost_usd


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
        """Read a response that has a message; what else is absent reads as empty or 0."""
        choice = response["choices"][0]
        message = choice["message"]
        usage = response.get("usage") or {}
        return cls(
            text=_text(message.get("content")),
            finish_reason=str(choice.get("finish_reason") or ""),
            refusal=str(message.get("refusal") or ""),
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            completion_tokens=int(usage.get("completion_tokens") or 0),
        )

    def cost_usd(self, price: Price) -> float:
        """What this answer was billed."""
        return cost_usd(self.prompt_tokens, self.completion_tokens, price)


def _text(content: Any) -> str:
    """Some servers send a list of parts in place of a string."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(str(part.get("text") or "") for part in parts if isinstance(part, dict))
