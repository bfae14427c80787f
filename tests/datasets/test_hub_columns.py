"""Each dataset loads from ten rows with the hub's exact columns, paths and types."""

import io
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hubrows import folder
from PIL import Image

from chainsight.datasets import DATASETS
from chainsight.errors import ConfigError
from chainsight.metrics import judging
from chainsight.records import Example

ELSEWHERE = {"bars", "bars_computations", "bars_lookups", "sharegpt4o_dpo", "sharegpt4o_sft"}
"""Generated; of many files, with tests of their own (test_conversations)."""

NAMES = [name for name in DATASETS if name not in ELSEWHERE]
OF_PATHS = ("ai2d_train", "llava_instruct")
"""JSON lines that name their pictures by path."""
SKIPPED = {"aokvqa_direct": 2}
"""Rows of the fixture that are not of the dataset."""


def split_of(name: str) -> str:
    """The split that the fixture has."""
    for split in DATASETS[name].splits:
        try:
            DATASETS[name].find(split, str(folder(name)), None)
        except ConfigError:
            continue
        return split
    raise AssertionError(f"no fixture of {name} in {folder(name)}")


def load(name: str) -> list[Example]:
    return list(DATASETS[name].load(split_of(name), str(folder(name))))


@pytest.mark.parametrize("name", NAMES)
def test_ten_rows_load_and_none_is_bad(name: str) -> None:
    examples = load(name)
    assert len(examples) == 10 - SKIPPED.get(name, 0)
    assert DATASETS[name].num_rows(split_of(name), str(folder(name))) == 10
    assert len({example.id for example in examples}) == len(examples)


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_may_be_a_path(name: str) -> None:
    dataset, split = DATASETS[name], split_of(name)
    assert list(dataset.load(split, folder(name))) == load(name)
    assert dataset.fingerprint(split, folder(name)) == dataset.fingerprint(split, str(folder(name)))
    assert list(dataset.units(split, folder(name), images=folder(name)))


@pytest.mark.parametrize("place", ["{split}-00000-of-00001.parquet", "{split}.parquet"])
@pytest.mark.parametrize("name", [n for n in NAMES if n not in OF_PATHS])
def test_one_flat_file_gives_the_same_examples(name: str, place: str, tmp_path: Path) -> None:
    dataset, split = DATASETS[name], split_of(name)
    files = dataset.find(split, folder(name), None)
    together = pa.concat_tables([pq.read_table(path) for path in files.paths])
    pq.write_table(together, tmp_path / place.format(split=split))
    assert list(dataset.load(split, tmp_path)) == load(name)


@pytest.mark.parametrize("name", NAMES)
def test_each_example_has_what_its_kind_needs(name: str) -> None:
    for example in load(name):
        assert example.question == example.question.strip() != ""
        assert all(isinstance(text, str) for text in (*example.references, *example.meta.values()))
        for image in example.images:
            Image.open(io.BytesIO(image)).verify()


@pytest.mark.parametrize("name", [n for n in NAMES if DATASETS[n].kind != "instruct"])
def test_a_right_answer_is_right_and_a_wrong_one_wrong(name: str) -> None:
    for example in load(name):
        wrong = ["no such answer", "", *("ABCDE" if example.choices else ())]
        if name == "mathvista" and example.choices:  # the nearest text is meant, whatever is said
            wrong = [""]
        wrong = [answer for answer in wrong if answer not in example.references]
        assert judging.is_correct(example, example.references[0])
        assert judging.score(example, example.references[0]) > 0
        assert not any(judging.is_correct(example, answer) for answer in wrong)


@pytest.mark.parametrize(
    ("name", "column"), [(name, column) for name in NAMES for column in DATASETS[name].columns]
)
def test_a_column_that_is_missing_is_named_with_those_found(
    name: str, column: str, tmp_path: Path
) -> None:
    dataset, split = DATASETS[name], split_of(name)
    files = dataset.find(split, str(folder(name)), None)
    gone = column.split("|")
    for path in map(Path, files.paths):
        left = write_without(path, Path(files.root), tmp_path, gone)
    with pytest.raises(ConfigError) as error:
        next(dataset.load(split, str(tmp_path)))
    assert re.search(rf"has no column {gone[0]!r}", str(error.value))
    assert all(one in str(error.value).partition("found: ")[2] for one in left)


def write_without(path: Path, root: Path, target: Path, columns: list[str]) -> list[str]:
    """Copy a fixture's file without `columns`; give the names of those that are left."""
    copy = target / path.relative_to(root.resolve())
    copy.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        table = table.drop_columns([c for c in columns if c in table.column_names])
        pq.write_table(table, copy)
        return list(table.column_names)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows = [{name: cell for name, cell in row.items() if name not in columns} for row in rows]
    copy.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return list(rows[0])


@pytest.mark.parametrize("name", NAMES)
def test_a_split_has_a_size_and_one_without_answers_is_refused(name: str) -> None:
    dataset = DATASETS[name]
    assert set(dataset.sizes) <= {*dataset.splits, *dataset.unanswered}
    for split in dataset.unanswered:
        with pytest.raises(ConfigError, match=f"the answers of split {split!r} are not public"):
            next(dataset.load(split, str(folder(name))))


@pytest.mark.parametrize("name", NAMES)
def test_what_others_must_not_see_is_in_no_example(name: str) -> None:
    """Rationales, lectures, solutions and the text a machine read off the picture."""
    for example in load(name):
        seen = [example.question, *(example.choices or ()), *example.references]
        seen += example.meta.values()
        assert not [text for text in seen if re.search(r"secret|must stay out", text)]
