"""What is known of teachers: what they charge, how they count images, and when they end.

Each price is as its source stated it at that date, for answers at once; a batch's are half of it.
OpenAI's pages were read as others cited them; the ends are from its page of deprecations, as cited
in October 2026. `distill.price` overrides the list.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from chainsight.config import DistillSection, Price
from chainsight.inventory import tokens

Rule = Callable[[int, int], int]
"""Tokens of an image of this width and height, as it is sent."""


@dataclass(frozen=True)
class Listing:
    """A teacher that charges, in US dollars per million tokens."""

    model: str
    """Its name without the date, where all its snapshots cost the same."""
    price: Price
    seen: date
    """When the source said so."""
    source: str
    images: tokens.Tiles | tokens.Patches | None = None
    """How it counts them; None: no rule of its maker was found."""
    ends: date | None = None
    """When OpenAI shuts it down, or did."""


def _usd(prompt: float, completion: float) -> Price:
    return Price(prompt=prompt, completion=completion)


PRICING = "OpenAI's pricing page"
OF_2024, MAY_2026, JUNE_2026 = date(2024, 10, 1), date(2026, 5, 4), date(2026, 6, 21)
MARCH_2026, OCTOBER_2026 = date(2026, 3, 21), date(2026, 10, 27)
AUTUMN, DECEMBER, JANUARY = date(2026, 10, 23), date(2026, 12, 11), date(2027, 1, 14)
LISTINGS = (
    Listing("gpt-4o-2024-05-13", _usd(5, 15), OF_2024, PRICING, tokens.gpt_4o, AUTUMN),
    Listing("gpt-4o", _usd(2.5, 10), MAY_2026, PRICING, tokens.gpt_4o, JANUARY),
    Listing("gpt-4o-mini", _usd(0.15, 0.6), MAY_2026, PRICING, tokens.gpt_4o_mini, JANUARY),
    Listing("gpt-4.1", _usd(2, 8), JUNE_2026, PRICING, tokens.gpt_4o, JANUARY),
    Listing("gpt-4.1-mini", _usd(0.4, 1.6), JUNE_2026, PRICING, tokens.Patches(1.62), JANUARY),
    Listing("gpt-4.1-nano", _usd(0.1, 0.4), MARCH_2026, PRICING, tokens.Patches(2.46), AUTUMN),
    Listing("o3", _usd(2, 8), MARCH_2026, PRICING, tokens.Tiles(75, 150), DECEMBER),
    Listing("o4-mini", _usd(1.1, 4.4), MARCH_2026, PRICING, tokens.Patches(1.72), AUTUMN),
    Listing("gpt-5", _usd(1.25, 10), MARCH_2026, PRICING, tokens.Tiles(70, 140), DECEMBER),
    Listing("gpt-5-mini", _usd(0.25, 2), MARCH_2026, PRICING, tokens.Patches(1.62), DECEMBER),
    Listing("gpt-5-nano", _usd(0.05, 0.4), MARCH_2026, PRICING, tokens.Patches(2.46), DECEMBER),
    Listing("gpt-5.4", _usd(2.5, 15), MAY_2026, PRICING),
    Listing("gpt-5.4-mini", _usd(0.75, 4.5), MAY_2026, PRICING),
    Listing("gpt-6-luna", _usd(0.1, 0.5), OCTOBER_2026, "OpenAI's page of the model"),
    Listing("gpt-6.1-sol", _usd(2, 10), OCTOBER_2026, "resellers at OpenAI's rate"),
    Listing("gpt-6.1-terra", _usd(1, 5), OCTOBER_2026, "resellers at OpenAI's rate"),
)
"""The first is the paper's teacher."""
OPEN: dict[str, Rule] = {
    "qwen2.5-vl": tokens.qwen2_5_vl,
    "llava-v1.6": tokens.llava_next,
    "llava-next": tokens.llava_next,
}
"""Models that one serves oneself, by a part of their name: how they count images."""


def listing(model: str) -> Listing | None:
    """What is known of a model: of this snapshot, else of all of them."""
    known = {one.model: one for one in LISTINGS}
    return known.get(model) or known.get(re.sub(r"-\d{4}-\d{2}-\d{2}$", "", model))


def listed(config: DistillSection) -> Listing | None:
    """What is known of the teacher; the scripted one is reckoned as the paper's."""
    return LISTINGS[0] if config.teacher == "scripted" else listing(config.teacher_model)


def image_rule(config: DistillSection) -> Rule | None:
    """How the teacher counts images; None: not known, to be learned from its answers."""
    if (known := listed(config)) and (images := known.images):
        low = config.image_detail == "low"
        return lambda width, height: images(width, height, low=low)
    name = config.teacher_model.lower()
    return next((rule for part, rule in OPEN.items() if part in name), None)
