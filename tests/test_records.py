"""Records survive Parquet, and a reader names file, row and field when it refuses one."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chainsight import records
from chainsight.errors import RecordError
from chainsight.records import Example, Pair, Score

EXAMPLE = Example(
    id="bars/train/0",
    dataset="bars",
    split="train",
    question="How high is jan?",
    references=("4",),
    metric="exact_match",
    images=(b"\x89PNG",),
    choices=None,
    meta={"b": "2", "a": "1"},
)
SCORE = Score("policy", "bars", "cot", "exact_match", 0.5, 4, 0.25, {"marker": 1.0})
PAIR = Pair("bars/train/0", "right", "wrong", 0, 3)


@pytest.mark.parametrize("row", [EXAMPLE, SCORE, PAIR], ids=lambda row: type(row).__name__)
def test_a_record_survives_being_stored(tmp_path: Path, row: object) -> None:
    path = tmp_path / "rows.parquet"
    assert records.write(path, [row, row], type(row)) == 2
    assert list(records.read(path, type(row))) == [row, row]


def test_choices_survive_with_their_order(tmp_path: Path) -> None:
    row = Example(**(vars(EXAMPLE) | {"choices": ("b", "a")}))
    records.write(tmp_path / "r.parquet", [row], Example)
    assert next(records.read(tmp_path / "r.parquet", Example)).choices == ("b", "a")


def test_no_rows_make_a_readable_file(tmp_path: Path) -> None:
    assert records.write(tmp_path / "r.parquet", [], Pair) == 0
    assert list(records.read(tmp_path / "r.parquet", Pair)) == []


def test_equal_rows_make_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        records.write(tmp_path / name, (EXAMPLE for _ in range(600)), Example)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_more_rows_than_a_group_keep_their_order(tmp_path: Path) -> None:
    count = 2 * records.ROWS_PER_GROUP + 1
    rows = [Pair(str(i), "a", "b", i, i) for i in range(count)]
    assert records.write(tmp_path / "r", iter(rows), Pair) == count
    assert list(records.read(tmp_path / "r", Pair)) == rows


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"no\.parquet: no such file; run the stage"):
        list(records.read(tmp_path / "no.parquet", Pair))


def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("<html>")
    with pytest.raises(RecordError, match=r"x\.parquet: not a readable Parquet file"):
        list(records.read(tmp_path / "x.parquet", Pair))


def test_a_missing_column_is_named_with_what_was_found(tmp_path: Path) -> None:
    pq.write_table(pa.table({"example_id": ["1"], "good": ["x"]}), tmp_path / "x.parquet")
    with pytest.raises(RecordError, match="no column 'chosen' for Pair; found: example_id, good"):
        list(records.read(tmp_path / "x.parquet", Pair))


def broken(tmp_path: Path, row: int, **values: object) -> Path:
    good = {"example_id": "1", "chosen": "a", "rejected": "b"}
    rows = [good | {"chosen_index": 0, "rejected_index": 1} for _ in range(3)]
    rows[row] |= values
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    return tmp_path / "x.parquet"


def test_an_empty_field_is_named_with_its_row(tmp_path: Path) -> None:
    path = broken(tmp_path, 2, chosen=None)
    with pytest.raises(RecordError, match=r"x\.parquet: row 2: field 'chosen' is empty"):
        list(records.read(path, Pair))


def test_a_field_of_another_type_is_named_with_its_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({f: ["x"] for f in vars(PAIR)}), tmp_path / "x.parquet")
    with pytest.raises(RecordError, match="row 0: field 'chosen_index' is str, not int"):
        list(records.read(tmp_path / "x.parquet", Pair))


def test_a_dictionary_that_is_no_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    records.write(path, [SCORE], Score)
    table = pq.read_table(path).to_pylist()
    pq.write_table(pa.Table.from_pylist([table[0] | {"status_rates": "[1]"}]), path)
    with pytest.raises(RecordError, match="row 0: field 'status_rates' is not a JSON object"):
        list(records.read(path, Score))
