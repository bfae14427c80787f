"""What the open questions of a run will cost, and how long they will take."""

import math
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from chainsight.config import DistillSection, Price
from chainsight.inventory import prices
from chainsight.inventory.pricelist import listed
from chainsight.teacher.cost import known_price, source_of
from chainsight.teacher.sizing import Size, Span
from chainsight.teacher.survey import Survey
from chainsight.teacher.tiers import Limits, limits_of

ANSWER_SECONDS = 5.0
"""From a request to its answer, before one came (ours)."""
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Pace:
    """How long it takes under some limits, in hours; batches in days, at most."""

    limits: str
    hours: float
    bound: str
    """What holds it up: requests or tokens per minute, or the time of an answer."""
    waves: int
    """Batches that wait for each other, as only so many tokens may be queued: a day each."""


@dataclass(frozen=True)
class Allowance:
    """What `distill.budget_usd` is enough for."""

    limit_usd: float
    verdict: str
    """`enough`, `tight` (unless it costs more than is likely) or `short`."""
    num_questions: int
    """Questions that are likely asked before it stops."""


@dataclass(frozen=True)
class Estimate:
    """Of the questions that are still to be asked, once each."""

    teacher: str
    mode: str
    num_open: int
    num_answered: int
    num_repeated: int
    num_unsent: int
    datasets: dict[str, int]
    """Questions to ask."""
    spent_usd: float | None
    """On the questions that are answered."""
    num_learned: int
    """Answers that the prediction goes by; 0: it goes by defaults."""
    images_known: bool
    """Whether the rule is known by which the teacher counts images."""
    image_tokens: Span
    text_tokens: Span
    completion_tokens: Span
    price: Price | None
    price_source: str
    """Who says so, and when."""
    ends: date | None
    """When OpenAI shuts the model down, or did; none: not announced, or not OpenAI's."""
    sync_usd: Span | None
    """None: nobody knows what the teacher charges."""
    batch_usd: Span | None
    most_usd: float | None
    """In the configured mode, if all answers are as long as allowed and all retries are needed."""
    retries: int
    num_files: int
    """Of the Batch API."""
    paces: tuple[Pace, ...]
    budget: Allowance | None

    @property
    def usd(self) -> Span | None:
        """In the configured mode."""
        return self.batch_usd if self.mode == "batch" else self.sync_usd

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        said = {
            "price": self.price and self.price.model_dump(),
            "ends": self.ends and str(self.ends),
        }
        return asdict(self) | said

    def metrics(self) -> dict[str, float]:
        """What was expected of the whole set, the answered questions included."""
        if self.usd is None or self.spent_usd is None:
            return {}
        return {"estimated_usd": self.spent_usd + self.usd.likely}

    def line(self) -> str:
        """What is said of it before money is spent."""
        if self.usd is None:
            return f"{self.num_open:,} questions to ask, at a price that is not known"
        span = f"${self.usd.likely:,.2f} (${self.usd.low:,.2f} to ${self.usd.high:,.2f})"
        told = f"{self.num_open:,} questions to ask, about {span}"
        if not self.num_learned:
            told += ", a guess before the first answers"
        if self.num_answered:
            told += f"; {self.num_answered:,} are answered, for ${self.spent_usd:,.2f}"
        return told


def estimate(config: DistillSection, survey: Survey, seconds: float = ANSWER_SECONDS) -> Estimate:
    """What `survey` found, in tokens, money and time; an answer takes `seconds`."""
    sizer, price = survey.sizer, known_price(config)
    images = sizer.images() * survey.image_tokens
    text = sizer.text() * survey.text_tokens
    written = sizer.answer() * survey.num_open
    sync = _cost(images + text, written, price) if price else None
    batch = sync * price.batch if sync and price else None
    most = _most(config, survey, price) if price else None
    chosen = batch if config.mode == "batch" else sync
    return Estimate(
        teacher=config.teacher_model,
        mode=config.mode,
        num_open=survey.num_open,
        num_answered=survey.num_answered,
        num_repeated=survey.num_repeated,
        num_unsent=survey.num_unsent,
        datasets=dict(survey.datasets),
        spent_usd=survey.spent_usd if price else None,
        num_learned=sizer.num_answers if sizer.trusted else 0,
        images_known=sizer.knows_images,
        image_tokens=images,
        text_tokens=text,
        completion_tokens=written,
        price=price,
        price_source=source_of(config),
        ends=_end(config),
        sync_usd=sync,
        batch_usd=batch,
        most_usd=most,
        retries=config.retries,
        num_files=_files(config, survey),
        paces=tuple(
            _pace(config, one, survey.num_open, images + text, written, seconds)
            for one in limits_of(config)
        ),
        budget=_budget(config, survey, chosen),
    )


def _end(config: DistillSection) -> date | None:
    known = listed(config) if config.teacher == "openai" else None
    return known.ends if known else None


def _cost(prompt: Span, completion: Span, price: Price) -> Span:
    pairs = zip(
        (prompt.low, prompt.likely, prompt.high),
        (completion.low, completion.likely, completion.high),
        strict=True,
    )
    return Span(*(prices.cost_usd(*pair, price) for pair in pairs))


def _most(config: DistillSection, survey: Survey, price: Price) -> float:
    """An answer to a retry is as long; what it is asked is the same."""
    all_of_them = survey.sizer.most(Size(survey.image_tokens, survey.text_tokens, 0))
    longest = config.max_tokens * config.samples * survey.num_open
    by_batch = config.mode == "batch"
    cost = prices.cost_usd(all_of_them.prompt_tokens, longest, price, batch=by_batch)
    return cost * (1 + config.retries)


def _files(config: DistillSection, survey: Survey) -> int:
    """By requests and by bytes, whichever cuts more."""
    size = survey.num_open * survey.body_bytes / MEGABYTE
    return max(
        math.ceil(survey.num_open / config.batch.max_requests),
        math.ceil(size / config.batch.max_mb),
    )


def _pace(
    config: DistillSection, limits: Limits, asked: int, prompt: Span, written: Span, seconds: float
) -> Pace:
    tokens = prompt.likely + written.likely
    held_up = {
        "the time of an answer": asked * seconds / config.concurrency / 60,
        "requests per minute": asked / (limits.requests_per_minute or math.inf),
        "tokens per minute": tokens / (limits.tokens_per_minute or math.inf),
    }
    bound = max(held_up, key=lambda name: held_up[name])
    waves = math.ceil(prompt.likely / (limits.queued_tokens or math.inf)) if asked else 0
    return Pace(limits.name, held_up[bound] / 60, bound, max(waves, min(1, asked)))


def _budget(config: DistillSection, survey: Survey, usd: Span | None) -> Allowance | None:
    limit = config.budget_usd
    if limit is None or usd is None:
        return None
    left = limit - survey.spent_usd
    verdict = "enough" if usd.high <= max(0.0, left) else "tight" if usd.likely <= left else "short"
    share = 1.0 if verdict != "short" else max(0.0, left / usd.likely)
    return Allowance(limit, verdict, math.floor(survey.num_open * share))
