"""AI2D: the answer is an index as text; the train questions are elsewhere."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hubrows import example, folder, reason

from chainsight.datasets import DATASETS
from chainsight.errors import ConfigError
from chainsight.metrics import judging
from chainsight.records import Example, Quarantined

AI2D, AI2D_TRAIN = DATASETS["ai2d"], DATASETS["ai2d_train"]


def test_the_answer_is_an_index_and_no_option(tmp_path: Path) -> None:
    found = example(tmp_path, "ai2d", options=["2", "3", "4", "5"], answer="2")
    assert found.references == ("C",)
    assert judging.is_correct(found, "4")
    assert not judging.is_correct(found, "2")
    assert not judging.is_correct(found, "A")


@pytest.mark.parametrize("answer", ["4", "-1", "B", "two"])
def test_an_answer_that_is_no_index_is_a_fault(answer: str, tmp_path: Path) -> None:
    assert reason(tmp_path, "ai2d", answer=answer) == "the answer is no index of an option"


def test_options_may_be_the_letters_of_the_diagram(tmp_path: Path) -> None:
    found = example(tmp_path, "ai2d", options=["c", "D", "b", "a"], answer="1")
    assert found.references == ("B",)
    assert judging.is_correct(found, "B")
    assert judging.is_correct(found, "B. D")
    assert not judging.is_correct(found, "D")


def test_the_rows_without_masks_are_another_source(tmp_path: Path) -> None:
    shutil.copytree(folder("ai2d"), tmp_path / "ai2d-no-mask")
    assert len(list(AI2D.load("test", str(tmp_path / "ai2d-no-mask")))) == 10
    assert AI2D.fingerprint("test", "lmms-lab/ai2d-no-mask") == "lmms-lab/ai2d-no-mask@main/test"
    assert AI2D.fingerprint("test").startswith("lmms-lab/ai2d@c83a9b9692933aff")


@pytest.mark.parametrize("source", [None, "lmms-lab/ai2d"])
def test_the_train_split_of_the_hub_is_answered_with_the_way(source: str | None) -> None:
    with pytest.raises(ConfigError) as error:
        next(AI2D.load("train", source))
    assert "take the dataset ai2d_train and name as its source a folder" in str(error.value)
    assert "ai2d_train_12k.jsonl" in str(error.value)


def test_train_rows_that_were_brought_into_the_hubs_form_are_read(tmp_path: Path) -> None:
    for path in folder("ai2d").rglob("*.parquet"):
        shutil.copy(path, tmp_path / "train-0.parquet")
    assert next(AI2D.load("train", str(tmp_path))).id == "ai2d/train/0"


# --- the train questions ---------------------------------------------------------------------


def train_rows() -> list[dict[str, Any]]:
    lines = (folder("ai2d_train") / "ai2d_train_12k.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def scan_train(
    tmp_path: Path, *rows: dict[str, Any], name: str = "ai2d_train_12k.jsonl"
) -> list[Example | Quarantined]:
    shutil.copytree(folder("ai2d_train") / "ai2d", tmp_path / "ai2d", dirs_exist_ok=True)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return list(AI2D_TRAIN.scan("train", str(tmp_path)))


def asked(question: str, answer: str, **more: Any) -> dict[str, Any]:
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"image": "ai2d/images/0.png", "conversations": turns} | more


def test_the_train_questions_equal_those_of_the_hubs_form() -> None:
    train = list(AI2D_TRAIN.load("train", str(folder("ai2d_train"))))
    test = list(AI2D.load("test", str(folder("ai2d"))))
    for first, second in zip(train, test, strict=True):
        assert (first.question, first.choices) == (second.question, second.choices)
        assert (first.references, first.images[0]) == (second.references, second.images[0])


@pytest.mark.parametrize(
    "name", ["sft/ai2d/direct.none.jsonl", "ai2d/direct.none.jsonl", "direct.none.jsonl"]
)
def test_the_papers_release_is_found(name: str, tmp_path: Path) -> None:
    assert len(scan_train(tmp_path, *train_rows(), name=name)) == 10


@pytest.mark.parametrize("answer", ["B", "B.", "(B)", "B. nose", "nose"])
def test_the_answer_is_a_letter_an_option_or_both(answer: str, tmp_path: Path) -> None:
    (found,) = scan_train(tmp_path, asked("<image>\nWhat is A?\nA. ear\nB. nose", answer))
    assert isinstance(found, Example)
    assert (found.question, found.choices) == ("What is A?", ("ear", "nose"))
    assert found.references == ("B",)


def test_a_question_of_several_lines_and_other_brackets_are_read(tmp_path: Path) -> None:
    prompt = "Look.\nWhat is it?\n(A) an ear\n(B) a nose\nAnswer with a letter.\n<image>"
    (found,) = scan_train(tmp_path, asked(prompt, "A"))
    assert isinstance(found, Example)
    assert (found.question, found.choices) == ("Look.\nWhat is it?", ("an ear", "a nose"))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (asked("What?\nA. ear\nB. nose", "C"), "the answer is none of the options"),
        (asked("What?\nA. ear\nB. nose", ""), "no answer"),
        (asked("What is it?", "nose"), "the question has no options"),
        (asked("What?\nA. ear", "A"), "the options are not one a line from A on"),
        (asked("What?\nA. ear\nB. nose\nD. eye", "A"), "the options are not one a line from A on"),
        (asked("What?\nA. ear\nB. nose\nA. eye", "A"), "the options are not one a line from A on"),
        (asked("<image>\nA. ear\nB. nose", "A"), "the question has no options"),
        (asked("<image>\nAnswer with a letter.", "A"), "the question has no options"),
        (asked("What?\nA. ear\nB.", "A"), "empty option"),
        (asked("What?\nA. ear\nso\nB. nose", "A"), "the options are not one a line from A on"),
        (asked("Q\nA. a\nB. b", "A", conversations=[]), "no conversation"),
        (asked("Q\nA. a\nB. b", "A", conversations=["Q"]), "conversations is no list of turns"),
        (
            asked("Q", "A", conversations=[{"from": "human", "value": "Q"}]),
            "a turn has no answer",
        ),
        (asked("Q\nA. a\nB. b", "A", image="ai2d/none.png"), "the image's file is missing"),
        (asked("Q\nA. a\nB. b", "A", image="../x.png"), "the image's path leads out of its folder"),
    ],
)
def test_a_train_row_says_what_it_lacks(row: dict[str, Any], reason: str, tmp_path: Path) -> None:
    (found,) = scan_train(tmp_path, row)
    assert isinstance(found, Quarantined)
    assert found.reason == reason


def test_the_train_questions_without_a_folder_are_answered_with_the_way() -> None:
    with pytest.raises(ConfigError, match="name as its source a folder"):
        AI2D_TRAIN.num_rows("train")
