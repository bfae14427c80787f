"""What a dataset is: where its rows come from and how one of them becomes an Example."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from chainsight.datasets import sources
from chainsight.errors import ConfigError, RecordError
from chainsight.records import Example, Quarantined

MAX_CHARACTERS = 20_000
"""Longest question, answer or option: ten times what a 6,144-token prompt could hold."""

Row = Mapping[str, Any]


class BadRowError(RecordError):
    """A source row cannot become an Example; the message is the reason, equal for equal faults."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset on the hub, or the same Parquet files elsewhere."""

    name: str
    url: str
    licence: str
    splits: tuple[str, ...]
    metric: str
    """The metric of its answers, in `chainsight.metrics.METRICS`."""
    columns: tuple[str, ...]
    """The columns that are read; others are ignored."""
    convert: Callable[[Row], dict[str, Any]] = field(repr=False)
    """A row to the fields of its Example, raising BadRowError. `id` may be left out."""
    licence_note: str = ""
    """What else whoever passes on the data, or a model trained on it, must know; a sentence."""
    hub_id: str = ""
    revision: str | None = None
    """The hub commit that is read; None where none could be pinned."""

    def load(
        self,
        split: str,
        source: str | None = None,
        limit: int | None = None,
        *,
        revision: str | None = None,
    ) -> Iterator[Example]:
        """Yield the split's examples in order, their images not yet decoded.

        `source` is a hub id (None: `hub_id`), a local folder or an `s3://` prefix of Parquet.

        Raises:
            ConfigError: there is no such split, folder or column.
            RecordError: a row is bad; `scan` yields such rows with their reason instead.
        """
        for row in self.scan(split, source, limit, revision=revision):
            if isinstance(row, Quarantined):
                raise RecordError(f"{row.id}: {row.reason}; the prepare stage sets such rows aside")
            yield row

    def scan(
        self,
        split: str,
        source: str | None = None,
        limit: int | None = None,
        *,
        revision: str | None = None,
    ) -> Iterator[Example | Quarantined]:
        """Yield the first `limit` rows in order, bad ones with the reason. Raises ConfigError."""
        self.require_split(split)
        rows = self.rows(split, source, revision, limit)
        for number, row in enumerate(islice(rows, limit)):
            yield self._example(row, number, split)

    def rows(
        self, split: str, source: str | None, revision: str | None, limit: int | None
    ) -> Iterator[Row]:
        """The source's rows; at least `limit` of them if there are as many."""
        del limit
        yield from sources.read_rows(self._files(split, source, revision), self.columns)

    def num_rows(
        self,
        split: str,
        source: str | None = None,
        limit: int | None = None,
        *,
        revision: str | None = None,
    ) -> int:
        """How many rows `scan` will yield, from the files' footers."""
        self.require_split(split)
        total = sources.num_rows(self._files(split, source, revision))
        return total if limit is None else min(total, limit)

    def fingerprint(
        self, split: str, source: str | None = None, *, revision: str | None = None
    ) -> str:
        """What decides the rows: the files' names and sha256, or the hub id and revision."""
        self.require_split(split)
        if source is None or sources.is_hub_id(source):
            return f"{source or self.hub_id}@{revision or self._pinned(source) or 'main'}/{split}"
        return sources.digest(self._files(split, source, revision))

    def require_split(self, split: str) -> None:
        """Raise ConfigError if the dataset has no such split."""
        if split not in self.splits:
            raise ConfigError(
                f"dataset {self.name!r} has no split {split!r}; it has {', '.join(self.splits)}"
            )

    def _files(self, split: str, source: str | None, revision: str | None) -> sources.Files:
        pinned = revision or self._pinned(source)
        return sources.find(source or self.hub_id, split, pinned)

    def _pinned(self, source: str | None) -> str | None:
        return self.revision if source in (None, self.hub_id) else None

    def _example(self, row: Row, number: int, split: str) -> Example | Quarantined:
        example_id = f"{self.name}/{split}/{number}"
        try:
            fields = self.convert(row)
            example_id = f"{self.name}/{split}/{fields.pop('id', number)}"
            return Example(
                id=example_id, dataset=self.name, split=split, metric=self.metric, **fields
            )
        except BadRowError as error:
            reason = str(error)
        except UnicodeDecodeError:
            reason = "text is not valid UTF-8"
        return Quarantined(example_id, self.name, split, number, reason)


# --- cells -----------------------------------------------------------------------------------


def text(row: Row, column: str, missing: str) -> str:
    """A cell as text without surrounding space; `missing` is the reason if it is empty."""
    value = row[column]
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        raise BadRowError(f"{column} is {type(value).__name__}, not text")
    stripped = "" if value is None else str(value).strip()
    if not stripped:
        raise BadRowError(missing)
    if len(stripped) > MAX_CHARACTERS:
        raise BadRowError(f"{column} is longer than {MAX_CHARACTERS:,} characters")
    return stripped


def texts(row: Row, column: str, missing: str) -> tuple[str, ...]:
    """A cell that holds a list of texts, or one text; blank ones are left out."""
    value = row[column]
    cells = value if isinstance(value, list) else [value]
    given = [cell for cell in cells if cell is not None and str(cell).strip()]
    found = tuple(text({column: cell}, column, missing) for cell in given)
    if not found:
        raise BadRowError(missing)
    return found


def image(row: Row, column: str) -> bytes:
    """The image file in a cell: `{bytes, path}` as the hub stores it, or the bytes themselves."""
    value = row[column]
    content = value.get("bytes") if isinstance(value, Mapping) else value
    if content is None:
        raise BadRowError("no image")
    if not isinstance(content, bytes):
        raise BadRowError(f"{column} is {type(content).__name__}, not an image file")
    return content
