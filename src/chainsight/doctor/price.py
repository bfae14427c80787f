"""What the teacher charges: who says so, when that was, and whether OpenAI still serves it."""

from datetime import UTC, date, datetime

from chainsight.config import DistillSection
from chainsight.doctor.check import Check, Checks, fail, ok, warn
from chainsight.inventory.pricelist import listed
from chainsight.teacher.cost import known_price, source_of

OLD_DAYS = 365
"""A price that was seen longer ago may have changed (ours)."""


def price(config: DistillSection, today: date | None = None) -> Checks:
    """Of a teacher that somebody asks."""
    if config.teacher in ("scripted", "published"):
        return
    today = today or datetime.now(UTC).date()
    yield _price(config, today)
    known = listed(config)
    if config.teacher == "openai" and known and known.ends and known.ends <= today:
        yield warn(
            "model",
            f"OpenAI has shut {config.teacher_model} down on {known.ends}",
            "choose another distill.teacher_model, or a place in distill.teacher that serves it",
        )


def _price(config: DistillSection, today: date) -> Check:
    charged, known = known_price(config), listed(config)
    if charged is None:
        return _unknown(config)
    told = f"${charged.prompt:g} in, ${charged.completion:g} out a million tokens"
    told += f" ({source_of(config)})"
    if config.price is None and known and (today - known.seen).days > OLD_DAYS:
        way_out = "look it up, and set distill.price"
        return warn("price", f"{told}: more than a year old, it may have changed", way_out)
    return ok("price", told)


def _unknown(config: DistillSection) -> Check:
    finding = f"what {config.teacher_model!r} charges is not known"
    way_out = "set distill.price: prompt and completion, 0 and 0 for a server of your own"
    if config.budget_usd is None:
        return ok("price", f"{finding}, so neither is the cost; to see it, {way_out}")
    return fail("price", f"{finding}, so distill.budget_usd cannot be kept", way_out)
