"""Bars: generated bar charts with questions that need a look and a computation.

Ours, no licence attached; `chainsight.demo.bars` draws them, without files and for ever.
Sample: "What is the sum of feb and mar?" -> "9"; four questions a chart, four rows. Exact match.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chainsight.datasets.base import Dataset, Row
from chainsight.demo import bars
from chainsight.errors import ConfigError

SEED = 0
"""All of a split's charts follow from it; another seed would be another dataset."""

DEFAULT_ROWS = 1000
"""Rows without a `limit`, as the generator itself does not end."""


class _Bars(Dataset):
    """A dataset whose rows are drawn, not read."""

    def rows(
        self, split: str, source: str | None, revision: str | None, limit: int | None
    ) -> Iterator[Row]:
        self._require_no_source(source, revision)
        left = self.num_rows(split, source, limit)
        for chart in bars.charts(SEED, split):
            for question in chart.questions[:left]:
                yield {"image": chart.image, "question": question}
            left -= len(chart.questions)
            if left <= 0:
                return

    def num_rows(
        self,
        split: str,
        source: str | None = None,
        limit: int | None = None,
        *,
        revision: str | None = None,
    ) -> int:
        self.require_split(split)
        self._require_no_source(source, revision)
        return DEFAULT_ROWS if limit is None else limit

    def fingerprint(
        self, split: str, source: str | None = None, *, revision: str | None = None
    ) -> str:
        """The generator's own text: whoever changes it makes another dataset."""
        self.require_split(split)
        self._require_no_source(source, revision)
        return hashlib.sha256(Path(bars.__file__).read_bytes() + f"{SEED}".encode()).hexdigest()

    def _require_no_source(self, source: str | None, revision: str | None) -> None:
        if source or revision:
            raise ConfigError(
                f"bars is generated: leave out source and revision (found {source or revision!r})"
            )


def _convert(row: Row) -> dict[str, Any]:
    question: bars.ChartQuestion = row["question"]
    return {
        "question": question.text,
        "references": (question.answer,),
        "image": row["image"],
        "meta": {"kind": question.kind},
    }


BARS = _Bars(
    name="bars",
    url="chainsight.demo.bars",
    licence="none attached",
    splits=tuple(bars.SPLITS),
    metric="exact_match",
    columns=(),
    convert=_convert,
)
