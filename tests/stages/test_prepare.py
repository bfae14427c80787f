import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from planted import bomb, chartqa, png, row, write

from chainsight import records
from chainsight.config import PrepareSection
from chainsight.context import Context, Shard
from chainsight.errors import ChainsightError, ConfigError, QuarantineError
from chainsight.records import Example, Quarantined
from chainsight.stages import prepare
from chainsight.store.manifest import scan

FIXTURES = Path(__file__).parents[1] / "fixtures"
CHARTQA = str(FIXTURES / "chartqa")
MATHVISION = str(FIXTURES / "mathvision")


class Outcome:
    """One execution of the stage and what it wrote."""

    def __init__(self, work: Path, **config: Any) -> None:
        self.config = PrepareSection(**config)
        self.context = Context(work=work, ledger=work)
        self.folders = {kind: work / kind for kind in ("examples", "benchmarks", "inventory")}
        for folder in self.folders.values():
            folder.mkdir(parents=True)
        self.metrics = prepare.run(self.config, **self.folders, context=self.context)

    def rows(self, kind: str) -> list[Example]:
        return list(records.read(self.folders[kind] / f"{kind}.parquet", Example))

    def files(self) -> dict[Path, bytes]:
        paths = [p for folder in self.folders.values() for p in folder.iterdir()]
        return {path.relative_to(self.context.work): path.read_bytes() for path in paths}

    def quarantined(self, kind: str) -> list[Quarantined]:
        return list(records.read(self.folders[kind] / "quarantine.parquet", Quarantined))


def test_real_rows_become_examples_and_benchmarks(tmp_path: Path) -> None:
    outcome = Outcome(
        tmp_path,
        examples=[
            chartqa(CHARTQA, "train"),
            {"dataset": "mathvision", "split": "test", "source": MATHVISION},
            {"dataset": "bars", "split": "train", "limit": 6},
        ],
        benchmarks=[chartqa(CHARTQA, "test"), {"dataset": "bars", "split": "test", "limit": 5}],
    )
    assert outcome.metrics == {
        "num_rows": 35,
        "num_examples": 26,
        "num_benchmark_examples": 9,
        "num_quarantined": 0,
        "num_leaked": 0,
        "num_shared_images": 0,
        "num_duplicates": 0,
        "num_skipped": 0,
        "quarantine_rate": 0,
        "num_examples/bars": 6,
        "num_examples/chartqa": 12,
        "num_examples/mathvision": 8,
        "num_benchmark_examples/bars": 5,
        "num_benchmark_examples/chartqa": 4,
    }
    ids = [example.id for example in outcome.rows("examples")]
    assert ids[:2] == ["chartqa/train/0", "chartqa/train/1"]
    assert ids[-1] == "bars/train/5"
    assert [example.split for example in outcome.rows("benchmarks")] == ["test"] * 9


def test_images_are_stored_as_the_source_gave_them(tmp_path: Path) -> None:
    given = [png(1), png(2, kind="JPEG"), png(3, mode="CMYK", kind="JPEG")]
    write(tmp_path / "in", "train", [row(i, content) for i, content in enumerate(given)])
    write(tmp_path / "in", "test", [row(9)])
    outcome = Outcome(
        tmp_path / "out",
        examples=[chartqa(tmp_path / "in", "train")],
        benchmarks=[chartqa(tmp_path / "in", "test")],
    )
    assert [example.images[0] for example in outcome.rows("examples")] == given


def test_a_picture_in_a_benchmark_is_dropped_from_training_in_whatever_file(tmp_path: Path) -> None:
    shared = [row(1), row(1, png(1, compress_level=0)), row(1, png(1, kind="BMP"))]
    write(tmp_path / "in", "train", [row(0), *shared, row(2)])
    write(tmp_path / "in", "test", [row(1), row(8)])
    outcome = Outcome(
        tmp_path / "out",
        examples=[chartqa(tmp_path / "in", "train")],
        benchmarks=[chartqa(tmp_path / "in", "test")],
        max_quarantine_rate=0.0,  # shared pictures are no fault of theirs
    )
    assert [e.id for e in outcome.rows("examples")] == ["chartqa/train/0", "chartqa/train/4"]
    assert {row.reason for row in outcome.quarantined("examples")} == {
        "image is in benchmark chartqa/test"
    }
    assert outcome.metrics["num_shared_images"] == 3
    assert outcome.metrics["num_quarantined"] == 0
    assert len(outcome.rows("benchmarks")) == 2


# --- corrupt input ----------------------------------------------------------------------------

NUM_CHARTS, NUM_PROBLEMS = 1_600, 400
BAD_CHARTS: list[tuple[dict[str, Any], str]] = [
    (row(0, png(5, kind="JPEG")[:500]), "image is cut short or damaged"),
    (row(0, png(5)[:60]), "image is cut short or damaged"),
    (row(0, b""), "image is empty (0 bytes)"),
    (row(0, b"<html>Not found</html>"), "image is not a picture file"),
    (row(0, bomb()), "image has more than 50,000,000 pixels"),
    (row(0, image=None), "no image"),
    (row(0, image={"bytes": None, "path": "../../../etc/passwd"}), "no image"),
    (row(0, query="x" * 10_000_000), "query is longer than 20,000 characters"),
    (row(0, query=b"\xff\xfe"), "text is not valid UTF-8"),
    (row(0, query="  "), "empty question"),
    (row(0, label=[]), "no answer"),
]
BAD_PROBLEMS: list[tuple[dict[str, Any], str]] = [
    ({"id": "7"}, "duplicate id"),
    ({"answer": "E"}, "the answer is no letter of an option"),
    ({"options": ["1", " "]}, "empty option"),
]


def problem(number: int) -> dict[str, Any]:
    """A row of MATH-Vision."""
    return {
        "id": str(number),
        "question": f"Which is {number}?",
        "options": ["1", "2"],
        "decoded_image": {"bytes": png(2_000 + number), "path": None},
        "answer": "B",
        "level": 1,
        "subject": "algebra",
    }


def planted(number: int, bad: list[tuple[dict[str, Any], str]]) -> tuple[dict[str, Any], str]:
    return bad[number // 20 % len(bad)]


def corpus(folder: Path, *, dirty: bool) -> Path:
    """2,000 rows; if `dirty`, every 20th is bad, by turns. Row 0 is good, though CMYK."""
    charts = [row(number) for number in range(NUM_CHARTS)]
    charts[0] = row(0, png(0, mode="CMYK", kind="JPEG"))
    problems = [problem(number) for number in range(NUM_PROBLEMS)]
    for rows, bad in ((charts, BAD_CHARTS), (problems, BAD_PROBLEMS)):
        for number in range(10, len(rows), 20):
            rows[number] |= planted(number, bad)[0] if dirty else {}
    write(folder / "charts", "train", charts)
    write(folder / "charts", "test", [row(10_000)])
    (folder / "problems").mkdir()
    pq.write_table(pa.Table.from_pylist(problems), folder / "problems/test-00000.parquet")
    return folder


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus(tmp_path_factory.mktemp("dirty"), dirty=True)


def both(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "examples": [chartqa(folder, "train")],
        "benchmarks": [chartqa(folder, "test")],
        **more,
    }


def whole(folder: Path, **more: Any) -> dict[str, Any]:
    """Both halves of a corpus."""
    problems = {"dataset": "mathvision", "split": "test", "source": str(folder / "problems")}
    charts = both(folder / "charts")
    return charts | {"examples": [*charts["examples"], problems], **more}


@pytest.fixture(scope="module")
def outcome(dirty: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Of the dirty corpus, with all cores."""
    return Outcome(tmp_path_factory.mktemp("outcome"), **whole(dirty))


def test_each_bad_row_is_set_aside_with_its_reason_and_no_other(outcome: Outcome) -> None:
    found = [(row.dataset, row.row, row.reason) for row in outcome.quarantined("examples")]
    assert found == [
        (name, number, planted(number, bad)[1])
        for name, size, bad in (
            ("chartqa", NUM_CHARTS, BAD_CHARTS),
            ("mathvision", NUM_PROBLEMS, BAD_PROBLEMS),
        )
        for number in range(10, size, 20)
    ]
    assert {row.cause for row in outcome.quarantined("examples")} == {"fault"}
    assert outcome.metrics["num_quarantined"] == 100
    assert outcome.metrics["num_examples"] == 1900
    assert outcome.metrics["quarantine_rate"] == pytest.approx(100 / 2001)


def test_the_good_rows_are_those_of_a_clean_source(outcome: Outcome, tmp_path: Path) -> None:
    clean = Outcome(tmp_path / "clean", **whole(corpus(tmp_path / "in", dirty=False)))
    assert clean.metrics["num_examples"] == 2000
    bad = {(row.dataset, row.row) for row in outcome.quarantined("examples")}
    numbers = [("chartqa", n) for n in range(1600)] + [("mathvision", n) for n in range(400)]
    kept = zip(numbers, clean.rows("examples"), strict=True)
    assert outcome.rows("examples") == [example for number, example in kept if number not in bad]


# --- by many ----------------------------------------------------------------------------------


def times(folder: Path) -> dict[str, int]:
    """When each file was made."""
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


@contextmanager
def one_core() -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def test_any_number_of_processes_writes_the_same_bytes(
    outcome: Outcome, dirty: Path, tmp_path: Path
) -> None:
    with one_core():
        alone = Outcome(tmp_path, **whole(dirty))
    assert alone.files() == outcome.files()
    assert alone.metrics == outcome.metrics


@pytest.mark.parametrize("count", [3, 20])
def test_any_number_of_shards_writes_the_same_bytes(
    outcome: Outcome, dirty: Path, tmp_path: Path, count: int
) -> None:
    """Even if some of them have nothing to do."""
    context = Context(work=tmp_path, ledger=tmp_path)
    for number in reversed(range(count)):
        shard = replace(context, shard=Shard(number, count))
        prepare.run_shard(PrepareSection(**whole(dirty)), context=shard)
    made = times(tmp_path / "looks")
    assert Outcome(tmp_path, **whole(dirty)).files() == outcome.files()
    assert times(tmp_path / "looks") == made, "no row was looked at again"


@pytest.mark.parametrize("rows", [[row(3), row(2)], [row(1)], [row(1), row(2), row(3)]])
def test_a_source_that_changes_meanwhile_is_noticed(
    tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    write(tmp_path / "in", "train", [row(1), row(2)])
    write(tmp_path / "in", "test", [row(9)])
    config, work = both(tmp_path / "in"), tmp_path / "out"
    prepare.run_shard(PrepareSection(**config), context=Context(work, work))
    write(tmp_path / "in", "train", rows)
    with pytest.raises(ChainsightError, match="chartqa/train changed while it was read"):
        Outcome(work, **config)


# --- too little is left -----------------------------------------------------------------------


def test_too_many_bad_rows_fail_with_counts_and_the_setting(dirty: Path, tmp_path: Path) -> None:
    Outcome(tmp_path / "at", **whole(dirty, max_quarantine_rate=100 / 2001))
    with pytest.raises(QuarantineError) as error:
        Outcome(tmp_path / "over", **whole(dirty, max_quarantine_rate=0.049))
    message = str(error.value)
    assert "100 of 2001 rows are bad (5.0%, allowed is 4.9%)" in message
    assert "16 image is cut short or damaged" in message
    assert "7 empty question" in message
    assert "First: chartqa/train/10" in message
    assert "prepare.max_quarantine_rate" in message


def test_a_bad_benchmark_row_is_kept_with_the_benchmarks(tmp_path: Path) -> None:
    write(tmp_path / "in", "train", [row(1)])
    write(tmp_path / "in", "test", [row(2), row(3, b"")])
    outcome = Outcome(tmp_path / "out", **both(tmp_path / "in", max_quarantine_rate=0.5))
    assert [row.id for row in outcome.quarantined("benchmarks")] == ["chartqa/test/1"]
    assert outcome.quarantined("examples") == []


def test_a_duplicate_id_is_set_aside(tmp_path: Path) -> None:
    write(tmp_path / "in", "train", [row(1), row(2)])
    write(tmp_path / "in", "test", [row(3)])
    twice = [chartqa(tmp_path / "in", "train"), chartqa(tmp_path / "in", "train", limit=1)]
    outcome = Outcome(
        tmp_path / "out", **both(tmp_path / "in") | {"examples": twice, "max_quarantine_rate": 0.5}
    )
    assert [(row.id, row.reason) for row in outcome.quarantined("examples")] == [
        ("chartqa/train/0", "duplicate id")
    ]
    assert outcome.metrics["num_examples"] == 2


def test_a_bad_row_takes_no_id_from_a_good_one(tmp_path: Path) -> None:
    bad, good = problem(1) | {"answer": "E"}, problem(1)
    image_of_none = problem(2) | {"decoded_image": {"bytes": b"", "path": None}}
    rows = [bad, good, image_of_none, problem(2), problem(2)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "test-00000.parquet")
    write(tmp_path / "charts", "test", [row(3)])
    outcome = Outcome(
        tmp_path / "out",
        examples=[{"dataset": "mathvision", "split": "test", "source": str(tmp_path)}],
        benchmarks=[chartqa(tmp_path / "charts", "test")],
        max_quarantine_rate=1.0,
    )
    assert [e.id for e in outcome.rows("examples")] == ["mathvision/test/1", "mathvision/test/2"]
    assert outcome.quarantined("examples")[-1].reason == "duplicate id"


def test_a_repeated_row_is_dropped_unless_it_is_meant(tmp_path: Path) -> None:
    write(tmp_path / "in", "train", [row(1), row(2), row(1), row(3)])
    write(tmp_path / "in", "test", [row(3)])
    dropped = Outcome(tmp_path / "drop", **both(tmp_path / "in"))
    repeated, _ = dropped.quarantined("examples")
    assert (repeated.id, repeated.cause) == ("chartqa/train/2", "duplicate")
    assert "chartqa/train/0" in repeated.detail
    assert dropped.metrics["num_duplicates"] == 1
    kept = Outcome(tmp_path / "keep", **both(tmp_path / "in", duplicates="keep"))
    assert kept.metrics["num_examples"] == 3
    assert [row.cause for row in kept.quarantined("examples")] == ["leak"]


def test_leaks_fail_where_data_are_published_as_clean(tmp_path: Path) -> None:
    write(tmp_path / "in", "train", [row(1), row(2), row(3)])
    write(tmp_path / "in", "test", [row(3)])
    with pytest.raises(QuarantineError) as error:
        Outcome(tmp_path / "out", **both(tmp_path / "in", leaks="fail"))
    assert "1 training rows are in a benchmark: 1 image is in benchmark chartqa/test" in str(error)
    assert "First: chartqa/train/2 (chartqa/test/0" in str(error)


def test_nothing_left_says_where_the_rows_went(tmp_path: Path) -> None:
    write(tmp_path / "in", "train", [row(1), row(2)])
    write(tmp_path / "in", "test", [row(1), row(2)])
    with pytest.raises(QuarantineError) as error:
        Outcome(tmp_path / "out", **both(tmp_path / "in"))
    assert "prepare.examples: none of 2 rows is left; 2 are in a benchmark" in str(error.value)


def test_an_empty_source_says_so(tmp_path: Path) -> None:
    write(tmp_path / "in", "train", [])
    write(tmp_path / "in", "test", [])
    with pytest.raises(QuarantineError, match=r"prepare\.examples: none of 0 rows is left"):
        Outcome(tmp_path / "out", **both(tmp_path / "in"))


def test_the_bound_on_pixels_is_the_configurations(tmp_path: Path) -> None:
    write(tmp_path / "in", "train", [row(1)])
    write(tmp_path / "in", "test", [row(2)])
    Outcome(tmp_path / "at", **both(tmp_path / "in", max_image_pixels=64 * 48))
    with pytest.raises(QuarantineError, match="2 image has more than 3,071 pixels"):
        Outcome(tmp_path / "over", **both(tmp_path / "in", max_image_pixels=64 * 48 - 1))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"dataset": "charts"}, "no dataset 'charts'"),
        (chartqa(CHARTQA, "dev"), "'chartqa' has no split 'dev'; it has train, val, test"),
        (chartqa("/no/where", "train"), "/no/where: no such folder"),
        (chartqa(MATHVISION, "train"), "no files train-*.parquet"),
        (chartqa(MATHVISION, "test"), "has no column 'human_or_machine'; wanted: image"),
    ],
)
def test_a_wrong_source_is_one_clear_message(
    source: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as error:
        Outcome(tmp_path, examples=[source], benchmarks=[chartqa(CHARTQA, "test")])
    assert message in str(error.value)


def test_the_fingerprint_follows_every_source(tmp_path: Path) -> None:
    write(tmp_path / "in", "train", [row(1)])
    write(tmp_path / "in", "test", [row(2)])
    config, context = PrepareSection(**both(tmp_path / "in")), Context(tmp_path, tmp_path)
    before = prepare.fingerprint(config, context)
    assert prepare.fingerprint(config, context) == before
    write(tmp_path / "in", "test", [row(3)])
    assert prepare.fingerprint(config, context) != before
    hub = PrepareSection(
        examples=[{"dataset": "chartqa"}], benchmarks=[{"dataset": "bars", "split": "test"}]
    )
    read = prepare.fingerprint(hub, context)  # no file and no network is needed
    assert read["examples"]["chartqa/train"].startswith("HuggingFaceM4/ChartQA@b605b6e")
    assert len(read["benchmarks"]["bars/test"]) == 64


def test_places_that_are_one_source_are_fingerprinted_together(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, "train", [row(1 if name == "a" else 2)])
    sources = [chartqa(tmp_path / name, "train") for name in ("a", "b")]
    config = PrepareSection(examples=sources, benchmarks=sources[:1])
    read = prepare.fingerprint(config, Context(tmp_path, tmp_path))
    first, second = read["examples"]["chartqa/train"].split(", ")
    assert first != second
    assert read["benchmarks"] == {"chartqa/train": first}


def test_reasons_are_counted_not_listed_row_by_row(tmp_path: Path) -> None:
    write(tmp_path / "in", "train", [row(i, b"") for i in range(300)])
    write(tmp_path / "in", "test", [row(2)])
    with pytest.raises(QuarantineError) as error:
        Outcome(tmp_path / "out", **both(tmp_path / "in"))
    assert "300 image is empty (0 bytes). First" in str(error.value)
    assert Counter(str(error.value))["\n"] == 0


def test_the_inventory_counts_what_the_metrics_count(outcome: Outcome) -> None:
    found = json.loads((outcome.folders["inventory"] / "inventory.json").read_text())["overview"]
    names = {
        "rows": "num_rows",
        "examples": "num_examples",
        "benchmarks": "num_benchmark_examples",
        "faults": "num_quarantined",
        "leaks": "num_leaked",
        "duplicates": "num_duplicates",
        "skipped": "num_skipped",
    }
    assert {name: found[name] for name in names} == {
        name: outcome.metrics[metric] for name, metric in names.items()
    }
    parts = ("examples", "benchmarks", "faults", "leaks", "duplicates", "skipped")
    assert found["rows"] == sum(found[part] for part in parts)


def test_the_report_is_apart_so_that_a_benchmark_leaves_examples_as_they_were(
    tmp_path: Path,
) -> None:
    write(tmp_path / "in", "train", [row(i) for i in range(4)])
    write(tmp_path / "in", "test", [row(i) for i in range(10, 14)])
    made = [
        Outcome(
            tmp_path / str(limit),
            examples=[chartqa(tmp_path / "in", "train")],
            benchmarks=[chartqa(tmp_path / "in", "test", limit=limit)],
        )
        for limit in (2, 4)
    ]
    for kind, same in (("examples", True), ("benchmarks", False), ("inventory", False)):
        first, second = (scan(outcome.folders[kind]) for outcome in made)
        assert (first == second) is same
