"""Stands for the package vllm in its own process, with the signatures of 0.11 and later.

Repeats a prompt's placeholders TOKENS_A_PICTURE times as vLLM does, draws [40 + k, 41, end] as
candidate k, and notes in RECORD what it was given.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace

print("vLLM prints where it likes")


@dataclass(kw_only=True)
class SamplingParams:
    n: int = 1
    presence_penalty: float = 0.0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop: list[str] | None = None
    stop_token_ids: list[int] | None = None
    max_tokens: int | None = 16
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    detokenize: bool = True
    logit_bias: dict[int, float] | None = None


def note(kind, content):
    with Path(os.environ["RECORD"]).open("a") as file:
        file.write(json.dumps([kind, content]) + "\n")


class LLM:
    def __init__(
        self, model, *, tokenizer=None, skip_tokenizer_init=False, trust_remote_code=False,
        tensor_parallel_size=1, dtype="auto", quantization=None, revision=None, seed=0,
        gpu_memory_utilization=0.9, enforce_eager=False, enable_prefix_caching=None,
        generation_config="auto", limit_mm_per_prompt=None, max_model_len=None,
    ):  # fmt: skip
        note("llm", {name: value for name, value in locals().items() if name != "self"})

    def generate(self, prompts, sampling_params=None, *, use_tqdm=True, lora_request=None):
        print("still printing")
        if os.environ.get("FAIL"):
            raise SystemExit(7)
        assert len(prompts) == len(sampling_params)
        assert all(type(key) is int for one in sampling_params for key in one.logit_bias)
        note("batch", [asdict(one) for one in sampling_params])
        return [self._answer(*one) for one in zip(prompts, sampling_params, strict=True)]

    def _answer(self, prompt, params):
        pictures = prompt.get("multi_modal_data", {}).get("image", [])
        assert all(picture.mode == "RGB" for picture in pictures)
        (image_id,) = params.logit_bias
        assert prompt["prompt_token_ids"].count(image_id) == len(pictures)
        repeats = int(os.environ["TOKENS_A_PICTURE"])
        ids = []
        for token in prompt["prompt_token_ids"]:
            ids += [token] * (repeats if token == image_id else 1)
        outputs = [
            SimpleNamespace(index=k, token_ids=(40 + k, 41, params.stop_token_ids[0]))
            for k in range(params.n)
        ]
        return SimpleNamespace(prompt_token_ids=ids, outputs=outputs[::-1], finished=True)
