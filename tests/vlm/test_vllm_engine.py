"""vLLM's side of the engines; `standin/vllm.py` is imported by the worker in vLLM's place."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from chainsight.errors import ChainsightError, CheckpointError
from chainsight.vlm import checkpoint, engines, vllm_engine
from chainsight.vlm.sampling import Drawing
from chainsight.vlm.template import Prompt, Row

HOW = Drawing(12, temperature=1.2, top_p=0.9, num_candidates=3, seed=5)


@pytest.fixture
def student(student_folder):
    return replace(checkpoint.load(student_folder), device=torch.device("cuda"))


@pytest.fixture
def rows(student, png):
    asked = [Prompt(f"q{i}", "How many?" * (i + 1), (png((40 * i, 0, 9)),)) for i in range(3)]
    return [student.template.row(prompt) for prompt in asked]


@pytest.fixture
def noted(monkeypatch, student, rows, tmp_path):
    """What the stand-in was given so far: `noted("batch")`."""
    record = tmp_path / "record"
    repeats = rows[0].prompt_ids.count(student.template.image_id)
    monkeypatch.setenv(vllm_engine.PYTHON_VARIABLE, sys.executable)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).with_name("standin")))
    monkeypatch.setenv("RECORD", str(record))
    monkeypatch.setenv("TOKENS_A_PICTURE", str(repeats))

    def read(kind):
        lines = map(json.loads, record.read_text().splitlines())
        return [content for found, content in lines if found == kind]

    return read


def engine(student, work):
    given = {"in_flight": 2, "dtype": "float32", "work": work}
    return vllm_engine.Vllm(student, HOW, memory=lambda device: (60, 80), **given)


def test_questions_are_asked_in_bounded_batches_each_with_its_own_seed(
    noted, student, rows, tmp_path
):
    taken = []
    found = engine(student, tmp_path).answers(taken.append(row) or row for row in rows)
    assert next(found)[0] == 0
    assert len(taken) == 2  # two in flight: the third picture is not read yet
    assert [number for number, _ in found] == [1, 2]
    batches = noted("batch")
    assert [len(batch) for batch in batches] == [2, 1]
    params = [one for batch in batches for one in batch]
    assert [one["seed"] for one in params] == [vllm_engine.seed_of(5, f"q{i}") for i in range(3)]
    assert len({one["seed"] for one in params}) == 3
    named = {"n": 3, "temperature": 1.2, "top_p": 0.9, "max_tokens": 12, "logprobs": None,
             "stop_token_ids": list(student.end_ids), "prompt_logprobs": None}  # fmt: skip
    assert named.items() <= params[0].items()


def test_candidates_come_in_order_with_their_tokens_as_drawn(noted, student, rows, tmp_path):
    ((_, said),) = engine(student, tmp_path).answers(rows[:1])
    end = student.end_ids[0]
    assert [one.tokens for one in said] == [(40 + k, 41, end) for k in range(3)]
    assert not said[0].truncated
    assert said[0].text == student.template.tokenizer.decode([40, 41])


def test_the_checkpoint_is_loaded_closed_and_leaves_room_for_scoring(
    noted, student, rows, tmp_path
):
    list(engine(student, tmp_path).answers(rows[:1]))
    (options,) = noted("llm")
    wanted = {"model": str(student.folder), "trust_remote_code": False, "dtype": "float32",
              "enable_prefix_caching": True, "generation_config": "vllm",
              "limit_mm_per_prompt": {"image": vllm_engine.MAX_IMAGES},
              "gpu_memory_utilization": 0.65}  # fmt: skip
    assert wanted.items() <= options.items()


def test_an_adapters_model_is_written_whole_for_vllm(noted, student, rows, tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter/adapter_config.json").write_text("{}")
    adapted = replace(student, folder=tmp_path / "adapter")
    list(engine(adapted, tmp_path).answers(rows[:1]))
    assert noted("llm")[0]["model"] == str(tmp_path / "merged")
    assert checkpoint.verify(tmp_path / "merged")["kind"] == "lora-merged"


def test_a_prompt_has_one_placeholder_a_picture_and_texts_have_none(student, rows):
    made = vllm_engine.request(rows[0], student.template.image_id)
    assert made["ids"].count(student.template.image_id) == len(made["images"]) == 1
    assert vllm_engine.request(Row("t", (7, 8), (), ()), 5) == {"ids": [7, 8], "images": []}
    with pytest.raises(ChainsightError, match="side by side"):
        vllm_engine.request(Row("t", (7, 5, 5, 8), (), rows[0].images * 2), 5)


def test_a_prompt_that_vllm_makes_differently_is_refused(
    monkeypatch, noted, student, rows, tmp_path
):
    monkeypatch.setenv("TOKENS_A_PICTURE", "3")
    with pytest.raises(CheckpointError, match=r"vLLM makes \d+ tokens of a prompt of"):
        list(engine(student, tmp_path).answers(rows))


def test_a_process_that_ends_is_said(monkeypatch, noted, student, rows, tmp_path):
    monkeypatch.setenv("FAIL", "1")
    with pytest.raises(ChainsightError, match=r"ended with exit code 7.*is kept"):
        list(engine(student, tmp_path).answers(rows))


def test_without_vllm_a_gpu_or_room_the_way_out_is_named(monkeypatch, student, tmp_path):
    with pytest.raises(ChainsightError, match="20 of 80 GiB GPU memory are free"):
        vllm_engine.share(20 * 2**30, 80 * 2**30)
    options = {"in_flight": 2, "dtype": "float32", "work": tmp_path}
    on_cpu = replace(student, device=torch.device("cpu"))
    with pytest.raises(ChainsightError, match="needs a GPU"):
        engines.make("vllm", on_cpu, HOW, **options)
    monkeypatch.setenv(vllm_engine.PYTHON_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(
        ChainsightError, match=r"there is no .*none.*sample\.engine to transformers"
    ):
        vllm_engine.Vllm(student, HOW, memory=lambda device: (60, 80), **options)
