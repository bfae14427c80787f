"""ChartQA: questions about real charts, written by people (human) or a model (augmented).

https://huggingface.co/datasets/HuggingFaceM4/ChartQA; arXiv 2203.10244; GPL-3.0.
Train 28,299, val 1,920, test 2,500 (1,250 human + 1,250 augmented). Sample:

    {"image": {"bytes": ..., "path": "two_col_43014.png"}, "query": "How many cars did Ford sell
     in 2019?", "label": ["15702"], "human_or_machine": 1}

Scored by relaxed accuracy, which takes 2015 for 2016; so as a reward years must be met exactly. The
splits share a few images; `prepare` drops those from training. Accepted as sources as well:
`lmms-lab/ChartQA` (test alone; `question`, `answer` as one text, `type` human_test or
augmented_test) and Parquet as that of `ahmed-masry/ChartQA` (`type` human or augmented). None of
them has the charts' tables (`tables/*.csv` of the authors' archive); who adds these as a column
`table`, CSV text, has rationales checked against them (`chainsight.quality.tables`).
"""

from typing import Any

from chainsight.datasets.base import Dataset, image, text, texts
from chainsight.datasets.sources import Row

WRITERS = {
    "0": "human",
    "1": "augmented",
    "human": "human",
    "human_test": "human",
    "augmented": "augmented",
    "augmented_test": "augmented",
}
"""Who wrote a question, by what the sources' columns say."""


def _convert(row: Row) -> dict[str, Any]:
    known = {"type": WRITERS.get(str(row["human_or_machine"])), "table": row.get("table")}
    return {
        "question": text(row, "query", "empty question"),
        "references": texts(row, "label", "no answer"),
        "images": (image(row, "image"),),
        "meta": {name: str(value) for name, value in known.items() if value},
    }


CHARTQA = Dataset(
    name="chartqa",
    url="https://huggingface.co/datasets/HuggingFaceM4/ChartQA",
    licence="GPL-3.0",
    licence_note="The charts are those of Statista, Pew Research, Our World in Data and OECD, "
    "whose own terms hold for them.",
    copyleft=True,
    hub_id="HuggingFaceM4/ChartQA",
    revision="b605b6e08b57faf4359aeb2fe6a3ca595f99b6c5",
    splits=("train", "val", "test"),
    sizes={"train": 28_299, "val": 1_920, "test": 2_500},
    metric="relaxed_accuracy",
    reward="relaxed_accuracy_exact_years",
    kind="chart",
    columns=("image", "query|question", "label|answer", "human_or_machine|type"),
    optional_columns=("table",),
    convert=_convert,
)
