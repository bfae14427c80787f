from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chainsight.datasets import DATASETS, named
from chainsight.demo import bars
from chainsight.errors import ConfigError, RecordError
from chainsight.metrics import METRICS
from chainsight.records import Example, Quarantined

FIXTURES = Path(__file__).parents[1] / "fixtures"
CHARTQA = str(FIXTURES / "chartqa")
MATHVISION = str(FIXTURES / "mathvision")


def test_the_table_names_each_dataset_as_it_names_itself_and_each_metric_exists() -> None:
    assert {name: dataset.name for name, dataset in DATASETS.items()} == {n: n for n in DATASETS}
    assert all(dataset.metric in METRICS for dataset in DATASETS.values())


def test_a_misspelt_dataset_is_answered_with_the_near_one() -> None:
    with pytest.raises(
        ConfigError, match=r"no dataset 'chartq'; did you mean 'chartqa'\? there are .*bars"
    ):
        named("chartq")


def test_an_unknown_split_is_answered_with_those_there_are() -> None:
    with pytest.raises(
        ConfigError, match="'chartqa' has no split 'validation'; it has train, val, test"
    ):
        next(DATASETS["chartqa"].load("validation", CHARTQA))


def test_chartqa_rows_become_examples() -> None:
    examples = list(DATASETS["chartqa"].load("train", CHARTQA))
    assert [example.id for example in examples] == [f"chartqa/train/{i}" for i in range(12)]
    first = examples[0]
    assert first.question.endswith("?")
    assert first.references == ("Argentina",)
    assert (first.dataset, first.split, first.metric) == ("chartqa", "train", "relaxed_accuracy")
    assert first.images[0].startswith(b"\x89PNG")
    assert first.choices is None
    assert {example.meta["type"] for example in examples} == {"human", "augmented"}


def test_mathvision_keeps_its_own_ids_and_letters_for_options() -> None:
    examples = list(DATASETS["mathvision"].load("test", MATHVISION))
    assert len(examples) == 8
    assert all(example.id.removeprefix("mathvision/test/").isdigit() for example in examples)
    with_choices = [example for example in examples if example.choices]
    assert len(with_choices) == 4
    assert all(example.references[0] in "ABCDE" for example in with_choices)
    assert not any("<image" in example.question for example in examples)


def test_a_right_answer_scores_one_by_the_datasets_own_metric() -> None:
    examples = [
        *DATASETS["chartqa"].load("test", CHARTQA),
        *DATASETS["mathvision"].load("test", MATHVISION),
        *DATASETS["bars"].load("test", limit=12),
    ]
    for e in examples:
        assert METRICS[e.metric].score(e.references[0], e.references, choices=e.choices) == 1.0
        assert METRICS[e.metric].score("no idea", e.references, choices=e.choices) == 0.0


def test_a_limit_takes_rows_from_the_start() -> None:
    chartqa = DATASETS["chartqa"]
    everything = list(chartqa.load("train", CHARTQA))
    assert list(chartqa.load("train", CHARTQA, 5)) == everything[:5]
    assert list(chartqa.load("train", CHARTQA, 500)) == everything
    assert chartqa.num_rows("train", CHARTQA) == chartqa.num_rows("train", CHARTQA, 500) == 12
    assert chartqa.num_rows("train", CHARTQA, 5) == 5


def test_bars_are_drawn_four_questions_a_chart() -> None:
    examples = list(DATASETS["bars"].load("train", limit=10))
    assert [example.id for example in examples] == [f"bars/train/{i}" for i in range(10)]
    assert len({example.images[0] for example in examples}) == 3
    for example in examples:
        table = bars.read_table(example.images[0])
        assert table is not None
        assert bars.split_of(table) == "train"
        assert (bars.solve(table, example.question)[1],) == example.references
    assert list(DATASETS["bars"].load("train", limit=10)) == examples


def test_domains_of_bars_share_its_charts_and_not_its_questions() -> None:
    asked = [example.question for example in DATASETS["bars"].load("test", limit=40)]
    kinds = {}
    for name in ("bars_lookups", "bars_computations"):
        examples = list(DATASETS[name].load("test", limit=10))
        assert [example.id for example in examples] == [f"{name}/test/{i}" for i in range(10)]
        assert [one.question for one in examples] == [
            question for question in asked if question in {one.question for one in examples}
        ][:10]
        kinds[name] = {example.meta["kind"] for example in examples}
    assert kinds["bars_lookups"] == {"value", "highest", "lowest"}
    assert kinds["bars_computations"] == {"sum", "difference", "count_above"}


def test_bars_without_a_limit_end() -> None:
    assert DATASETS["bars"].num_rows("train") == 1000
    assert sum(1 for _ in DATASETS["bars"].load("test")) == 1000


def test_bars_have_no_source() -> None:
    with pytest.raises(ConfigError, match="bars is generated"):
        next(DATASETS["bars"].load("train", "some/folder"))


def test_a_fingerprint_changes_with_content_and_split_and_not_with_the_place(
    tmp_path: Path,
) -> None:
    chartqa = DATASETS["chartqa"]
    here = chartqa.fingerprint("train", CHARTQA)
    name = "train-00000-of-00001.parquet"
    (tmp_path / "data").mkdir()
    copy = tmp_path / "data" / name
    copy.write_bytes((FIXTURES / "chartqa" / name).read_bytes())
    assert chartqa.fingerprint("train", str(tmp_path)) == here
    assert chartqa.fingerprint("val", CHARTQA) != here
    copy.write_bytes((FIXTURES / "chartqa" / "val-00000-of-00001.parquet").read_bytes())
    assert chartqa.fingerprint("train", str(tmp_path)) != here


def test_the_hubs_fingerprint_is_its_id_and_revision() -> None:
    chartqa, mathvision = DATASETS["chartqa"], DATASETS["mathvision"]
    assert chartqa.fingerprint("train").startswith("HuggingFaceM4/ChartQA@b605b6e08b57")
    assert chartqa.fingerprint("train", "me/ChartQA") == "me/ChartQA@main/train"
    assert mathvision.fingerprint("test", revision="abc") == "MathLLMs/MathVision@abc/test"


# --- bad rows --------------------------------------------------------------------------------

GOOD = {
    "image": {"bytes": b"x", "path": "x.png"},
    "query": "Why?",
    "label": ["1"],
    "human_or_machine": 0,
}
PROBLEM = {
    "id": "7",
    "question": "How many?",
    "options": ["1", "2"],
    "decoded_image": {"bytes": b"x"},
    "answer": "B",
    "level": 1,
    "subject": "counting",
}


def write(folder: Path, split: str, rows: list[dict[str, Any]]) -> str:
    pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}-00000-of-00001.parquet")
    return str(folder)


def test_bad_rows_stop_a_plain_load_and_are_marked_by_a_scan(tmp_path: Path) -> None:
    folder = write(tmp_path, "train", [GOOD, GOOD | {"query": " "}, GOOD])
    good, bad, after = DATASETS["chartqa"].scan("train", folder)
    assert isinstance(good, Example)
    assert isinstance(after, Example)
    assert bad == Quarantined("chartqa/train/1", "chartqa", "train", 1, "empty question")
    with pytest.raises(RecordError, match="chartqa/train/1: empty question"):
        list(DATASETS["chartqa"].load("train", folder))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"query": None}, "empty question"),
        ({"query": "x" * 20_001}, "query is longer than 20,000 characters"),
        ({"label": []}, "no answer"),
        ({"label": None}, "no answer"),
        ({"label": ["  ", None]}, "no answer"),
        ({"image": None}, "no image"),
        ({"image": {"bytes": None, "path": "../../etc/passwd"}}, "no image"),
    ],
)
def test_a_chartqa_row_says_what_it_lacks(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    folder = write(tmp_path, "train", [GOOD, GOOD | change])
    _, row = DATASETS["chartqa"].scan("train", folder)
    assert isinstance(row, Quarantined)
    assert row.reason == reason


def test_values_at_the_bounds_pass(tmp_path: Path) -> None:
    rows = [GOOD | {"query": "x" * 20_000, "label": ["  ", " 0 "], "human_or_machine": None}, GOOD]
    example, _ = DATASETS["chartqa"].load("train", write(tmp_path, "train", rows))
    assert example.references == ("0",)
    assert example.meta == {}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": None}, "no id"),
        ({"question": "<image1>"}, "empty question"),
        ({"answer": "C"}, "the answer is no letter of an option"),
        ({"answer": "AB"}, "the answer is no letter of an option"),
        ({"options": ["1", ""]}, "empty option"),
    ],
)
def test_a_mathvision_row_says_what_it_lacks(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    folder = write(tmp_path, "test", [PROBLEM, PROBLEM | change])
    _, row = DATASETS["mathvision"].scan("test", folder)
    assert isinstance(row, Quarantined)
    assert row.reason == reason


def test_mathvision_questions_lose_the_placeholder_of_a_single_picture(tmp_path: Path) -> None:
    one = PROBLEM | {"id": "1", "question": "See <image1> here.\n<image1>"}
    two = PROBLEM | {"id": "2", "question": "Is <image1> like <image2>?"}
    single = PROBLEM | {"id": "3", "question": "How many?\n\n<image1>", "options": []}
    folder = write(tmp_path, "test", [one, two, single])
    first, second, third = DATASETS["mathvision"].load("test", folder)
    assert first.question == "See (picture 1) here.\n(picture 1)"
    assert second.question == "Is (picture 1) like (picture 2)?"
    assert (third.question, third.choices) == ("How many?", None)


def test_text_that_is_no_utf8_spoils_its_own_row_alone(tmp_path: Path) -> None:
    rows = [GOOD, GOOD, GOOD]
    table = pa.Table.from_pylist(rows)
    raw = pa.array([b"Why?", b"\xff\xfe", b"Why?"], pa.binary()).view(pa.string())
    table = table.set_column(table.schema.get_field_index("query"), "query", raw)
    pq.write_table(table, tmp_path / "train-00000-of-00001.parquet")
    found = list(DATASETS["chartqa"].scan("train", str(tmp_path)))
    assert [row.reason for row in found if isinstance(row, Quarantined)] == [
        "text is not valid UTF-8"
    ]
