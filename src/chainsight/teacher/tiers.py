"""What OpenAI lets accounts ask: to be read before one's own limits are known.

Source: OpenAI's guide on rate limits as of mid-2024, kept in its cookbook
(`examples/data/oai_docs/tier-*.txt`), for gpt-4o. Limits differ by account and have changed since:
the answers' headers tell the true ones.
"""

from dataclasses import dataclass

from chainsight.config import DistillSection, Place


@dataclass(frozen=True)
class Limits:
    """What an account may ask of one model; None: not limited, or not known."""

    name: str
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    queued_tokens: int | None = None
    """Of prompts, in unfinished batches."""


TIERS = (
    Limits("tier 1", 500, 30_000, 90_000),
    Limits("tier 2", 5_000, 450_000, 1_350_000),
    Limits("tier 3", 5_000, 600_000, 40_000_000),
    Limits("tier 4", 10_000, 800_000, 80_000_000),
    Limits("tier 5", 10_000, 12_000_000, 1_800_000_000),
)
TIERS_OF = "2024"


def limits_of(config: DistillSection) -> tuple[Limits, ...]:
    """The configuration's own limits; where it has none, OpenAI's tiers for OpenAI's teachers."""
    places: tuple[DistillSection | Place, ...] = (config, *config.also)
    requests = [place.requests_per_minute for place in places]
    tokens = [place.tokens_per_minute for place in places]
    if any(requests) or any(tokens):
        return (Limits("yours", _sum(requests), _sum(tokens), config.batch.queued_tokens),)
    return TIERS if config.teacher == "openai" else (Limits("no limits"),)


def _sum(limits: list[int | None]) -> int | None:
    """What all places allow together; None as soon as one of them is not limited."""
    known = [limit for limit in limits if limit]
    return sum(known) if len(known) == len(limits) else None
