"""The section of distill: who is asked, how fast, for how much, and what is kept."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from chainsight.config.section import UNTOLD, Count, NonNegative, Positive, Rate, Section

TEACHERS = ("openai", "scripted", "published")
"""Teachers that are no address."""
REASONING = ("o1", "o3", "o4", "gpt-5")
"""How the names of OpenAI's reasoning models begin (2026-11)."""
Teacher = Annotated[str, Field(min_length=1)]


def _no_key(name: str) -> str:
    """Refuse a key where its variable's name is to be, and do not repeat it."""
    if name.startswith("sk-"):
        raise PydanticCustomError(
            UNTOLD,
            "that is a key, and a configuration is stored and logged; put the key into an "
            "environment variable, and that variable's name here",
        )
    return name


Variable = Annotated[str, AfterValidator(_no_key)]


class Price(Section):
    """What a teacher charges, in US dollars per million tokens."""

    prompt: NonNegative
    """Input tokens."""
    completion: NonNegative
    """Output tokens."""
    batch: Rate = 0.5
    """What an answer of the Batch API costs, as a share of the same answer at once."""


class Place(Section):
    """One more place where the same teacher answers: another account, region or server."""

    teacher: Teacher
    """`openai` or a base URL."""
    teacher_model: str | None = None
    """The teacher's name there (at Azure: the deployment); none: `distill.teacher_model`."""
    api_key_env: Variable | None = None
    """Environment variable that holds the key for it; none: the teacher's key where the host is the
    teacher's, else no key."""
    api_key_file: str | None = None
    """File that holds the key, before the variable."""
    api_version: str | None = None
    """As `distill.api_version`."""
    requests_per_minute: Count | None = None
    """As `distill.requests_per_minute`."""
    tokens_per_minute: Count | None = None
    """As `distill.tokens_per_minute`."""


class Batch(Section):
    """How questions are cut into files of the Batch API."""

    max_requests: Annotated[int, Field(ge=1, le=50_000)] = 50_000
    """Requests in a file (the API's limit)."""
    max_mb: Annotated[float, Field(gt=0.0, le=512.0)] = 95.0
    """Size of a file in MB of 10^6 bytes, images included (OpenAI allowed 100 in 2024)."""
    queued_tokens: Count | None = None
    """Tokens that may wait in unfinished batches (tiers of 2024: 90,000 to 80 million); none: as
    many as the API takes, and what it refuses waits."""
    poll_seconds: Positive = 30.0
    """Time between two looks at the unfinished batches."""
    max_rounds: Annotated[int, Field(ge=1, le=20)] = 4
    """Batches that a question may be in before it counts as failed: expired ones are repeated."""


class Filter(Section):
    """What else is asked of a rationale than the right answer; the paper asked for nothing else."""

    min_words: Annotated[int, Field(ge=0)] = 0
    """Words before the answer, at least."""
    max_words: Count | None = None
    """Words before the answer, at most."""
    max_repetition: Rate = 1.0
    """Share of its four-word sequences that may be repeats of earlier ones."""
    answer_first: Literal["keep", "drop"] = "keep"
    """What becomes of a rationale that begins with the answer, which the prompt forbids."""
    min_agreement: Rate = 0.0
    """Share of its numbers that must be in the chart's table, for questions that bring one."""


class DistillSection(Section):
    """Examples to the teacher's rationales."""

    teacher: Teacher = "openai"
    """`openai`, `scripted` (the stand-in, started for the stage), `published` (the rationales that
    the examples bring along; nobody is asked) or a base URL that ends in /v1."""
    teacher_model: str = "gpt-4o-2024-05-13"
    """The teacher's name at its endpoint (the paper used this one)."""
    api_key_env: Variable = "OPENAI_API_KEY"
    """Environment variable that holds the key (in a pod: entry of the teacher's secret); the key
    itself is never stored."""
    api_key_file: str | None = None
    """File that holds the key, before the variable; read anew for each request."""
    api_version: str | None = None
    """Azure OpenAI's dated API (`2024-10-21`): `teacher` is then the resource's URL, and
    `teacher_model` the deployment. None: OpenAI's own protocol."""
    also: tuple[Place, ...] = ()
    """Further places where the same teacher answers; their limits add up."""
    mode: Literal["sync", "batch"] = "sync"
    """Ask one by one, or by the Batch API: half the price, within a day."""
    concurrency: Annotated[int, Field(ge=1, le=2048)] = 128
    """Requests in flight at most; how many there are is learned. A killed run pays at most this
    many answers twice."""
    requests_per_minute: Count | None = None
    """The account's limit; none: learned from the answers' headers."""
    tokens_per_minute: Count | None = None
    """The account's limit; none: learned from the answers' headers."""
    batch: Batch = Batch()
    """For mode `batch`."""
    max_tokens: Annotated[int, Field(ge=16, le=16384)] = 1024
    """Longest answer, in tokens (ours; not published)."""
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = 0.0
    """Sampling temperature of the teacher (ours; not published)."""
    reasoning: bool | None = None
    """Whether the teacher reasons before it answers, as o3 and gpt-5 do: it is then sent
    `max_completion_tokens`, which pay for its thoughts too, and no temperature, as it refuses the
    others. None: by its name."""
    timeout_seconds: Positive = 120.0
    """A request without an answer for this long is tried again."""
    max_retries: Annotated[int, Field(ge=0, le=20)] = 6
    """Tries after the first on 429, 5xx, time-outs and broken connections."""
    image_max_side: Count = 1024
    """Longest side sent, in pixels, Lanczos, JPEG (paper, distillation)."""
    image_detail: Literal["auto", "low", "high"] = "auto"
    """How closely OpenAI's models look (`detail`): `auto` is left unsaid and counted as `high`."""
    price: Price | None = None
    """For the cost of each row; none: that of `teacher_model` in the table of known prices."""
    budget_usd: Positive | None = None
    """A ceiling: no request is sent that could pass it, no batch that is likely to; none: no
    limit."""
    max_failed_rate: Rate = 0.05
    """Fail when a larger share of questions got no answer at all."""
    samples: Annotated[int, Field(ge=1, le=16)] = 1
    """Rationales asked for at once; of several, one is kept if most of them end in the right
    answer (paper: 1). Needs a temperature above 0."""
    retries: Annotated[int, Field(ge=0, le=8)] = 0
    """Further questions after a rationale that is set aside (paper: none)."""
    retry_temperature: Annotated[float, Field(ge=0.0, le=2.0)] = 0.7
    """Sampling temperature of those (ours)."""
    filter: Filter = Filter()
    """Further conditions."""
    scripted_error_rate: Rate = 0.1
    """Share of wrong rationales of the scripted teacher, so that the filter has work."""

    @property
    def reasons(self) -> bool:
        """Whether the teacher reasons before it answers: said, or by its name."""
        named = self.teacher_model.startswith(REASONING)
        return named if self.reasoning is None else self.reasoning

    @model_validator(mode="after")
    def _known_teacher(self) -> "DistillSection":
        for teacher in (self.teacher, *(place.teacher for place in self.also)):
            if teacher not in TEACHERS and not teacher.startswith(("http://", "https://")):
                raise ValueError(
                    f"teacher is {teacher!r}; write openai, scripted, published or a base URL "
                    "(http...)"
                )
        return self

    @model_validator(mode="after")
    def _samples_differ(self) -> "DistillSection":
        if self.samples > 1 and not self.temperature:
            raise ValueError("samples above 1 are all the same at temperature 0; raise it")
        return self
