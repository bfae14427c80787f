"""A dataset that the configuration describes, without code."""

import json
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chainsight.config import Source, validate
from chainsight.datasets import of
from chainsight.errors import ConfigError
from chainsight.metrics import judging
from chainsight.records import Example, Quarantined

ROW = {"text": "How many?", "gold": "3", "picture": {"bytes": b"x", "path": "x.png"}, "site": "A1"}
COLUMNS = {"question": "text", "answer": "gold", "image": "picture"}
CHOICES = COLUMNS | {"choices": "options"}


def source(folder: Path, *rows: dict[str, Any], **described: Any) -> Source:
    """The entry of a configuration, and the file that it describes."""
    pq.write_table(pa.Table.from_pylist(list(rows)), folder / "val-0.parquet")
    generic = {"name": "invoices", "metric": "exact_match", "licence": "ours", "columns": COLUMNS}
    return Source.model_validate(
        {"generic": generic | described, "split": "val", "source": str(folder)}
    )


def scan(entry: Source) -> list[Example | Quarantined]:
    return list(of(entry).scan(entry.split, entry.source))


def one(entry: Source) -> Example:
    (made,) = scan(entry)
    assert isinstance(made, Example), made
    return made


def reason(entry: Source) -> str:
    (made,) = scan(entry)
    assert isinstance(made, Quarantined), made
    return made.reason


def test_columns_become_an_example(tmp_path: Path) -> None:
    columns = COLUMNS | {"id": "site", "meta": ["site"]}
    made = one(source(tmp_path, ROW, columns=columns, kind="document", reward="anls"))
    assert made == Example(
        id="invoices/val/A1",
        dataset="invoices",
        split="val",
        question="How many?",
        references=("3",),
        metric="exact_match",
        images=(b"x",),
        meta={"site": "A1"},
        kind="document",
        reward="anls",
    )


def test_without_an_id_it_is_the_rows_number(tmp_path: Path) -> None:
    found = scan(source(tmp_path, ROW, ROW))
    assert [made.id for made in found] == ["invoices/val/0", "invoices/val/1"]


@pytest.mark.parametrize(
    ("gold", "references"),
    [
        (["a", " b "], ("a", "b")),
        ("['a', 'b']", ("a", "b")),
        ("[0, 1]", ("[0, 1]",)),
        ("[1, 2)", ("[1, 2)",)),
        (3, ("3",)),
        (2.5, ("2.5",)),
    ],
)
def test_several_answers_are_a_list_or_the_text_of_one(
    tmp_path: Path, gold: Any, references: tuple[str, ...]
) -> None:
    assert one(source(tmp_path, ROW | {"gold": gold})).references == references


@pytest.mark.parametrize(
    ("options", "gold", "letter"),
    [
        (["cat", "dog"], "B", "B"),
        (["cat", "dog"], "dog", "B"),
        (["cat", "dog"], 1, "B"),
        (["cat", "dog"], "1", "B"),
        ("['cat', 'dog']", "A", "A"),
        ('["cat", "it\'s"]', "it's", "B"),
        (["2", "1", "0"], "1", "B"),
        (["B", "A", "C"], "C", "C"),
    ],
)
def test_an_answer_names_its_option_by_letter_text_or_number(
    tmp_path: Path, options: Any, gold: Any, letter: str
) -> None:
    row = ROW | {"options": options, "gold": gold}
    made = one(source(tmp_path, row, metric="multiple_choice", columns=CHOICES))
    assert made.references == (letter,)
    assert judging.score(made, letter) == 1.0


@pytest.mark.parametrize(
    ("options", "gold", "expected"),
    [
        (["1", "2", "3"], "2", "the answer names two options"),
        (["B", "A"], "A", "the answer names two options"),
        (["cat", "cat"], "cat", "the answer names two options"),
        (["cat", "dog"], "C", "the answer names no option"),
        (["cat", "dog"], "2", "the answer names no option"),
        (["cat", "dog"], "Dog", "the answer names no option"),
        (["cat", " "], "A", "empty option"),
        ([], "A", "no options"),
        ("cat, dog", "A", "options is no list"),
    ],
)
def test_an_answer_that_may_mean_two_options_is_never_guessed(
    tmp_path: Path, options: Any, gold: Any, expected: str
) -> None:
    row = ROW | {"options": options, "gold": gold}
    assert reason(source(tmp_path, row, metric="multiple_choice", columns=CHOICES)) == expected


def test_a_column_an_option_as_in_tables_of_benchmarks(tmp_path: Path) -> None:
    row = ROW | {"gold": "B", "A": "cat", "B": "dog", "C": None, "D": " "}
    columns = COLUMNS | {"choices": ["A", "B", "C", "D"]}
    made = one(source(tmp_path, row, metric="multiple_choice", columns=columns))
    assert made.choices == ("cat", "dog")


def test_several_images_are_numbered_in_the_order_of_the_columns(tmp_path: Path) -> None:
    row = {"text": "Is <image> like <image>?", "gold": "no", "a": b"1", "b": [b"2", b"3"]}
    columns = COLUMNS | {"image": ["a", "b"]}
    made = one(source(tmp_path, row, columns=columns))
    assert made.question == "Is <image 1> like <image 2>?"
    assert made.images == (b"1", b"2", b"3")


def test_a_placeholder_without_an_image_is_a_fault(tmp_path: Path) -> None:
    row = ROW | {"text": "Is <image> like <image>?"}
    assert reason(source(tmp_path, row)) == "a placeholder stands for no image"
    assert reason(source(tmp_path, ROW | {"picture": None})) == "no image"


def test_json_lines_name_their_pictures_by_path(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "x.png").write_bytes(b"picture")
    row = ROW | {"picture": "x.png"}
    (tmp_path / "mine-val.jsonl").write_text(json.dumps(row) + "\n")
    assert one(source(tmp_path, ROW, files=["mine-{split}.jsonl"])).images[0] == b"picture"
    missing = json.dumps(ROW | {"picture": "../x.png"})
    (tmp_path / "mine-val.jsonl").write_text(missing)
    leads_out = "the image's path leads out of its folder"
    assert reason(source(tmp_path, ROW, files=["mine-{split}.jsonl"])) == leads_out


def test_a_missing_column_is_named_with_those_found(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        scan(source(tmp_path, ROW, columns=COLUMNS | {"answer": "right"}))
    assert "no column 'right'; wanted: text, right, picture; found: text, gold" in str(error.value)


def test_it_can_be_sent_to_other_processes(tmp_path: Path) -> None:
    entry = source(tmp_path, ROW)
    again = pickle.loads(pickle.dumps(of(entry)))
    assert list(again.scan("val", entry.source)) == scan(entry)


def test_its_terms_are_those_that_were_written(tmp_path: Path) -> None:
    found = of(source(tmp_path, ROW, non_commercial=True, copyleft=True, licence_note="Ask."))
    assert (found.licence, found.licence_note) == ("ours", "Ask.")
    assert found.non_commercial
    assert found.copyleft
    assert found.trains


# --- what is refused before anything is read -------------------------------------------------

GENERIC = {"name": "mine", "metric": "anls", "licence": "ours"}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"dataset": "bars", "generic": GENERIC}, "write either dataset, a name, or generic"),
        ({"split": "train"}, "write either dataset, a name, or generic"),
        ({"generic": GENERIC}, "a generic dataset needs source"),
        ({"generic": GENERIC | {"metric": "anlz"}}, "generic.metric: .* did you mean 'anls'?"),
        ({"generic": GENERIC | {"reward": "exact"}}, "did you mean 'exact_match'?"),
        ({"generic": GENERIC | {"kind": "charts"}}, "generic.kind: .* did you mean 'chart'?"),
        ({"generic": GENERIC | {"licens": "x"}}, "unknown key; did you mean 'licence'?"),
        ({"generic": GENERIC | {"columns": {"querry": "q"}}}, "columns.querry: unknown key"),
        ({"generic": {"name": "x", "metric": "anls"}}, "generic.licence: Field required"),
        ({"generic": GENERIC | {"name": "My Set"}}, "generic.name: String should match"),
        (
            {"generic": GENERIC | {"columns": {"choices": "options"}}},
            "metric 'anls' does not judge letters; with choices, it is one of multiple_choice",
        ),
        (
            {"generic": GENERIC | {"metric": "multiple_choice"}},
            "metric multiple_choice needs columns.choices",
        ),
        ({"generic": GENERIC | {"reward": "multiple_choice"}}, "reward multiple_choice needs"),
        ({"generic": GENERIC | {"columns": {"image": []}}}, "set needs_image: false"),
    ],
)
def test_a_wrong_description_is_told_the_near_word(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(Source, entry, "my.yaml")


def test_the_name_of_another_dataset_is_taken(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="generic dataset 'chartqa': that name is taken"):
        of(source(tmp_path, ROW, name="chartqa"))


def test_a_row_without_an_image_is_bad_unless_the_entry_allows_it(tmp_path: Path) -> None:
    bare = ROW | {"picture": {"bytes": None, "path": None}}
    assert reason(source(tmp_path, bare)) == "no image"
    assert one(source(tmp_path, bare, needs_image=False)).images == ()
    assert len(one(source(tmp_path, ROW, needs_image=False)).images) == 1


def test_a_source_may_have_no_column_of_images(tmp_path: Path) -> None:
    columns = COLUMNS | {"image": []}
    made = one(source(tmp_path, ROW, columns=columns, needs_image=False))
    assert (made.question, made.images) == ("How many?", ())
