"""ChartQA from three publishers, whose columns differ."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from benchrows import fixture_rows, load

from chainsight.datasets import DATASETS
from chainsight.errors import ConfigError

CHARTQA = DATASETS["chartqa"]


def write(folder: Path, rows: list[dict[str, Any]]) -> str:
    pq.write_table(pa.Table.from_pylist(rows), folder / "test-00000-of-00001.parquet")
    return str(folder)


def test_the_benchmarks_form_gives_the_questions_with_their_writer() -> None:
    """`lmms-lab/ChartQA`: question, answer as one text, type."""
    rows, schema = fixture_rows("chartqa")
    assert schema.names == ["type", "question", "answer", "image"]
    examples = load("chartqa")
    assert [example.question for example in examples] == [row["question"] for row in rows]
    assert [example.references for example in examples] == [(row["answer"],) for row in rows]
    assert [example.meta["type"] for example in examples] == ["human"] * 5 + ["augmented"] * 5


def test_the_authors_form_gives_the_same(tmp_path: Path) -> None:
    """`ahmed-masry/ChartQA`: imgname, query, label, type, and the image as plain bytes."""
    rows, _ = fixture_rows("chartqa")
    theirs = [
        {
            "imgname": row["image"]["path"],
            "query": row["question"],
            "label": row["answer"],
            "type": row["type"].removesuffix("_test"),
            "image": row["image"]["bytes"],
        }
        for row in rows
    ]
    assert list(CHARTQA.load("test", write(tmp_path, theirs))) == load("chartqa")


def test_a_file_of_neither_form_is_told_what_was_found_and_what_is_accepted(
    tmp_path: Path,
) -> None:
    rows = [{"image": b"x", "prompt": "?", "answer": "1"}]
    with pytest.raises(ConfigError) as error:
        next(CHARTQA.load("test", write(tmp_path, rows)))
    assert "has no column 'query', 'human_or_machine'; " in str(error.value)
    accepted = "image, query or question, label or answer, human_or_machine or type"
    assert f"wanted: {accepted}; found: image, prompt, answer" in str(error.value)


def test_an_unknown_writer_is_no_fault(tmp_path: Path) -> None:
    row = fixture_rows("chartqa")[0][0] | {"type": ["somebody"]}
    (example,) = CHARTQA.load("test", write(tmp_path, [row]))
    assert example.meta == {}


def test_a_wrong_year_is_no_right_answer_for_pairs() -> None:
    assert (CHARTQA.metric, CHARTQA.reward) == ("relaxed_accuracy", "relaxed_accuracy_exact_years")
    assert CHARTQA.copyleft


def test_a_column_with_the_charts_table_is_carried_along(tmp_path: Path) -> None:
    row = fixture_rows("chartqa")[0][0] | {"table": "Year,Sales\n2015,12\n"}
    (example,) = CHARTQA.load("test", write(tmp_path, [row]))
    assert example.meta == {"type": "human", "table": "Year,Sales\n2015,12\n"}
