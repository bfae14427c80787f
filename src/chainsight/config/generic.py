"""A dataset of the user's own, described in the configuration instead of a file of code."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from chainsight.config.section import Rate, Section
from chainsight.records import Kind

MetricName = Literal[
    "anls",
    "aokvqa_direct",
    "exact_match",
    "mathvision",
    "mathvista",
    "mmmu_open",
    "multiple_choice",
    "normalized_match",
    "ocrbench",
    "relaxed_accuracy",
    "relaxed_accuracy_exact_years",
    "vqa_accuracy",
]
"""The names in `chainsight.metrics.METRICS` (a test compares)."""

OF_CHOICES = ("multiple_choice", "mathvision")
"""The metrics that take the letter of an option."""


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Name = Annotated[str, Field(pattern=r"^[^|]+$")]
Names = Annotated[tuple[Name, ...], BeforeValidator(_several)]
"""One column or several."""


class Columns(Section):
    """Which of the source's columns holds what."""

    question: Name = "question"
    """The question. `<image k>` in it stands for the k-th image, a bare `<image>` for the next."""
    answer: Name = "answer"
    """A text or a list of texts, any of which is right; with choices a letter, an option's text or
    its number from 0."""
    image: Names = ("image",)
    """One column or several, in order: the image file, the hub's `{bytes, path}`, a path below the
    source (or its folder `images`), or a list of these. None, if no row has an image."""
    choices: Names = ()
    """A column that lists the options, as a list or as its text, or one column an option; none:
    questions without."""
    id: Name | None = None
    """What names a row for good; none: its number."""
    meta: Names = ()
    """Columns to keep with each example."""

    def read(self) -> tuple[str, ...]:
        """All the columns that are read, each once."""
        found = (self.question, self.answer, *self.image, *self.choices, self.id, *self.meta)
        return tuple(dict.fromkeys(name for name in found if name is not None))


class GenericSource(Section):
    """A dataset without a file of its own; the place of its files is the entry's `source`."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,63}$")]
    """Its name in reports and in ids: lower case, digits, underscores."""
    metric: MetricName
    """How its answers are scored on a benchmark."""
    licence: Annotated[str, Field(min_length=1)]
    """As the model card shall print it."""
    columns: Columns = Columns()
    """Which column holds what."""
    kind: Kind = "open"
    """How its questions are asked (`chainsight.prompts`)."""
    needs_image: bool = True
    """Whether a row without an image is bad; if not, it is a question about text alone."""
    reward: MetricName | None = None
    """Metric that decides whether an answer is right, for rationales and pairs; none: `metric`."""
    reward_threshold: Rate = 0.5
    """From this score on, by `reward`, an answer is right."""
    files: tuple[str, ...] | None = None
    """Globs of its Parquet or JSON lines, the first with any counts; `{split}` is the entry's
    split. None: `{split}-*.parquet`, at the top or in `data`, or `{split}.parquet`."""
    url: str = ""
    """Where people find it."""
    licence_note: str = ""
    """What else whoever passes on the data, or a model trained on it, must know; a sentence."""
    non_commercial: bool = False
    """Whether its licence forbids commercial use."""
    copyleft: bool = False
    """Whether its licence binds works derived from it (GPL, share-alike)."""
    trains: bool = True
    """Whether its terms let models be trained on it."""

    @model_validator(mode="after")
    def _has_images(self) -> "GenericSource":
        if self.needs_image and not self.columns.image:
            raise ValueError("columns.image names no column; name one, or set needs_image: false")
        return self

    @model_validator(mode="after")
    def _judges_letters(self) -> "GenericSource":
        for key, metric in (("metric", self.metric), ("reward", self.reward or self.metric)):
            if self.columns.choices and metric not in OF_CHOICES:
                raise ValueError(
                    f"{key} {metric!r} does not judge letters; with choices, it is one of "
                    f"{', '.join(OF_CHOICES)}"
                )
            if metric == "multiple_choice" and not self.columns.choices:
                raise ValueError(f"{key} multiple_choice needs columns.choices")
        return self
