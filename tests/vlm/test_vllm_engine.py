"""vLLM's side of the engines, with a stand-in that has the signatures of vLLM 0.11 and later."""

import sys
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch

from chainsight.errors import ChainsightError, CheckpointError
from chainsight.vlm import checkpoint, engines, vllm_engine
from chainsight.vlm.sampling import Drawing
from chainsight.vlm.template import Prompt, Row

HOW = Drawing(12, temperature=1.2, top_p=0.9, num_candidates=3, seed=5)


@dataclass(kw_only=True)
class SamplingParams:
    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop_token_ids: list[int] | None = None
    max_tokens: int | None = 16
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    detokenize: bool = True
    logit_bias: dict[int, float] | None = None


class LLM:
    """Repeats a prompt's placeholders as vLLM does, and says the candidate's number."""

    made: ClassVar[list] = []
    tokens_a_picture = None

    def __init__(
        self, model, *, tokenizer=None, skip_tokenizer_init=False, trust_remote_code=False,
        tensor_parallel_size=1, dtype="auto", quantization=None, revision=None, seed=0,
        gpu_memory_utilization=0.9, enforce_eager=False, enable_prefix_caching=None,
        generation_config="auto", limit_mm_per_prompt=None, max_model_len=None,
    ):  # fmt: skip
        self.options = {k: v for k, v in locals().items() if k != "self"}
        self.calls = []
        type(self).made.append(self)

    def generate(self, prompts, sampling_params=None, *, use_tqdm=True, lora_request=None):
        assert len(prompts) == len(sampling_params)
        self.calls.append((prompts, sampling_params))
        return [self.answer(*one) for one in zip(prompts, sampling_params, strict=True)]

    def answer(self, prompt, params):
        ids = []
        for token in prompt["prompt_token_ids"]:
            ids += [token] * (self.tokens_a_picture if token == self.image_id else 1)
        outputs = [
            SimpleNamespace(index=k, token_ids=[40 + k, 41, params.stop_token_ids[0]], text="")
            for k in range(params.n)
        ]
        return SimpleNamespace(prompt_token_ids=ids, outputs=outputs[::-1], finished=True)


@pytest.fixture
def student(student_folder):
    return replace(checkpoint.load(student_folder), device=torch.device("cuda"))


@pytest.fixture
def vllm(monkeypatch, student):
    class Here(LLM):
        made: ClassVar[list] = []
        image_id = student.template.image_id

    module = SimpleNamespace(LLM=Here, SamplingParams=SamplingParams)
    monkeypatch.setitem(sys.modules, "vllm", module)
    return Here


@pytest.fixture
def rows(student, png):
    asked = [Prompt(f"q{i}", "How many?" * (i + 1), (png((40 * i, 0, 9)),)) for i in range(3)]
    return [student.template.row(prompt) for prompt in asked]


def engine(student, work, **changes):
    options = {"in_flight": 2, "dtype": "float32", "work": work} | changes
    memory = lambda device: (60, 80)  # noqa: E731
    return vllm_engine.Vllm(student, HOW, memory=memory, **options)


def test_questions_are_asked_in_bounded_batches_each_with_its_own_seed(
    vllm, student, rows, tmp_path
):
    vllm.tokens_a_picture = rows[0].prompt_ids.count(vllm.image_id)
    taken = []
    found = engine(student, tmp_path).answers(taken.append(row) or row for row in rows)
    assert next(found)[0] == 0
    assert len(taken) == 2  # two in flight: the third picture is not read yet
    assert [number for number, _ in found] == [1, 2]
    (llm,) = vllm.made
    assert [len(prompts) for prompts, _ in llm.calls] == [2, 1]
    params = [one for _, listed in llm.calls for one in listed]
    assert len({one.seed for one in params}) == 3
    assert params[0].seed == vllm_engine.seed_of(5, "q0")
    assert params[0] == SamplingParams(
        n=3, temperature=1.2, top_p=0.9, seed=params[0].seed, max_tokens=12, detokenize=False,
        stop_token_ids=list(student.end_ids), logit_bias={vllm.image_id: -100.0},
    )  # fmt: skip


def test_candidates_come_in_order_with_their_tokens_as_drawn(vllm, student, rows, tmp_path):
    vllm.tokens_a_picture = rows[0].prompt_ids.count(vllm.image_id)
    ((_, said),) = engine(student, tmp_path).answers(rows[:1])
    end = student.end_ids[0]
    assert [one.tokens for one in said] == [(40 + k, 41, end) for k in range(3)]
    assert not said[0].truncated
    assert said[0].text == student.template.tokenizer.decode([40, 41])


def test_the_checkpoint_is_loaded_closed_and_leaves_room_for_scoring(vllm, student, tmp_path):
    engine(student, tmp_path)
    options = vllm.made[0].options
    assert options["model"] == str(student.folder)
    assert options["trust_remote_code"] is False
    assert options["enable_prefix_caching"] is True
    assert options["generation_config"] == "vllm"
    assert options["limit_mm_per_prompt"] == {"image": vllm_engine.MAX_IMAGES}
    assert options["gpu_memory_utilization"] == 0.65


def test_an_adapters_model_is_written_whole_for_vllm(vllm, student, tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter/adapter_config.json").write_text("{}")
    engine(replace(student, folder=tmp_path / "adapter"), tmp_path)
    assert vllm.made[0].options["model"] == str(tmp_path / "merged")
    assert checkpoint.verify(tmp_path / "merged")["kind"] == "lora-merged"


def test_pictures_are_given_once_each_and_texts_without(student, rows):
    made = vllm_engine.request(rows[0], student.template.image_id)
    assert made["prompt_token_ids"].count(student.template.image_id) == 1
    assert [picture.mode for picture in made["multi_modal_data"]["image"]] == ["RGB"]
    assert vllm_engine.request(Row("t", (7, 8), (), ()), 5) == {"prompt_token_ids": [7, 8]}
    with pytest.raises(ChainsightError, match="side by side"):
        vllm_engine.request(Row("t", (7, 5, 5, 8), (), rows[0].images * 2), 5)


def test_a_prompt_that_vllm_makes_differently_is_refused(vllm, student, rows, tmp_path):
    vllm.tokens_a_picture = 3
    with pytest.raises(CheckpointError, match=r"vLLM makes \d+ tokens of a prompt of"):
        list(engine(student, tmp_path).answers(rows))


def test_without_the_package_a_gpu_or_room_the_way_out_is_named(
    monkeypatch, student, vllm, tmp_path
):
    with pytest.raises(ChainsightError, match="20 of 80 GiB GPU memory are free"):
        vllm_engine.share(20 * 2**30, 80 * 2**30)
    options = {"in_flight": 2, "dtype": "float32", "work": tmp_path}
    on_cpu = replace(student, device=torch.device("cpu"))
    with pytest.raises(ChainsightError, match="needs a GPU"):
        engines.make("vllm", on_cpu, HOW, **options)
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ChainsightError, match=r"not installed.*set sample.engine to transformers"):
        engines.make("vllm", student, HOW, **options)
