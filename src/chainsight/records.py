"""The rows that pass from stage to stage, and their Parquet form.

One file holds rows of one record type. Images are stored once, in `Example`; every derived
record names its example by id. Readers refuse a row with the file's name and the row's number.
"""

import json
import types
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from chainsight.errors import RecordError

Mode = Literal["direct", "cot"]
MODES: tuple[Mode, ...] = ("direct", "cot")
Status = Literal["marker", "fallback", "no_marker", "truncated", "empty"]
Kind = Literal["open", "chart", "document", "scene_text", "math", "ocr", "instruct"]
"""What a question is about, which decides how it is asked (`chainsight.prompts`). `instruct` is a
request with its answer to be learned word for word; it is never distilled, sampled or scored."""

ROWS_PER_GROUP = 256
GROUP_BYTES = 4 * 2**20
"""Image bytes of a row group, equal ones counted once: what one image costs to read alone."""

FILES: dict[str, Any] = {"files": True}
"""Metadata of a field that holds files. They are compressed already, and stored as they are."""


@dataclass(frozen=True)
class Example:
    """A visual question with its reference answers."""

    id: str
    dataset: str
    split: str
    question: str
    references: tuple[str, ...]
    metric: str
    images: Sequence[bytes] = field(default=(), metadata=FILES)
    """The image files as the source gave them (PNG, JPEG, ...), never re-encoded; none: a question
    about text. `<image k>` in the question or a choice stands for the k-th image, from 1; images
    that stand nowhere lead, in order."""
    choices: tuple[str, ...] | None = None
    meta: dict[str, str] = field(default_factory=dict)
    kind: Kind = "open"
    metric_params: dict[str, str] = field(default_factory=dict)
    """The row's own arguments of its metric (MathVista's answer type, OCRBench's source)."""
    reward: str = ""
    """Metric that decides whether an answer is right when rationales are kept and pairs are made;
    "": `metric`."""
    reward_threshold: float = 0.5
    """From this score on an answer is right, by the metric `reward`."""
    turns: tuple[str, ...] = ()
    """How a conversation of kind `instruct` goes on after its first answer: a request, its answer,
    and so on."""

    def __post_init__(self) -> None:
        assert not isinstance(self.images, bytes), "images are several files, not one"


@dataclass(frozen=True)
class Quarantined:
    """A source row that did not become an Example, with the reason."""

    id: str
    dataset: str
    split: str
    row: int
    reason: str
    """Equal for equal causes, so that they can be counted."""
    cause: Literal["fault", "leak", "duplicate"] = "fault"
    """A fault of the row; or it occurs in a benchmark; or the training data has it already."""
    detail: str = ""
    """Which other row it is like, how much."""


@dataclass(frozen=True)
class Rationale:
    """A teacher's chain of thought for an example; `answer` is what was extracted from `text`."""

    example_id: str
    text: str
    answer: str
    status: str
    teacher: str
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    reason: str = ""
    """Why the rationale was set aside; empty when it was kept."""
    detail: str = ""
    """What the teacher or its provider said instead of a rationale."""
    variant: int = 0
    """Which of the questions about the example it answers: 0 is the first, others are retries."""
    superseded: bool = False
    """Set aside, and asked again: a later answer of the same example stands for it. Of each example
    one row is not superseded."""
    batch: bool = False
    """Whether it came by the Batch API, at its price."""
    num_samples: int = 1
    """Rationales in the teacher's answer, of which this is one; the cost is that of all."""
    num_right: int = 0
    """How many of them end in the right answer."""
    num_words: int = 0
    """Words before the answer."""
    repetition: float = 0.0
    """Share of their four-word sequences that are repeats of earlier ones."""
    answer_first: bool = False
    """Whether they begin with the answer."""
    agreement: float | None = None
    """Share of their numbers that the chart's table bears out; none: no table, or no number."""


@dataclass(frozen=True)
class Candidate:
    """One sampled chain of thought. `score` is 1 if its answer is right by the example's reward."""

    example_id: str
    index: int
    text: str
    answer: str
    status: str
    score: float
    num_tokens: int
    logprob: float
    """Sum of the sampled tokens' log-probabilities, in nats, at temperature 1."""


@dataclass(frozen=True)
class Verified:
    """An answer to a benchmark question with its implicit reward, log(aligned / policy) in nats.

    Index -1 is the greedy answer, 0 and on are the sampled ones.
    """

    example_id: str
    index: int
    text: str
    answer: str
    status: str
    score: float
    """By the benchmark's metric, 0 to 1."""
    num_tokens: int
    logprob_aligned: float
    """Sum over the tokens, in nats, at temperature 1."""
    logprob_policy: float
    pieces: tuple[str, ...]
    """The text, token by token; end-of-turn is "". Together they are `text`, but for space at its
    ends."""
    rewards: tuple[float, ...]
    """Reward of each piece; their sum is `logprob_aligned - logprob_policy`."""
    vote: str = ""
    """The answer as it is counted when answers vote (`metrics.judging.vote`); "": it does not."""
    logprobs: tuple[float, ...] = ()
    """Log-probability of each piece under `aligned`; the policy's is that less the reward. None in
    files from when they were not kept."""


@dataclass(frozen=True)
class Pair:
    """A right (`chosen`) and a wrong (`rejected`) chain for one question.

    The indices name the candidates; -1 stands for the teacher's rationale.
    """

    example_id: str
    chosen: str
    rejected: str
    chosen_index: int
    rejected_index: int


@dataclass(frozen=True)
class Prediction:
    """A model's answer to a benchmark question."""

    model: str
    example_id: str
    mode: str
    prompt: str
    """The whole chat prompt as the model got it, with one placeholder a picture."""
    text: str
    answer: str
    status: str
    score: float
    num_tokens: int
    lenient: float = 0.0
    """The metric's lenient variant, at least `score`; equal to it where the metric has none."""
    question: str = ""
    """The user turn in `prompt`, for people; "" in files from when `prompt` was no more."""


@dataclass(frozen=True)
class Score:
    """A model's result on one benchmark in one mode; `value` and `standard_error` are 0 to 1."""

    model: str
    dataset: str
    mode: str
    metric: str
    value: float
    num_examples: int
    standard_error: float
    status_rates: dict[str, float]
    lenient: float = 0.0
    """Mean of the lenient variant, beside `value` and never in its place."""


Record = TypeVar("Record")


def _arrow_type(annotation: Any) -> pa.DataType:
    scalars = {
        str: pa.string(),
        int: pa.int64(),
        float: pa.float64(),
        bytes: pa.binary(),
        bool: pa.bool_(),
    }
    if annotation in scalars:
        return scalars[annotation]
    origin = get_origin(annotation)
    if origin is Literal:
        return pa.string()
    if origin in (types.UnionType, Union):
        return _arrow_type(next(a for a in get_args(annotation) if a is not type(None)))
    if origin in (tuple, Sequence):
        return pa.list_(_arrow_type(get_args(annotation)[0]))
    assert origin is dict, annotation
    return pa.string()  # JSON, keys sorted


def schema(record: type[Record]) -> pa.Schema:
    """The Parquet schema of a record type: tuples are lists, dictionaries are JSON text."""
    hints = get_type_hints(record)
    return pa.schema(
        [pa.field(f.name, _arrow_type(hints[f.name])) for f in fields(record)]  # type: ignore[arg-type]
    )


def _to_row(record: Any) -> dict[str, Any]:
    return {f.name: _cell(getattr(record, f.name)) for f in fields(record)}


def _cell(value: Any) -> Any:
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True)
    return (
        list(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else value
    )


def write(path: Path, rows: Iterable[Record], record: type[Record]) -> int:
    """Write `rows` to the Parquet file `path` and return their number.

    The bytes depend on the rows alone, so that equal rows give equal artifacts. Equal files of a
    row group are stored once.
    """
    with Writer(path, record) as writer:
        for row in rows:
            writer.add(row)
    return writer.count


class Writer:
    """A Parquet file that grows row by row; in memory is one row group. Bytes as by `write`."""

    def __init__(self, path: Path, record: type[Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._form, self._files = schema(record), _file_fields(record)
        self._file = pq.ParquetWriter(path, self._form, **_encoding(record))
        self._group: list[dict[str, Any]] = []
        self._seen: set[bytes] = set()
        self._size = self.count = 0

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._file:
            if kind is None and (self._group or not self.count):
                self._end_group()

    def add(self, one: Any) -> None:
        """Write a record."""
        row = _to_row(one)
        own = {file for name in self._files for file in row[name]}
        added = sum(map(len, own - self._seen))
        full = len(self._group) == ROWS_PER_GROUP or self._size + added > GROUP_BYTES
        if self._group and full:
            self._end_group()
            added = sum(map(len, own))
        self._group.append(row)
        self._seen |= own
        self._size += added
        self.count += 1

    def _end_group(self) -> None:
        self._file.write_table(pa.Table.from_pylist(self._group, schema=self._form))
        self._group, self._seen, self._size = [], set(), 0


def _encoding(record: type[Record]) -> dict[str, Any]:
    files = _file_fields(record)
    compression = {
        f"{one.name}.list.element" if pa.types.is_list(one.type) else one.name: (
            "none" if one.name in files else "zstd"
        )
        for one in schema(record)
    }
    # A dictionary that is full lets the rest of the group be stored plainly, repeats and all.
    return {"compression": compression, "dictionary_pagesize_limit": 2**30}


def _file_fields(record: type[Record]) -> list[str]:
    return [f.name for f in fields(record) if f.metadata == FILES]  # type: ignore[arg-type]


def read(path: Path, record: type[Record]) -> Iterator[Record]:
    """Yield the records of a Parquet file, in order.

    Raises:
        RecordError: the file is missing or unreadable, a column is missing, or a row has an
            empty or ill-typed field; the message names the file, the row and the field.
    """
    file = open_file(path)
    wanted, hints = columns(path, file, record), get_type_hints(record)
    number = 0
    with file:
        for batch in file.iter_batches(batch_size=ROWS_PER_GROUP, columns=wanted):
            for row in batch.to_pylist():
                yield from_row(path, number, row, record, hints)
                number += 1


def open_file(path: Path, **options: Any) -> pq.ParquetFile:
    """Open a Parquet file. Raises RecordError if it is missing or none."""
    try:
        return pq.ParquetFile(path, **options)
    except FileNotFoundError:
        raise RecordError(f"{path}: no such file; run the stage that writes it first") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise RecordError(f"{path}: not a readable Parquet file ({error})") from None


def columns(path: Path, file: pq.ParquetFile, record: type[Record]) -> list[str]:
    """The columns of a file that hold a record's fields. Raises RecordError if one is missing."""
    found = file.schema_arrow.names
    # A field that came later has a default: files from before it stay readable.
    wanted = [f.name for f in fields(record) if f.name in found or _required(f)]  # type: ignore[arg-type]
    missing = [name for name in wanted if name not in found]
    if missing:
        raise RecordError(
            f"{path}: no column {missing[0]!r} for {record.__name__}; found: {', '.join(found)}"
        )
    return wanted + [name for name in OLD_IMAGES if record is Example and name in found]


OLD_IMAGES = ("image", "more_images")
"""Columns of examples from when they had one image and further ones."""


def _required(one: Field[Any]) -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def from_row(
    path: Path, number: int, row: dict[str, Any], record: type[Record], hints: dict[str, Any]
) -> Record:
    """A stored row as a record. Raises as `read`."""
    if "image" in row:
        first, more = (row.pop(name, ()) for name in OLD_IMAGES)
        row = row | {"images": [first, *more]}
    return record(
        **{name: _value(path, number, name, value, hints[name]) for name, value in row.items()}
    )


def _value(path: Path, number: int, name: str, value: Any, hint: Any) -> Any:
    """A stored value as the field's own type."""
    if value is None:
        if type(None) in get_args(hint):
            return None
        raise RecordError(f"{path}: row {number}: field {name!r} is empty")
    if get_origin(hint) is dict:
        return _json_object(path, number, name, value)
    if isinstance(value, list):
        return tuple(value)
    if get_origin(hint) is Literal:
        hint = str
    if hint in (str, int, float, bytes, bool) and not isinstance(value, hint):
        got = type(value).__name__
        raise RecordError(f"{path}: row {number}: field {name!r} is {got}, not {hint.__name__}")
    return value


def _json_object(path: Path, number: int, name: str, value: str) -> dict[str, Any]:
    try:
        parsed = json.loads(value)
    except (json.JSONDecodeError, TypeError):
        parsed = None
    if not isinstance(parsed, dict):
        raise RecordError(f"{path}: row {number}: field {name!r} is not a JSON object")
    return parsed
