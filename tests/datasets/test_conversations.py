"""Datasets that come as conversations: each published form, and what each bad row is told."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chainsight.datasets import DATASETS
from chainsight.datasets.sharegpt4o import COT, DPO, INSTRUCT
from chainsight.errors import ConfigError
from chainsight.metrics import METRICS, judging
from chainsight.records import Example, Quarantined

FIXTURES = Path(__file__).parents[1] / "fixtures" / "datasets"
GEO, SFT, DPO_DATA = (DATASETS[n] for n in ("geo170k", "sharegpt4o_sft", "sharegpt4o_dpo"))
LLAVA = DATASETS["llava_instruct"]
PNG = (FIXTURES / "sharegpt4o/images/chartqa/0.png").read_bytes()


def turns(*said: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(said)]


# --- Geo170K ---------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["geo170k", "geo170k_original"])
def test_geo170k_problems_become_questions_with_options(layout: str) -> None:
    examples = list(GEO.load("qa", str(FIXTURES / layout)))
    assert [example.id for example in examples] == [f"geo170k/qa/{n}" for n in range(10)]
    assert [example.references[0] for example in examples] == list("ABCDABCDAB")
    for n, example in enumerate(examples):
        assert example.choices is not None
        assert example.choices[n % 4] == f"{180 - 2 * (30 + n)}°"
        assert example.question.startswith("In triangle ABC")
        assert example.question.endswith("How large is angle A?")
        assert (example.kind, example.metric) == ("math", "mathvision")
        assert example.images[0].startswith(b"\x89PNG")


def test_geo170k_takes_the_letter_and_the_right_options_value_alike() -> None:
    for example in GEO.load("qa", str(FIXTURES / "geo170k")):
        assert example.choices is not None
        letter = example.references[0]
        index = "ABCD".index(letter)
        assert judging.is_correct(example, letter)
        assert judging.is_correct(example, f"{letter}. {example.choices[index]}")
        assert judging.is_correct(example, example.choices[index])
        assert not judging.is_correct(example, "ABCD"[index - 1])


@pytest.mark.parametrize("layout", ["geo170k", "geo170k_original"])
def test_geo170k_descriptions_are_learned_word_for_word(layout: str) -> None:
    examples = list(GEO.load("align", str(FIXTURES / layout)))
    assert len(examples) == 10
    assert {example.kind for example in examples} == {"instruct"}
    assert examples[2].question == "Render a clear and concise summary of the photo."
    assert examples[2].references == ("The diagram displays triangle ABC with base BC; figure 2.",)


def test_geo170k_has_the_originals_splits_by_their_names() -> None:
    original = str(FIXTURES / "geo170k_original")
    for own, theirs in (("qa", "qa_tuning"), ("align", "alignment")):
        renamed = [
            replace(e, id=f"{e.dataset}/{own}/{n}", split=own)
            for n, e in enumerate(GEO.load(theirs, original))
        ]
        assert renamed == list(GEO.load(own, original))


def test_geo170k_reads_a_configurations_own_folder() -> None:
    folder = FIXTURES / "geo170k"
    assert list(GEO.load("qa", folder / "geo170k(qa)")) == list(GEO.load("qa", folder))


def test_geo170k_reads_the_originals_json_and_unpacked_images_elsewhere(tmp_path: Path) -> None:
    original = FIXTURES / "geo170k_original"
    rows = pq.read_table(original / "data/qa_tuning-00000-of-00001.parquet").to_pylist()
    (tmp_path / "qa_tuning.json").write_text(json.dumps(rows))
    found = list(GEO.load("qa", str(tmp_path), images=str(original / "images")))
    assert found == list(GEO.load("qa", str(original)))
    assert GEO.num_rows("qa", str(tmp_path)) == 10


ASKED = "<image>\nSay why.\nQuestion: How large is x?\nChoices:\nA: 1\nB: 2"
PROBLEM = {"image": {"bytes": PNG}, "conversations": turns(ASKED, "Answer:B")}


def geo(tmp_path: Path, split: str, row: dict[str, Any]) -> Example | Quarantined:
    """The second of two rows, so that Parquet knows the columns' types from the first."""
    table = pa.Table.from_pylist([PROBLEM, row])
    pq.write_table(table, tmp_path / f"{split}-0.parquet")
    return list(GEO.scan(split, str(tmp_path)))[1]


@pytest.mark.parametrize(
    ("asked", "answer", "reason"),
    [
        ("How large is x?", "2", "the prompt is not of the form Question, Choices"),
        ("Question: \nChoices:\nA: 1\nB: 2", "Answer:B", "the prompt is not of the form"),
        ("Question: x?\nChoices:\nA: 1\nC: 2", "Answer:A", "the options are not one a line"),
        ("Question: x?\nChoices:\nB: 1\nC: 2", "Answer:B", "the options are not one a line"),
        ("Question: x?\nChoices:\nA: 1", "Answer:A", "the options are not one a line"),
        ("Question: x?\nChoices:\nA: 1\nB:", "Answer:A", "empty option"),
        (ASKED, "Answer:C", "the answer is none of the options"),
        (ASKED, "It follows.", "the answer is none of the options"),
        (ASKED, "B is larger than A.", "the answer is none of the options"),
        (ASKED, "Answer:A or B", "the answer is none of the options"),
        (ASKED, " ", "no answer"),
        ("<image>\n", "Answer:B", "empty question"),
    ],
)
def test_a_problem_that_cannot_be_read_for_certain_is_set_aside(
    tmp_path: Path, asked: str, answer: str, reason: str
) -> None:
    row = geo(tmp_path, "qa", PROBLEM | {"conversations": turns(asked, answer)})
    assert isinstance(row, Quarantined)
    assert row.reason.startswith(reason)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"conversations": None}, "no conversation"),
        ({"conversations": []}, "no conversation"),
        ({"conversations": turns(ASKED)}, "a turn has no answer"),
        ({"conversations": turns(ASKED, "A", "And y?", "B")}, "several questions in one row"),
        ({"conversations": turns("a", "b")[::-1]}, "the turns are not human and gpt by turns"),
        ({"image": None}, "no image"),
        ({"image": {"bytes": None}}, "no image"),
    ],
)
def test_a_broken_conversation_says_what_is_wrong(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    row = geo(tmp_path, "qa", PROBLEM | change)
    assert isinstance(row, Quarantined)
    assert row.reason == reason


def test_a_description_without_an_image_is_set_aside(tmp_path: Path) -> None:
    row = geo(tmp_path, "align", PROBLEM | {"image": None})
    assert isinstance(row, Quarantined)
    assert row.reason == "no image"


@pytest.mark.parametrize(
    "answer",
    ["Answer: B", "So Answer: A?\nAnswer:B", "The answer is B.", "the answer is option B.",
     "Answer: (B)", "Answer:B: 2", "Answer: 2"],
)  # fmt: skip
def test_the_letter_is_found_however_it_is_said(tmp_path: Path, answer: str) -> None:
    row = geo(tmp_path, "qa", PROBLEM | {"conversations": turns(ASKED, answer)})
    assert isinstance(row, Example)
    assert row.references == ("B",)


def test_a_question_may_have_several_lines_and_no_instruction(tmp_path: Path) -> None:
    asked = "Question:In ABC,\nhow large is x?\nChoices:\nA:1 cm\n(B) 2 cm\nC. 3 cm"
    row = geo(tmp_path, "qa", PROBLEM | {"conversations": turns(asked, "Answer:C")})
    assert isinstance(row, Example)
    assert (row.question, row.choices) == ("In ABC,\nhow large is x?", ("1 cm", "2 cm", "3 cm"))


# --- LLaVA's mix -----------------------------------------------------------------------------


def test_the_mix_is_learned_word_for_word_and_some_of_it_is_about_text() -> None:
    examples = list(LLAVA.load("train", str(FIXTURES / "llava_instruct")))
    assert {example.kind for example in examples} == {"instruct"}
    assert [len(example.images) for example in examples] == [1] * 5 + [0, 1, 0, 1, 1]
    assert (examples[5].question, examples[5].references) == ("Who are you?", ("An assistant.",))
    assert examples[0].question == "What is drawn?"
    assert examples[0].references == ("A triangle, the 0th.",)


def test_an_example_keeps_the_whole_conversation() -> None:
    examples = list(LLAVA.load("train", str(FIXTURES / "llava_instruct")))
    assert examples[3].references == ("A triangle, the 3th.",)
    assert examples[3].turns == ("And how many corners has it?", "It has three.")
    assert not any(example.turns for example in examples if example is not examples[3])


@pytest.mark.parametrize("cell", [{}, {"image": None}, {"image": ""}])
def test_a_conversation_about_text_has_no_image(tmp_path: Path, cell: dict[str, Any]) -> None:
    rows = [cell | {"conversations": turns(asked, "!")} for asked in ("Hi?", "<image>\nWhat?")]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    good, bad = LLAVA.scan("train", str(tmp_path))
    assert isinstance(good, Example)
    assert good.images == ()
    assert isinstance(bad, Quarantined)
    assert bad.reason == "no image"


@pytest.mark.parametrize("name", ["train.json", "open-llava-next_instruct_mix1M.json"])
def test_the_mix_as_one_array_gives_the_same(tmp_path: Path, name: str) -> None:
    source = FIXTURES / "llava_instruct"
    rows = [json.loads(line) for line in (source / "pt_data_mix_2k.jsonl").open()]
    (tmp_path / name).write_text(json.dumps(rows, indent=1))
    images = str(source / "images")
    assert list(LLAVA.load("train", str(tmp_path), images=images)) == list(
        LLAVA.load("train", str(source))
    )


def test_images_are_looked_for_where_the_configuration_says(tmp_path: Path) -> None:
    name = "pt_data_mix_2k.jsonl"
    (tmp_path / name).write_bytes((FIXTURES / "llava_instruct" / name).read_bytes())
    rows = [row for row in LLAVA.scan("train", str(tmp_path)) if isinstance(row, Quarantined)]
    assert {row.reason for row in rows} == {"the image's file is missing"}
    assert len(rows) == 8
    with pytest.raises(ConfigError, match="/no/images: no such folder"):
        next(LLAVA.scan("train", str(tmp_path), images="/no/images"))


def test_an_images_path_does_not_lead_out_of_its_folder(tmp_path: Path) -> None:
    rows = [{"image": path, "conversations": turns("?", "!")} for path in ("../x.png", "/x.png")]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = list(LLAVA.scan("train", str(tmp_path), images=str(tmp_path)))
    assert [row.reason for row in found if isinstance(row, Quarantined)] == [
        "the image's path leads out of its folder"
    ] * 2


@pytest.mark.parametrize("said", ["hello", [{"from": "human"}, {"from": "gpt"}], ["?", "!"]])
def test_turns_that_json_leaves_incomplete_set_the_row_aside(tmp_path: Path, said: object) -> None:
    (tmp_path / "train.jsonl").write_text(json.dumps({"image": "0.png", "conversations": said}))
    (row,) = LLAVA.scan("train", str(tmp_path), images=str(tmp_path))
    assert isinstance(row, Quarantined)
    assert row.reason in ("conversations is no list", "conversations is no list of turns")


# --- ShareGPT-4o-Reasoning -------------------------------------------------------------------

PUBLISHED = str(FIXTURES / "sharegpt4o")


def test_published_rationales_become_questions_with_the_rationale_beside() -> None:
    examples = list(SFT.load("chartqa", PUBLISHED))
    assert len(examples) == 10
    assert examples[2].question == "How many corners are 3 of these?"
    assert examples[2].references == ("9",)
    assert examples[2].meta["rationale"].endswith("there are 3.\n\n### Answer: 9")
    assert (examples[2].kind, examples[2].metric) == ("chart", "relaxed_accuracy")


def test_published_options_are_read_back() -> None:
    first, *_ = SFT.load("aokvqa", PUBLISHED)
    assert first.question == "What is shape 0?"
    assert first.choices == ("circle", "square", "triangle", "star")
    assert first.references == ("C",)
    assert first.metric == "multiple_choice"
    assert judging.is_correct(first, "C. triangle")


def test_published_pairs_bring_both_chains() -> None:
    examples = list(DPO_DATA.load("chartqa", PUBLISHED))
    assert len(examples) == 10
    first = examples[0]
    assert first.question == "How many corners are 1 of these?"
    assert first.references == ("3",)
    assert first.meta["chosen"].endswith("### Answer: 3")
    assert first.meta["rejected"].endswith("### Answer: 7")


def published(tmp_path: Path, split: str, asked: str, answer: str) -> Example | Quarantined:
    row = {"id": "1", "image": "0.png", "conversations": turns(asked, answer)}
    path = tmp_path / SFT.files[split][1]
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(row))
    (tmp_path / "0.png").write_bytes(PNG)
    (found,) = SFT.scan(split, str(tmp_path))
    return found


LETTERS = "What?\nA. uk\nB. us"


@pytest.mark.parametrize(
    ("split", "asked", "answer", "reason"),
    [
        ("chartqa", "What?", "It is 3.", "the rationale does not end in ### Answer:"),
        ("chartqa", "What?", "So the answer is 3.", "the rationale does not end in ### Answer:"),
        ("chartqa", "What?", "So.\n\n### Answer:", "the rationale does not end in ### Answer:"),
        ("aokvqa", "What?", "So.\n\n### Answer: A", "the question has no options"),
        ("aokvqa", LETTERS, "So.\n\n### Answer: C", "the answer is none of the options"),
        ("aokvqa", LETTERS, "So.\n\n### Answer: A. us", "the answer is none of the options"),
        ("aokvqa", "What?\nA. uk\nC. us", "So.\n\n### Answer: A", "the options are not one a line"),
        ("chartqa", "<image>\n", "So.\n\n### Answer: 3", "empty question"),
    ],
)
def test_a_published_row_that_cannot_be_judged_is_set_aside(
    tmp_path: Path, split: str, asked: str, answer: str, reason: str
) -> None:
    row = published(tmp_path, split, asked, answer)
    assert isinstance(row, Quarantined)
    assert row.reason.startswith(reason)


@pytest.mark.parametrize(
    "suffix",
    ["Generate a reason first and then output a short answer.",
     "Generate a reason first and then output a letter answer",
     "Answer the question with a short answer.",
     "Answer with the option's letter from the given choices directly."],
)  # fmt: skip
@pytest.mark.parametrize("form", ["<image>\n{}\n{}", "{}\n{}\n<image>", "{}\n{}"])
def test_the_instruction_is_taken_off_again(tmp_path: Path, suffix: str, form: str) -> None:
    row = published(tmp_path, "chartqa", form.format("What?", suffix), "So.\n\n### Answer: 3")
    assert isinstance(row, Example)
    assert row.question == "What?"


def test_a_problem_of_mathematics_may_have_options_or_none(tmp_path: Path) -> None:
    with_options = published(tmp_path / "a", "geo_mcq", LETTERS, "So.\n\n### Answer: us")
    without = published(tmp_path / "b", "geo_sa", "What?", "So.\n\n### Answer: $3^2$")
    assert isinstance(with_options, Example)
    assert isinstance(without, Example)
    assert (with_options.choices, with_options.references) == (("uk", "us"), ("B",))
    assert (without.choices, without.references) == (None, ("$3^2$",))
    assert judging.is_correct(without, "9")


def test_what_the_paper_adds_of_g_llava_is_learned_word_for_word(tmp_path: Path) -> None:
    row = published(tmp_path, "gllava_align", "<image>\nDescribe it.", "A circle.")
    assert isinstance(row, Example)
    assert (row.kind, row.question, row.references) == ("instruct", "Describe it.", ("A circle.",))


def pair(tmp_path: Path, **change: object) -> Example | Quarantined:
    row = {"idx": 3, "image": "0.png", "question": "How many?", "chosen": "So.\n\n### Answer: 3",
           "rejected": "So.\n\n### Answer: 4"} | change  # fmt: skip
    (tmp_path / "chartqa.pairwise.dev.jsonl").write_text(json.dumps(row))
    (tmp_path / "0.png").write_bytes(PNG)
    (found,) = DPO_DATA.scan("chartqa_dev", str(tmp_path))
    return found


def test_an_annotation_beside_the_pair_wins_over_the_chosen_answer(tmp_path: Path) -> None:
    row = pair(tmp_path, answer="4")
    assert isinstance(row, Example)
    assert row.references == ("4",)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"chosen": ""}, "no chosen chain"),
        ({"rejected": None}, "no rejected chain"),
        ({"chosen": "It is 3."}, "the rationale does not end in ### Answer:"),
        ({"question": "<image>"}, "empty question"),
    ],
)
def test_a_published_pair_says_what_it_lacks(
    tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    row = pair(tmp_path, **change)
    assert isinstance(row, Quarantined)
    assert row.reason == reason


def test_each_published_split_names_its_file_and_how_it_is_judged() -> None:
    assert set(SFT.splits) == set(COT) | set(INSTRUCT) == set(SFT.files)
    assert set(SFT.converts) == set(COT)
    assert len(DPO_DATA.splits) == 2 * len(DPO)
    assert set(DPO_DATA.files) == set(DPO_DATA.converts) == set(DPO_DATA.splits)
    named = {how.metric for _, how in COT.values()} | {how.reward for _, how in COT.values()}
    assert named <= {*METRICS, "", "normalized_match"}
