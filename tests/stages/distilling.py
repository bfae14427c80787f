"""A workplace for distill: examples go in, rationales come out, the ledger stays."""

import itertools
from pathlib import Path
from typing import Any

from chainsight import records
from chainsight.config import DistillSection
from chainsight.context import Context
from chainsight.demo import bars
from chainsight.records import Example, Rationale
from chainsight.stages import distill
from chainsight.teacher.estimate import Estimate


def charts(number: int) -> list[Example]:
    """Different questions about bar charts."""
    found = {
        (chart.image, question.text): Example(
            f"bars/train/{i}-{j}", "bars", "train", question.text, (question.answer,),
            "exact_match", (chart.image,),
        )
        for i, chart in enumerate(itertools.islice(bars.charts(0, "train"), number))
        for j, question in enumerate(chart.questions)
    }  # fmt: skip
    return list(found.values())[:number]


CHARTS = charts(60)


class Place:
    """A workplace: examples go in, rationales come out, the ledger stays."""

    def __init__(self, root: Path, examples: list[Example]) -> None:
        self.root, self.examples = root, root / "examples"
        self.context = Context(work=root / "work", ledger=root / "ledger")
        records.write(self.examples / "examples.parquet", examples, Example)

    def run(self, **settings: Any) -> tuple[dict[str, float], Path]:
        output = self.root / f"output{len(list(self.root.iterdir()))}"
        output.mkdir()
        config = DistillSection(**{"teacher": "scripted", "scripted_error_rate": 0.2, **settings})
        return distill.run(
            config, examples=self.examples, rationales=output, context=self.context
        ), output

    def preview(self, probe: int = 0, **settings: Any) -> Estimate:
        config = DistillSection(**settings)
        return distill.preview(config, examples=self.examples, context=self.context, probe=probe)


def kept(output: Path) -> list[Rationale]:
    return list(records.read(output / "rationales.parquet", Rationale))


def rejected(output: Path) -> list[Rationale]:
    return list(records.read(output / "rejected.parquet", Rationale))


def contents(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(output.iterdir())}
