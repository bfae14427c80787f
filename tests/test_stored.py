"""Stored examples are those that `records.read` gives; their images stay in the file."""

import multiprocessing
import pickle
import threading
import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chainsight import records, stored
from chainsight.errors import RecordError
from chainsight.records import Example

SIZE = 100_000
"""Bytes of an image."""


def files(count: int) -> list[bytes]:
    return [Random(k).randbytes(SIZE) for k in range(count)]


def example(number: int, *images: bytes) -> Example:
    return Example(f"toy/{number}", "toy", "train", "What?", ("1",), "m", images, meta={"a": "b"})


def write(path: Path, rows: Sequence[Example]) -> Path:
    records.write(path, rows, Example)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """100 examples with an image each, in three row groups."""
    return write(tmp_path / "e.parquet", [example(k, one) for k, one in enumerate(files(100))])


def reads() -> int:
    """Row groups that were read since the last `stored.examples`."""
    return stored._kept.cache_info().misses


def test_stored_examples_equal_those_that_are_read(tmp_path: Path) -> None:
    one, two = files(2)
    rows = [example(0, one), example(1), example(2, one, two), example(3, two, one, two)]
    path = write(tmp_path / "e.parquet", rows)
    found = list(stored.examples(path))
    assert found == rows == list(records.read(path, Example))
    assert [len(each.images) for each in found] == [1, 0, 2, 3]
    assert found[3].images[0] == found[3].images[-1] == two
    assert found[3].images[1:] == (one, two)
    assert found[2].images != found[3].images
    with pytest.raises(IndexError):
        found[2].images[2]


def test_nothing_is_read_before_an_image_is_asked_for(path: Path) -> None:
    found = list(stored.examples(path))
    assert reads() == 0
    assert found[7].images[0] == files(8)[7]
    assert reads() == 1


def test_rows_in_order_read_each_group_once(path: Path) -> None:
    for one in stored.examples(path):
        assert len(one.images) == 1
        assert len(one.images[0]) == SIZE
    assert reads() == pq.ParquetFile(path).num_row_groups == 3


def test_a_few_groups_are_in_memory_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "e.parquet", [example(k, one) for k, one in enumerate(files(400))])
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    most, found = 0, []
    for one in stored.examples(path):
        assert len(one.images[0]) == SIZE
        most = max(most, pa.total_allocated_bytes() - before)
        found.append(one)
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 400  # 40 MB of images
    assert most < (stored.GROUPS_KEPT + 2) * records.GROUP_BYTES
    assert held < 2_000_000


def test_equal_images_of_neighbours_are_stored_and_read_once(tmp_path: Path) -> None:
    images = files(40)
    path = write(tmp_path / "e.parquet", [example(k, images[k // 5]) for k in range(200)])
    assert path.stat().st_size < 41 * SIZE
    before = pa.total_allocated_bytes()
    assert [one.images[0] for one in stored.examples(path)] == [images[k // 5] for k in range(200)]
    assert pa.total_allocated_bytes() - before < 41 * SIZE


def test_images_are_stored_as_they_are(path: Path) -> None:
    column = pq.ParquetFile(path).metadata.row_group(0).column(6)
    assert (column.path_in_schema, column.compression) == ("images.list.element", "UNCOMPRESSED")
    assert pq.ParquetFile(path).metadata.row_group(0).column(3).compression == "ZSTD"
    assert path.read_bytes().count(files(3)[2]) == 1


def test_a_large_image_gets_a_group_of_its_own(tmp_path: Path) -> None:
    large = bytes(records.GROUP_BYTES + 1)
    path = write(tmp_path / "e.parquet", [example(0, b"x"), example(1, large), example(2, b"y")])
    sizes = [
        pq.ParquetFile(path).metadata.row_group(group).num_rows
        for group in range(pq.ParquetFile(path).num_row_groups)
    ]
    assert sizes == [1, 1, 1]
    assert [len(one.images[0]) for one in stored.examples(path)] == [1, len(large), 1]


def test_images_survive_pickling_without_their_bytes(path: Path) -> None:
    one = list(stored.examples(path))[50]
    text = pickle.dumps(one)
    assert len(text) < 1_000
    assert pickle.loads(text) == one
    assert replace(one, question="Why?").images == (files(51)[50],)


def _digests(found: list[Example]) -> list[int]:
    return [hash(one.images[0]) for one in found]


def test_a_forked_process_reads_its_own(path: Path) -> None:
    """Also while another thread of its parent is reading, and with the parent's group at hand."""
    found = list(stored.examples(path))
    wanted, stop = _digests(found), threading.Event()

    def keep_reading() -> None:
        while not stop.is_set():
            _digests(found)

    reader = threading.Thread(target=keep_reading)
    reader.start()
    try:
        with multiprocessing.get_context("fork").Pool(2) as pool:
            parts = pool.map_async(_digests, [found[:50], found[50:]]).get(timeout=60)
    finally:
        stop.set()
        reader.join()
    assert [*parts[0], *parts[1]] == wanted


def test_threads_get_their_own_rows(path: Path) -> None:
    found = list(stored.examples(path))
    numbers = [Random(0).randrange(100) for _ in range(400)]
    wanted = files(100)
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda number: found[number].images[0], numbers))
    assert got == [wanted[number] for number in numbers]


def test_a_file_that_was_written_anew_is_read_anew(path: Path) -> None:
    first = next(stored.examples(path))
    assert first.images[0] == files(1)[0]
    write(path, [example(0, b"other")])
    assert next(stored.examples(path)).images == (b"other",)


def test_a_file_from_when_images_had_other_columns_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "e.parquet", [example(0, b"x"), example(1, b"y", b"z")])
    table = pq.read_table(path)
    images = table["images"].to_pylist()
    old = table.drop_columns(["images", "turns"])
    old = old.append_column("image", pa.array([each[0] for each in images]))
    old = old.append_column("more_images", pa.array([each[1:] for each in images]))
    pq.write_table(old, path)
    for found in (list(stored.examples(path)), list(records.read(path, Example))):
        assert found == [example(0, b"x"), example(1, b"y", b"z")]


def test_a_missing_file_is_refused_as_ever(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no such file; run the stage"):
        next(stored.examples(tmp_path / "no.parquet"))
