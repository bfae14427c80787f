"""What a teacher would cost, before it is asked."""

from collections.abc import Mapping
from typing import Any

from chainsight.config import Price
from chainsight.inventory.pricelist import listing
from chainsight.inventory.tally import IMAGE_MAX_SIDE, RATIONALE_WORDS, Tally, total
from chainsight.inventory.tokens import CHARACTERS_PER_TOKEN, TOKENS_PER_WORD

MILLION = 1_000_000
DOUBT = 0.25
"""Text tokens and the length of rationales may be so much lower or higher: a share (ours)."""
SHOWN = {
    "gpt-4o-2024-05-13": "gpt_4o_tokens",
    "gpt-4o-2024-08-06": "gpt_4o_tokens",
    "gpt-4o-mini-2024-07-18": "gpt_4o_mini_tokens",
}
"""Teachers of the page, the paper's first, and the sum of `Tally` that has their image tokens."""


def cost_usd(
    prompt_tokens: float, completion_tokens: float, price: Price, *, batch: bool = False
) -> float:
    """US dollars for so many tokens; by the Batch API they cost less."""
    whole = (prompt_tokens * price.prompt + completion_tokens * price.completion) / MILLION
    return whole * price.batch if batch else whole


def distillation(sources: Mapping[str, Tally]) -> dict[str, Any]:
    """What rationales for all questions would cost, by teacher; by source with the paper's."""
    everything = total(sources.values())
    return {
        "questions": everything.sums["asked"],
        "image_max_side": IMAGE_MAX_SIDE,
        "rationale_words": RATIONALE_WORDS,
        "teachers": [_estimate(teacher, everything) for teacher in SHOWN],
        "sources": {
            name: _estimate(next(iter(SHOWN)), tally)
            for name, tally in sorted(sources.items())
            if tally.sums["asked"]
        },
    }


def _estimate(teacher: str, tally: Tally) -> dict[str, Any]:
    """Low and high: image tokens are known, the rest is text."""
    known = listing(teacher)
    assert known is not None, teacher
    images = tally.sums[SHOWN[teacher]]
    text = tally.sums["asked_characters"] / CHARACTERS_PER_TOKEN
    written = tally.sums["asked"] * RATIONALE_WORDS * TOKENS_PER_WORD
    bounds = [1 - DOUBT, 1 + DOUBT]
    tokens_in = [round(images + text * bound) for bound in bounds]
    tokens_out = [round(written * bound) for bound in bounds]
    usd = [
        round(cost_usd(*both, known.price), 4) for both in zip(tokens_in, tokens_out, strict=True)
    ]
    return {
        "teacher": teacher,
        "usd_per_million": [known.price.prompt, known.price.completion],
        "price_seen": known.seen.isoformat(),
        "ends": known.ends and known.ends.isoformat(),
        "questions": tally.sums["asked"],
        "image_tokens": images,
        "tokens_in": tokens_in,
        "tokens_out": tokens_out,
        "usd": usd,
        "batch_usd": [round(cost * known.price.batch, 4) for cost in usd],
    }
